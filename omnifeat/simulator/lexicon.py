"""The words of the simulated world: domains, topics and things, and the attributes that go with them.

Three levels of interests: 6 domains, 24 topics, 144 things. A thing or attribute may have several words
(`sink|basin`): the sources of text choose among them, so that equal meaning does not always mean equal words.
"""

from dataclasses import dataclass

__all__ = ["ATTRIBUTES", "BRANDS", "LINK_DOMAINS", "TOPICS", "Attribute", "Thing", "Topic", "words_of"]

# "# domain", then topics as "name: kinds of attributes; usual price" with their things on the next line
_WORLD = """
# home decor
bathroom: colour material style; 120
    sink|basin, vanity, mirror, shower curtain, bath mat|bath rug, towel rack|towel holder
kitchen: colour material style; 180
    backsplash|wall tile, island|kitchen island, cabinet|cupboard, faucet|tap, bar stool, pantry shelf
bedroom: colour material style; 160
    headboard, duvet cover|bedding, nightstand|bedside table, dresser, throw pillow|cushion, bed frame
living room: colour material style; 250
    sofa|couch, coffee table, area rug|carpet, floor lamp, bookshelf|bookcase, curtain|drape
# garden and crafts
garden: colour material style; 70
    planter|flower pot, raised bed, trellis, fire pit, bird bath, patio chair
houseplants: colour size room; 30
    monstera, succulent, fern, hanging plant, cactus, fiddle leaf fig
knitting: colour material size; 25
    scarf|muffler, baby blanket, beanie|knit hat, cardigan pattern, mittens, sock yarn
papercraft: colour occasion style; 18
    greeting card, scrapbook, origami, gift box, paper flower, stamp set
# fashion
women's clothing: colour material season; 60
    maxi dress|long dress, blouse|top, midi skirt, jumpsuit, blazer, sweater|jumper
men's clothing: colour material season; 75
    suit, denim jacket, chinos|trousers, oxford shirt, hoodie|sweatshirt, overcoat
shoes: colour material season; 80
    sneakers|trainers, ankle boots, sandals, loafers, high heels|pumps, running shoes
jewelry: material style occasion; 140
    engagement ring, necklace|pendant, hoop earrings, bracelet|bangle, brooch|pin badge, wedding band
# food
baking: flavour occasion diet; 15
    cupcake, layer cake, cookie|biscuit, sourdough bread, cheesecake, brownie
dinner: flavour diet season; 20
    pasta, casserole|bake, stir fry, curry, tacos, roast chicken
drinks: flavour season occasion; 12
    smoothie, cocktail, lemonade, iced coffee, hot chocolate|cocoa, mocktail
breakfast: flavour diet season; 12
    pancakes|hotcakes, granola, overnight oats|porridge, omelette, french toast, waffles
# beauty and wellness
hair: colour occasion season; 35
    braids|plaits, bob haircut, balayage, updo, curly bangs, ponytail
nails: colour season occasion; 20
    gel nails, almond nails, french manicure, toe nails, nail stickers, acrylic nails
makeup: colour occasion style; 28
    eyeshadow palette, lipstick|lip colour, eyeliner, foundation, blush, highlighter
fitness: colour size season; 32
    yoga mat, dumbbells|hand weights, resistance band, leggings, water bottle, ab workout
# occasions and travel
wedding: colour season style; 90
    bouquet, wedding cake, table centerpiece|table decoration, wedding arch|backdrop, invitation, bridesmaid dress
kids' party: colour occasion size; 16
    balloon garland, pinata, party hat, goody bag|party favour, birthday banner, treasure hunt
travel: season style colour; 85
    carry on suitcase|cabin luggage, travel backpack, packing list, road trip, beach bag, camping tent
art: colour style room; 55
    watercolor painting|aquarelle, wall art print|poster, line drawing|sketch, tattoo design, pottery bowl, oil portrait
"""

# kind: values; a line that is set in goes on with the line before it
_ATTRIBUTES = """
colour: black, white, sage green|soft green, navy blue|dark blue, blush pink|light pink,
    mustard yellow, terracotta|rust orange, grey|gray, beige|cream, burgundy|wine red
material: copper, brass|gold metal, marble, oak|wooden, linen,
    velvet, leather, rattan|wicker, wool, ceramic
style: antique|vintage, modern|contemporary, farmhouse|country, boho|bohemian, industrial,
    minimalist|simple, scandinavian|nordic, art deco, rustic, mid century
room: office, balcony, hallway|entryway, nursery, dorm room, sunroom
size: small|tiny, large|big, oversized, narrow, chunky, mini
season: summer, winter, spring, autumn|fall, holiday, rainy day
occasion: birthday, christmas|xmas, halloween, valentine, baby shower, graduation
flavour: chocolate, lemon, spicy, strawberry, garlic, pumpkin, coconut, caramel
diet: vegan|plant based, gluten free, low carb|keto, high protein, healthy, quick
"""

BRANDS = (
    "Alderhome", "Brightfern", "Casa Linde", "Dunmoor", "Everlane Row", "Foxglove", "Granary", "Halcyon", "Ivory Oak",
    "Juniper & Co", "Kestrel", "Lumera", "Maren", "Northwick", "Oriel", "Pinecrest", "Quillon", "Rosewater", "Solstead",
    "Thornbury", "Umbra Vale", "Verano", "Wrenfield", "Zephyr",
)  # fmt: skip

LINK_DOMAINS = (
    "homeinspo.example", "dailycraft.example", "stylebook.example", "tastypages.example", "glowguide.example",
    "weekendtrips.example", "shopfinds.example", "blogroll.example",
)  # fmt: skip


def words_of(entry: str) -> tuple[str, ...]:
    """The words of one lexicon entry, the usual one first."""
    return tuple(word.strip() for word in entry.split("|"))


@dataclass(frozen=True)
class Attribute:
    """A value of a kind of attribute, such as the colour "navy blue", with all its words."""

    kind: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Thing:
    """A third-level interest, such as a sink: its words, and the topic it is in."""

    topic: int
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        """The usual word."""
        return self.words[0]


@dataclass(frozen=True)
class Topic:
    """A second-level interest: its domain, its things, the kinds of attributes that go with them, a usual price."""

    name: str
    domain: str
    kinds: tuple[str, ...]
    things: tuple[Thing, ...]
    price: float


def _topics() -> tuple[Topic, ...]:
    topics: list[Topic] = []
    domain = ""
    lines = iter(_WORLD.strip().splitlines())
    for line in lines:
        if line.startswith("# "):
            domain = line.removeprefix("# ")
            continue
        name, _, rest = line.partition(": ")
        kinds, _, price = rest.partition("; ")
        things = tuple(Thing(len(topics), words_of(entry)) for entry in next(lines).split(","))
        topics.append(Topic(name, domain, tuple(kinds.split()), things, float(price)))
    return tuple(topics)


def _attributes() -> tuple[Attribute, ...]:
    lines = _ATTRIBUTES.strip().replace("\n    ", " ").splitlines()
    return tuple(
        Attribute(kind, words_of(entry))
        for kind, _, entries in (line.partition(": ") for line in lines)
        for entry in entries.split(",")
    )


TOPICS: tuple[Topic, ...] = _topics()
ATTRIBUTES: tuple[Attribute, ...] = _attributes()
