"""Settings of the blocks that stand beside the learned one in the published vector."""

import math
from dataclasses import dataclass

from omnifeat.models.setting_checks import Settings, check, is_int

__all__ = ["BLOCKS", "TextConfig", "WordsConfig"]

_WIDEST = 65_536
BLOCKS = ("learned", "words", "text")


@dataclass(frozen=True, kw_only=True)
class WordsConfig(Settings):
    """Settings of the block of words: a fixed sketch of BM25.

    Parameters
    ----------
    width
        Numbers of the sketch; 0 leaves the block out. More numbers keep the dot products of the whole bags better: the
        error of a cosine is about one over the root of the width.
    k1, b
        Of BM25: how soon counts of a word saturate, and how far long texts are made up for.
    """

    width: int = 0
    k1: float = 1.2
    b: float = 0.75

    def __post_init__(self) -> None:
        fits = self.width == 0 or (is_int(self.width, 2) and self.width <= _WIDEST)
        check(is_int(self.width, 0) and fits, "words.width", f"0, or an integer from 2 to {_WIDEST}", self.width)
        for name, value, most in (("k1", self.k1, math.inf), ("b", self.b, 1.0)):
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            within = is_number and 0 <= value <= most and value < math.inf
            check(within, f"words.{name}", "a number from 0 to 1" if name == "b" else "a number of 0 or more", value)


@dataclass(frozen=True, kw_only=True)
class TextConfig(Settings):
    """Settings of the block of text: one transformer for queries and for text of entities.

    Parameters
    ----------
    model
        Folder or hub name of a pretrained Hugging Face encoder; empty leaves the block out.
    width
        Its hidden width; filled in when training starts.
    pooling
        `"mean"` over the tokens of the last layer, or its first token, `"cls"`.
    max_length
        Word pieces kept of a text, special tokens included.
    query_prefix, entity_prefix
        Text put before queries, and before texts of entities (multilingual E5: `"query: "` and `"passage: "`).
    fields
        Text columns of entities that are read, joined by blanks in this order; what an entity lacks is left out.
    trainable_layers
        Top layers that are tuned on both sides at once before the rest is trained; 0 takes the encoder as it is.
    """

    model: str = ""
    width: int = 0
    pooling: str = "mean"
    max_length: int = 64
    query_prefix: str = ""
    entity_prefix: str = ""
    fields: tuple[str, ...] = ("title",)
    trainable_layers: int = 0

    def __post_init__(self) -> None:
        for name in ("model", "query_prefix", "entity_prefix"):
            check(isinstance(getattr(self, name), str), f"text.{name}", "a text", getattr(self, name))
        check(is_int(self.width, 0), "text.width", "an integer of 0 or more", self.width)
        check(self.pooling in ("cls", "mean"), "text.pooling", "'cls' or 'mean'", self.pooling)
        check(is_int(self.max_length, 3), "text.max_length", "an integer of 3 or more", self.max_length)
        fields_fit = isinstance(self.fields, tuple) and bool(self.fields)
        fields_fit = fields_fit and all(isinstance(name, str) and name != "" for name in self.fields)
        check(fields_fit, "text.fields", "a list of column names", self.fields)
        layers = self.trainable_layers
        check(is_int(layers, 0), "text.trainable_layers", "an integer of 0 or more", layers)
