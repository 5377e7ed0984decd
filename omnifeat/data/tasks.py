"""Which engagements make which set of pairs (Table 1 of the paper): for what makes pairs and what trains on them."""

from omnifeat.data.schema import ACTIONS

__all__ = ["OFFSITE", "ONSITE", "PAIR_TASKS"]

ONSITE = ("save", "long_click", "click")
OFFSITE = ("add_to_cart", "checkout")

# set of pairs -> (entity type, the actions that may make its pairs)
PAIR_TASKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "pins": ("pin", ONSITE),
    "pins_offsite": ("pin", OFFSITE),
    "products": ("product", ONSITE),
    "products_offsite": ("product", OFFSITE),
    "queries": ("query", ACTIONS),
}
