"""Every rate of the simulated world, in one place; docs/simulator.md has a row for each.

Shares are of 1 unless they say otherwise.
"""

from dataclasses import dataclass

__all__ = ["SCALES", "Scale"]

# --- people and time
COUNTRIES = ("US", "GB", "FR", "DE")
COUNTRY_SHARES = (0.55, 0.20, 0.13, 0.12)
ABROAD = 0.06  # searches made from another country than the query's own
DAYS = 90
DEVELOPMENT_FROM_DAY = 68
TEST_FROM_DAY = 79
GAP_DAYS = 2
WEEKEND = 1.25  # activity of a weekend's hour beside a weekday's
NEWCOMERS = 0.2  # pins and products that appear during the 90 days, uniformly; the others are there from the start

# --- what there is
LATENT_WIDTH = 48
IMAGE_WIDTH = 48
GRAPH_WIDTH = 32
KEPT_ENGAGED_QUERIES, KEPT_BOARD_TITLES = 20, 10
PIN_POPULARITY_EXPONENT = 0.8
QUERY_POPULARITY_EXPONENT = 0.7
THING_EXPONENT = 0.5
LEAF_SHARES = (0.4, 0.3, 0.2, 0.1)
HAS_ATTRIBUTE = 0.6  # each of the two kinds beside the leaf's own
USUAL_WORD = 0.6  # the first of several words that mean the same; the others share the rest
# length in a latent vector of the domain, topic, thing, leaf, and of each attribute, before it is made unit length
LATENT_PARTS = (0.45, 0.6, 0.9, 0.35, 0.45)
OWN_PART = 0.3  # length of what of an entity is in no word and no picture, beside about 1.4 for all the rest

# --- text
PIN_TITLE_MISSING, PIN_TITLE_GENERIC, PIN_TITLE_WRONG = 0.20, 0.15, 0.05
PRODUCT_TITLE_MISSING, PRODUCT_TITLE_GENERIC, PRODUCT_TITLE_WRONG = 0.05, 0.05, 0.03
DESCRIPTION_MISSING, DESCRIPTION_GENERIC, DESCRIPTION_WRONG = 0.30, 0.20, 0.05
TITLE_SAYS_ATTRIBUTE = 0.75
PIN_TITLE_ENDING = 0.4  # titles that go on with "ideas" or the like
DESCRIPTION_SAYS_ATTRIBUTE = 0.6
DESCRIPTION_USUAL_WORD = 0.4  # descriptions choose other words than titles do
CAPTION_MISSING = 0.25
CAPTION_ENDING = 0.5  # "on a table"
CAPTION_WRONG_THING = 0.12  # another thing of the same topic
CAPTION_SAYS_ATTRIBUTE = 0.6
CAPTION_WRONG_ATTRIBUTE = 0.10  # of the visible attributes that it says
IMAGE_MISSING = 0.05
IMAGE_NOISE = 0.8  # length of the noise beside a visual part of length 1
SITE_OF_TOPIC = 0.6  # links that lead to a site of the entity's own domain

# --- boards
BOARD_DOMAIN, BOARD_TOPIC, BOARD_THING, BOARD_LEAF = 0.08, 0.32, 0.35, 0.25
BOARD_TITLE_GENERIC = 0.12
BOARD_TITLE_WRONG = 0.04
BOARD_HAS_TASTE = 0.35  # boards of a topic or thing that prefer one more attribute
BOARD_TASTE_DRAWS = 4  # entities looked at for one with the attribute that the board prefers
SAVE_OFF_THEME = 0.15
SAVED_PRODUCTS = 0.25
BOARD_SIZE_EXPONENT = 0.6

# --- queries
QUERY_TOPIC, QUERY_THING, QUERY_LEAF, QUERY_MORE = 0.08, 0.32, 0.35, 0.25
QUERY_ENDING = 0.06  # "ideas", "tips"; a query of a whole topic always has one
QUERY_TOPIC_NAMED = 0.25  # where English has it before the thing: "bathroom sink"
QUERY_OWN_PART = 0.1  # as OWN_PART: a query says what it means
MISSPELLED = 0.08
MISSPELLED_POPULARITY = 3.0  # how many words "longer", and so rarer, a misspelled query counts

# --- search
EXPANDED = 0.5  # queries that the engine also searches by synonyms of the query's locale
SYNONYM_WEIGHT = 0.6
CORRECTED = 0.7  # misspelled queries that the engine corrects
ENGINE_POPULARITY = 0.25  # of the engine's score; words make the rest
ENGINE_CHANCE = 0.1  # at most, of the score, and always the same for a query and an entity
BROWSED_SCORE = 0.7  # at most, in the place of words, for what was found by its interest
POSTINGS = 4000  # entities kept per word of the index, the most popular
MATCHED_PINS, BROWSED_PINS = 64, 24  # candidates of a query by token match, and by its interest alone
MATCHED_PRODUCTS, BROWSED_PRODUCTS = 32, 12
# where `--candidates mixed` finds its own: by words, by earlier behaviour, by what is popular in the interest
MIXED_PINS, MIXED_PRODUCTS = (32, 32, 24), (16, 16, 12)
EARLIER_LENGTH = 1.0  # length of the period before the log that `mixed` knows, beside the log's own
RELATED_QUERIES = 12
SHOWN = 12
RANKER_NOISE = 0.25  # scale of the Gumbel noise of a session's order, in units of the engine's score from 0 to 1
SURFACE_SHARES = (0.58, 0.27, 0.15)  # sessions that show pins, products, related queries

# --- what people do
POSITION_EXPONENT = 0.6  # position p is looked at with probability p ** -0.6
WANTED_SLOPE, WANTED_MIDDLE = 9.0, 0.68  # of the logistic function of the cosine
CHANCE = 0.004  # of what is looked at, acted on whatever it is
LEAST_ATTRACTIVE = 0.35  # factor of the least attractive entity; 1 for the most attractive
OTHER_LANGUAGE_PIN, OTHER_LANGUAGE_PRODUCT = 0.6, 0.3  # factors where entity and query are not of one language
PIN_CLICK_ONLY, PRODUCT_CLICK_ONLY = 0.2, 0.3  # actions that are a click and no more, on what is surely wanted
PIN_CLICK_ONLY_UNWANTED, PRODUCT_CLICK_ONLY_UNWANTED = 0.7, 0.8  # and on what is surely not; straight between
PIN_SAVE = 0.6  # of a pin's other actions; the rest are long clicks
PRODUCT_SAVE, PRODUCT_CART, PRODUCT_CHECKOUT = 0.25, 0.2, 0.1  # of a product's other actions; the rest are long clicks

# --- judgments
GRADE_COSINES = (0.22, 0.42, 0.66, 0.82)  # from which a grade of 1, 2, 3, 4 holds
RATERS = 9
RATERS_PER_PAIR = 3
RATER_NOISE = 0.5  # standard deviation, in grades, before rounding
RATER_BIAS = 0.15  # standard deviation of what a rater is off by on average
RATER_SLIP = 0.02  # grades given at random
JUDGED_MATCHED, JUDGED_THING, JUDGED_TOPIC, JUDGED_ANY = 8, 4, 3, 3  # of a query's judged entities of a type


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How many of each thing a world has; `requests` of its sessions stand in `impressions`."""

    pins: int
    products: int
    queries: int
    boards: int
    saves: int
    engagements: int
    requests: int
    judged_queries: int
    users: int


SCALES: dict[str, Scale] = {
    "tiny": Scale(
        pins=400, products=150, queries=200, boards=60, saves=1_200, engagements=6_000, requests=300,
        judged_queries=40, users=100,
    ),
    "small": Scale(
        pins=8_000, products=3_000, queries=3_000, boards=1_500, saves=32_000, engagements=80_000, requests=4_000,
        judged_queries=250, users=2_000,
    ),
    "standard": Scale(
        pins=100_000, products=30_000, queries=20_000, boards=15_000, saves=400_000, engagements=2_000_000,
        requests=25_000, judged_queries=1_000, users=60_000,
    ),
    "large": Scale(
        pins=1_000_000, products=300_000, queries=200_000, boards=150_000, saves=4_000_000, engagements=20_000_000,
        requests=100_000, judged_queries=4_000, users=1_000_000,
    ),
}  # fmt: skip
