"""Settings of the encoders: keyword-only frozen dataclasses that go to JSON and back.

`preset(name)` gives one of three sizes: `tiny` (tests), `small` (two CPU cores, minutes) and `paper` (the paper's
numbers, GPU). `fitted_to(config, schemas)` fills in what only the data knows: which vectors there are, how wide.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from omnifeat.data.schema import is_vector_list, vector_width
from omnifeat.errors import DataError, SettingError
from omnifeat.models.block_config import BLOCKS, TextConfig, WordsConfig
from omnifeat.models.setting_checks import Settings, check, check_share, is_int

__all__ = [
    "NGRAMS",
    "PRESETS",
    "SCRATCH",
    "TEXT_FIELDS",
    "EncoderConfig",
    "EntityConfig",
    "QueryConfig",
    "fitted_to",
    "preset",
]

# Query encoders that are built and not loaded; any other `QueryConfig.model` is a folder or a name.
NGRAMS, SCRATCH = "ngrams", "scratch"
# Text columns of pins and products (section 3.3); `board_titles` and `engaged_queries` are lists.
TEXT_FIELDS = (
    "title",
    "description",
    "caption",
    "board_titles",
    "engaged_queries",
    "link_domain",
    "brand",
    "color",
    "material",
    "product_type",
)
# Vector columns that are looked for in the data unless `EntityConfig.continuous` names others.
CONTINUOUS_FIELDS = ("pinsage", "itemsage", "image_embedding")


@dataclass(frozen=True, kw_only=True)
class QueryConfig(Settings):
    """Settings of the query encoder (section 3.4.1).

    Parameters
    ----------
    model
        `"ngrams"`: the sum of the query's n-grams by the entity encoder's own vocabularies and table, so that both
        sides know from the start which words they share. `"scratch"`: a small DistilBERT with a WordPiece vocabulary
        trained on the data. Anything else is the folder or the hub name of a pretrained Hugging Face encoder.
    pooling
        `"cls"`: the last layer's first token, as in the paper; `"mean"`: mean over the tokens that are not padding.
    max_length
        Word pieces kept of a query, special tokens included; the paper's reference keeps 64.
    prefix
        Text put before each query; some pretrained encoders ask for one (multilingual E5: `"query: "`).
    projection
        `"linear"`: a randomly initialised linear layer. `"identity-init"`: starts as the identity, where `dim` equals
        the hidden width (so that an untrained encoder equals the pretrained one), else as a semi-orthogonal matrix.
    trainable_layers
        None trains all; n trains the projection and the top n transformer layers and freezes the rest, word
        embeddings included; 0 trains the projection alone.
    dropout
        None leaves the backbone's own settings; a number is used for hidden states and attention.
    hidden, layers, heads, vocab_size
        Shape of the encoder built from scratch; not used with a pretrained one. Of n-grams, `hidden` is the width of
        the one hidden layer, and the rest is not used.
    """

    model: str = "scratch"
    pooling: str = "cls"
    max_length: int = 64
    prefix: str = ""
    projection: str = "linear"
    trainable_layers: int | None = None
    dropout: float | None = None
    hidden: int = 128
    layers: int = 2
    heads: int = 4
    vocab_size: int = 16_000

    def __post_init__(self) -> None:
        check(
            isinstance(self.model, str) and self.model != "", "query.model", "a folder, a name or 'scratch'", self.model
        )
        check(self.pooling in ("cls", "mean"), "query.pooling", "'cls' or 'mean'", self.pooling)
        check(isinstance(self.prefix, str), "query.prefix", "a text", self.prefix)
        choices = ("linear", "identity-init")
        check(self.projection in choices, "query.projection", "'linear' or 'identity-init'", self.projection)
        # [CLS], one word piece, [SEP]
        check(is_int(self.max_length, 3), "query.max_length", "an integer of 3 or more", self.max_length)
        layers = self.trainable_layers
        must_be = "an integer of 0 or more, or null for all"
        check(layers is None or is_int(layers, 0), "query.trainable_layers", must_be, layers)
        if self.dropout is not None:
            check_share("query.dropout", self.dropout)
        for name, least in (("hidden", 1), ("layers", 1), ("heads", 1), ("vocab_size", 10)):
            value = getattr(self, name)
            check(is_int(value, least), f"query.{name}", f"an integer of {least} or more", value)
        check(self.hidden % self.heads == 0, "query.hidden", f"a multiple of query.heads ({self.heads})", self.hidden)


@dataclass(frozen=True, kw_only=True)
class EntityConfig(Settings):
    """Settings of the pin-and-product encoder (section 3.4.2). Defaults are the paper's, except where stated.

    Parameters
    ----------
    trigrams, words, bigrams
        Largest sizes of the three n-gram vocabularies.
    hash_rows, text_dim, hashes, hash_seed
        Table of the hash embedding: `hash_rows x text_dim`, and the number of hash functions with the seed that they
        are derived from.
    hidden
        Widths of the hidden layers; with the output layer these make the paper's three-layer MLP.
    text_fields
        Text columns whose tokens are summed. Leave one out for an ablation.
    max_engaged_queries, max_board_titles
        How many of an entity's list are used, from the front; None uses all.
    continuous
        Vector columns and their widths. Left empty, it is filled from the data when training starts.
    text_pooling
        `"sum"` of the token embeddings as in the paper, `"mean"`, or `"sqrt"` (sum over the root of the count).
    dropout
        Dropout after each hidden layer.
    residual
        What the layers' output is added to: `"none"` as in the paper; `"text"`, the sum of the token embeddings;
        or a column of `continuous`. The last layer then starts at zero, so that an untrained encoder gives the text's
        sum, or the very vector that it was given.
    trained
        Whether a task trained the entity encoder; filled in when training starts. The cosines of one that was not
        trained are no features.
    """

    trigrams: int = 64_000
    words: int = 200_000
    bigrams: int = 1_000_000
    hash_rows: int = 100_000
    text_dim: int = 256
    hashes: int = 2
    hash_seed: int = 240_416_260
    hidden: tuple[int, ...] = (1024, 1024)
    text_fields: tuple[str, ...] = TEXT_FIELDS
    max_engaged_queries: int | None = 20
    max_board_titles: int | None = 10
    continuous: dict[str, int] = field(default_factory=dict)
    text_pooling: str = "sum"
    dropout: float = 0.0
    residual: str = "none"
    trained: bool = True

    def __post_init__(self) -> None:
        for name, least in (
            ("trigrams", 0),
            ("words", 0),
            ("bigrams", 0),
            ("hash_rows", 1),
            ("text_dim", 1),
            ("hashes", 1),
            ("hash_seed", 0),
        ):
            value = getattr(self, name)
            check(is_int(value, least), f"entity.{name}", f"an integer of {least} or more", value)
        check(self.hash_seed < 2**63, "entity.hash_seed", "an integer below 2^63", self.hash_seed)
        widths_fit = isinstance(self.hidden, tuple) and all(is_int(width, 1) for width in self.hidden)
        check(widths_fit, "entity.hidden", "a list of widths of 1 or more", self.hidden)
        for name in ("max_engaged_queries", "max_board_titles"):
            value = getattr(self, name)
            must_be = "an integer of 0 or more, or null for all"
            check(value is None or is_int(value, 0), f"entity.{name}", must_be, value)
        fields_fit = isinstance(self.text_fields, tuple) and all(isinstance(name, str) for name in self.text_fields)
        check(fields_fit, "entity.text_fields", "a list of column names", self.text_fields)
        distinct = len(set(self.text_fields)) == len(self.text_fields)
        check(distinct, "entity.text_fields", "a list of distinct column names", self.text_fields)
        continuous_fit = isinstance(self.continuous, dict) and all(is_int(w, 1) for w in self.continuous.values())
        check(continuous_fit, "entity.continuous", "a mapping of column name to width", self.continuous)
        pooling_fits = self.text_pooling in ("sum", "mean", "sqrt")
        check(pooling_fits, "entity.text_pooling", "'sum', 'mean' or 'sqrt'", self.text_pooling)
        check_share("entity.dropout", self.dropout)
        check(isinstance(self.trained, bool), "entity.trained", "true or false", self.trained)
        choices = ("none", "text", *self.continuous)
        # columns are found when training starts, and until then any may be named
        residual_fits = (
            isinstance(self.residual, str) and self.residual != "" and (not self.continuous or self.residual in choices)
        )
        check(residual_fits, "entity.residual", "'none', 'text' or a column of entity.continuous", self.residual)

    @property
    def continuous_width(self) -> int:
        """Sum of the widths of the continuous features."""
        return sum(self.continuous.values())


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(Settings):
    """Settings of a whole model.

    The published vector is blocks side by side, of unit length together: the learned one of width `dim` first, then
    words, then text. Its cosine is the sum of the blocks' cosines, each times its weight.

    Parameters
    ----------
    dim
        Width of the learned embeddings.
    query, entity
        Settings of the two learned encoders.
    compatibility
        Vector columns of existing embeddings that queries are made compatible with (section 3.4.3).
    compatibility_widths
        Widths of those columns. Left empty, it is filled from the data when training starts.
    matryoshka
        Prefix width -> weight of the prefixes that are trained too; empty trains the full width alone.
    temperature_start
        Temperature at the start of training (0.07 in the paper's reference).
    words, text
        Settings of the blocks that stand beside the learned one in the published vector; both are left out by default.
    block_weights
        Block (`learned`, `words`, `text`) -> its share of the published cosine. Empty until training has chosen them;
        all blocks then count alike.
    """

    dim: int = 256
    query: QueryConfig = field(default_factory=QueryConfig)
    entity: EntityConfig = field(default_factory=EntityConfig)
    compatibility: tuple[str, ...] = ("pinsage", "itemsage")
    compatibility_widths: dict[str, int] = field(default_factory=dict)
    matryoshka: dict[int, float] = field(default_factory=dict)
    temperature_start: float = 0.07
    words: WordsConfig = field(default_factory=WordsConfig)
    text: TextConfig = field(default_factory=TextConfig)
    block_weights: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(is_int(self.dim, 2), "dim", "an integer of 2 or more", self.dim)
        check(isinstance(self.query, QueryConfig), "query", "settings of the query encoder", self.query)
        check(isinstance(self.entity, EntityConfig), "entity", "settings of the entity encoder", self.entity)
        names_fit = isinstance(self.compatibility, tuple) and all(isinstance(n, str) for n in self.compatibility)
        check(names_fit, "compatibility", "a list of column names", self.compatibility)
        for mapping in ("compatibility_widths", "matryoshka"):
            value = getattr(self, mapping)
            check(isinstance(value, Mapping), mapping, "a mapping of names to numbers", value)
        for name, width in self.compatibility_widths.items():
            check(name in self.compatibility, "compatibility_widths", "given for columns in compatibility", name)
            check(is_int(width, 1), f"compatibility_widths.{name}", "an integer of 1 or more", width)
        for prefix, weight in self.matryoshka.items():
            in_range = is_int(prefix, 1) and prefix <= self.dim
            check(in_range, "matryoshka", f"given for prefix widths from 1 to dim ({self.dim})", prefix)
            positive = isinstance(weight, int | float) and not isinstance(weight, bool) and 0 < weight < math.inf
            check(positive, f"matryoshka.{prefix}", "a weight above 0", weight)
        check(isinstance(self.words, WordsConfig), "words", "settings of the block of words", self.words)
        check(isinstance(self.text, TextConfig), "text", "settings of the block of text", self.text)
        check(
            isinstance(self.block_weights, Mapping),
            "block_weights",
            "a mapping of names to numbers",
            self.block_weights,
        )
        for name, weight in self.block_weights.items():
            check(name in BLOCKS, "block_weights", f"given for {', '.join(BLOCKS)}", name)
            positive = isinstance(weight, int | float) and not isinstance(weight, bool) and 0 < weight < math.inf
            check(positive, f"block_weights.{name}", "a weight above 0", weight)
        if self.block_weights:
            for name in self.blocks:
                check(name in self.block_weights, "block_weights", f"given for each of {', '.join(self.blocks)}", name)
        start = self.temperature_start
        is_number = isinstance(start, int | float) and not isinstance(start, bool)
        check(is_number and 0.01 <= start < math.inf, "temperature_start", "a number of 0.01 or more", start)

    @property
    def blocks(self) -> dict[str, int]:
        """Blocks of the published vector and their widths, in their order."""
        widths = {"learned": self.dim, "words": self.words.width, "text": self.text.width}
        return {name: width for name, width in widths.items() if width}

    @property
    def shares(self) -> dict[str, float]:
        """Share of each block in the published cosine, adding up to 1; equal until they were chosen."""
        weights = {name: self.block_weights.get(name, 0.0) if self.block_weights else 1.0 for name in self.blocks}
        return {name: weight / sum(weights.values()) for name, weight in weights.items()}

    @property
    def width(self) -> int:
        """Width of the published vector."""
        return sum(self.blocks.values())

    @property
    def entity_columns(self) -> list[str]:
        """Columns of entity tables that the entity side reads, beside the id."""
        names = [*self.entity.text_fields, *self.entity.continuous]
        names += ["image_embeddings"] if "image_embedding" in self.entity.continuous else []
        names += self.text.fields if self.text.model else []
        return list(dict.fromkeys(names))

    @classmethod
    def _from_json(cls, key: str, value: Any) -> Any:
        if key == "query" and not isinstance(value, QueryConfig):
            return QueryConfig.from_dict(value)
        if key == "entity" and not isinstance(value, EntityConfig):
            return EntityConfig.from_dict(value)
        if key == "words" and not isinstance(value, WordsConfig):
            return WordsConfig.from_dict(value)
        if key == "text" and not isinstance(value, TextConfig):
            return TextConfig.from_dict(value)
        if key == "matryoshka" and isinstance(value, Mapping):
            return {_prefix_width(width): weight for width, weight in value.items()}
        return super()._from_json(key, value)


def _prefix_width(text: object) -> int:
    # JSON has text keys only
    if not str(text).isdecimal():
        raise SettingError(f"The 'matryoshka' setting must map prefix widths to weights; got the width {text!r}.")
    return int(str(text))


PRESETS: dict[str, EncoderConfig] = {
    "tiny": EncoderConfig(
        dim=32,
        query=QueryConfig(model="ngrams", hidden=32, layers=1, heads=2, vocab_size=2_000, max_length=24),
        entity=EntityConfig(
            trigrams=4_000,
            words=4_000,
            bigrams=4_000,
            hash_rows=2_000,
            text_dim=32,
            hidden=(64, 64),
            text_pooling="sqrt",
            residual="text",
        ),
    ),
    "small": EncoderConfig(
        dim=128,
        query=QueryConfig(model="ngrams", hidden=128, layers=2, heads=4, vocab_size=16_000, max_length=32),
        entity=EntityConfig(
            trigrams=32_000,
            words=50_000,
            bigrams=100_000,
            hash_rows=50_000,
            text_dim=128,
            hidden=(256, 256),
            residual="text",
        ),
        words=WordsConfig(width=512),
    ),
    "paper": EncoderConfig(dim=256, query=QueryConfig(model="distilbert-base-multilingual-cased")),
}


def preset(name: str) -> EncoderConfig:
    """Settings named `tiny`, `small` or `paper`.

    Raises
    ------
    SettingError
        There is no preset of that name.
    """
    if name not in PRESETS:
        raise SettingError(f"There is no preset {name!r}; the presets are {', '.join(PRESETS)}.")
    return PRESETS[name]


def fitted_to(config: EncoderConfig, schemas: Mapping[str, pa.Schema]) -> EncoderConfig:
    """Settings with the widths of the vectors that the entity tables hold.

    `entity.continuous` is filled only where it is empty: with `pinsage`, `itemsage` and `image_embedding` (an
    `image_embeddings` list counts as one), as far as a table has them. `compatibility` is reduced to the columns that
    a table has. Called once, when training starts; an encoder that is trained keeps what was found.

    Parameters
    ----------
    config
        Settings to complete.
    schemas
        Table name (`pins`, `products`) -> its Arrow schema, vectors as fixed-size lists.

    Raises
    ------
    DataError
        Two tables hold the same vector in two widths, or a column that the settings name is in no table.
    SettingError
        `entity.residual` names a column that the encoder doesn't read.
    """
    found: dict[str, tuple[int, str]] = {}
    for table, schema in schemas.items():
        for column in schema:
            name = column.name
            if is_vector_list(column.type):
                if name != "image_embeddings":
                    continue
                name = "image_embedding"
            width = vector_width(column.type)
            if width < 0:
                continue
            if name in found and found[name][0] != width:
                raise DataError(
                    f"Column '{name}' is {found[name][0]} wide in table '{found[name][1]}' and {width} wide in table "
                    f"'{table}'; give both tables vectors of one width."
                )
            found[name] = (width, table)
    for name, width in config.entity.continuous.items():
        if name not in found:
            raise DataError(f"The settings name the vector column '{name}', which is in none of {', '.join(schemas)}.")
        if found[name][0] != width:
            raise DataError(
                f"Column '{name}' of table '{found[name][1]}' is {found[name][0]} wide; the settings say {width}."
            )
    continuous = config.entity.continuous or {n: found[n][0] for n in CONTINUOUS_FIELDS if n in found}
    if config.entity.residual not in ("none", "text", *continuous):
        raise SettingError(
            f"The 'entity.residual' setting names '{config.entity.residual}', which is no vector column that the "
            f"encoder reads ({', '.join(continuous) or 'there is none'}); name one, 'text' or 'none'."
        )
    compatibility = tuple(name for name in config.compatibility if name in found)
    return dataclasses.replace(
        config,
        entity=dataclasses.replace(config.entity, continuous=continuous),
        compatibility=compatibility,
        compatibility_widths={name: found[name][0] for name in compatibility},
    )
