"""The catalogue as a ranker's features read it: ids, words of each field, languages and prices, all in memory."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.compiled import compiled
from omnifeat.entity_sources import EntitySource
from omnifeat.errors import DataError
from omnifeat.keys import KeyIndex, as_strings
from omnifeat.pair_vectors import Progress
from omnifeat.text.normalise import normalise
from ranking.field_index import FieldIndex, Vocabulary

__all__ = ["EVIDENCE_FIELDS", "FIELDS", "Catalogue"]

FIELDS: dict[str, tuple[str, ...]] = {
    "title": ("title",),
    "description": ("description",),
    "caption": ("caption",),
    "attributes": ("brand", "color", "material", "product_type"),
    "board_titles": ("board_titles",),
    "engaged_queries": ("engaged_queries",),
}
"""Fields that are searched, and the columns that each is made of."""

EVIDENCE_FIELDS = ("board_titles", "engaged_queries")
"""Fields that people's behaviour made, from before the split; the others are what the entity says of itself."""

_ROWS = 16_384
_TYPE_TAGS = {"pin": 0, "product": 1}

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


class Catalogue:
    """Entities numbered in the order of their tables, pins before products.

    Attributes
    ----------
    ids, types
        Text of the N entities.
    fields
        Name of a field -> its `FieldIndex`; only fields that have a column.
    engaged_starts, engaged
        Of each entity the numbers of its engaged queries, as normalised texts are numbered by `engaged_texts`.
    languages
        Number of each entity's language in `language_names`, -1 for none; None where no table says it.
    prices
        NaN for none; None where no table has a price.
    """

    def __init__(self, sources: Sequence[EntitySource], progress: Progress) -> None:
        self.vocabulary = Vocabulary()
        self.engaged_texts = KeyIndex()
        self.language_names: dict[str, int] = {}
        self._keys = KeyIndex()
        present = {name for source in sources for name in source.schema.names}
        self.fields = {
            name: FieldIndex() for name, columns in FIELDS.items() if any(column in present for column in columns)
        }
        ids, types, engaged, engaged_counts = [], [], [], []
        languages: list[Int32] = []
        prices: list[npt.NDArray[np.float32]] = []
        columns = [column for field in self.fields for column in FIELDS[field]] + ["language", "price"]
        for source in sources:
            source.check_unique()
            kind = source.entity_type or ""
            with progress(f"reading {source.name}", None) as advance:
                first_row = 1
                for batch in source.batches(columns, _ROWS):
                    of_batch = source.ids(batch, first_row)
                    ids.append(of_batch)
                    types.append(pa.repeat(pa.scalar(kind, pa.large_string()), len(of_batch)))
                    self._keys.intern(of_batch, np.full(len(of_batch), _TYPE_TAGS[kind], dtype=np.uint8))
                    for field, index in self.fields.items():
                        index.add(*self.vocabulary.learn(_field_texts(batch, FIELDS[field], source.name)))
                    numbers, counts = self._engaged(batch, source.name)
                    engaged.append(numbers)
                    engaged_counts.append(counts)
                    languages.append(self._languages(batch))
                    prices.append(_prices(batch))
                    first_row += batch.num_rows
                    advance(batch.num_rows)
        for index in self.fields.values():
            index.finish(len(self.vocabulary))
        self.ids, self.types = pa.concat_arrays(ids), pa.concat_arrays(types)
        self.engaged: Int32 = np.concatenate(engaged)
        self.engaged_starts: Int64 = np.concatenate([[0], np.cumsum(np.concatenate(engaged_counts))]).astype(np.int64)
        self.languages = np.concatenate(languages) if "language" in present else None
        self.prices = np.concatenate(prices) if "price" in present else None
        self.is_product = pc.equal(self.types, "product").to_numpy(zero_copy_only=False)

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, ids: pa.LargeStringArray, types: pa.LargeStringArray | None) -> Int32:
        """Rows of entities, int32 (P,), -1 where an id is null or not in the catalogue (or of no pin or product).

        Raises
        ------
        DataError
            A row says no type, and its id is both a pin's and a product's.
        """
        found = {kind: self._keys.find(ids, np.full(len(ids), tag, dtype=np.uint8)) for kind, tag in _TYPE_TAGS.items()}
        unsaid = np.ones(len(ids), dtype=np.bool_)
        rows = np.full(len(ids), -1, dtype=np.int32)
        if types is not None:
            encoded = pc.dictionary_encode(types)
            codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
            unsaid = codes < 0
            for code, kind in enumerate(encoded.dictionary.to_pylist()):
                if kind in found:
                    rows = np.where(codes == code, found[kind], rows)
        both = np.flatnonzero(unsaid & (found["pin"] >= 0) & (found["product"] >= 0))
        if len(both):
            raise DataError(
                f"The id {ids[int(both[0])].as_py()!r} is both a pin's and a product's; give the pairs a column "
                "'entity_type' with a type in each row."
            )
        return np.where(unsaid, np.maximum(found["pin"], found["product"]), rows)

    def own_counts(self, numbers_Q: Int32, query_rows_P: Int32, entity_rows_P: Int32) -> Int32:
        """How many times each pair's own query is among its entity's engaged queries, int32 (P,).

        `numbers_Q` are the queries' numbers in `engaged_texts`, -1 for those that no entity was engaged with.
        """
        out = np.zeros(len(query_rows_P), dtype=np.int32)
        numbers = np.append(numbers_Q, np.int32(-1))[query_rows_P]
        _count_own(numbers, entity_rows_P, self.engaged_starts, self.engaged, out)
        return out

    def _engaged(self, batch: pa.RecordBatch, where: str) -> tuple[Int32, Int64]:
        if "engaged_queries" not in batch.schema.names:
            return np.zeros(0, dtype=np.int32), np.zeros(batch.num_rows, dtype=np.int64)
        lists = batch.column("engaged_queries")
        texts = pc.list_flatten(lists)
        owners = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
        kept = pc.is_valid(texts)
        numbers = self.engaged_texts.intern(as_strings(normalise(texts.filter(kept)), f"{where}: engaged_queries"))
        owners = owners[kept.to_numpy(zero_copy_only=False)]
        return numbers, np.bincount(owners, minlength=batch.num_rows).astype(np.int64)

    def _languages(self, batch: pa.RecordBatch) -> Int32:
        if "language" not in batch.schema.names:
            return np.full(batch.num_rows, -1, dtype=np.int32)
        return self.language_numbers(batch.column("language"))

    def language_numbers(self, names: pa.Array) -> Int32:
        """Numbers of languages, int32 (n,), -1 for none; new names are numbered."""
        encoded = pc.dictionary_encode(pc.cast(names, pa.string()))
        of_code = [
            self.language_names.setdefault(name, len(self.language_names)) for name in encoded.dictionary.to_pylist()
        ]
        codes = pc.fill_null(encoded.indices, len(of_code)).to_numpy(zero_copy_only=False)
        return np.array([*of_code, -1], dtype=np.int32)[codes]


@compiled
def _count_own(numbers: Any, entity_rows: Any, starts: Any, engaged: Any, out: Any) -> None:
    for pair in range(len(numbers)):
        if numbers[pair] < 0 or entity_rows[pair] < 0:
            continue
        for place in range(starts[entity_rows[pair]], starts[entity_rows[pair] + 1]):
            if engaged[place] == numbers[pair]:
                out[pair] += 1


def _field_texts(batch: pa.RecordBatch, columns: Sequence[str], where: str) -> list[str]:
    """Normalised text of each entity in a field of one or more columns, text or lists of text."""
    parts: list[Any] = []
    for name in columns:
        if name not in batch.schema.names:
            continue
        column = batch.column(name)
        kind = column.type
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            column = pa.array(
                ["\n".join(text for text in items if text) if items else None for items in column.to_pylist()],
                pa.string(),
            )
        elif not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
            raise DataError(f"{where}: column '{name}' must hold text, but its type is {kind}.")
        parts.append(pc.fill_null(pc.cast(column, pa.string()), ""))
    if not parts:
        return [""] * batch.num_rows
    joined = parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, " ")
    texts: list[str] = normalise(joined).to_pylist()
    return texts


def _prices(batch: pa.RecordBatch) -> npt.NDArray[np.float32]:
    if "price" not in batch.schema.names:
        return np.full(batch.num_rows, np.nan, dtype=np.float32)
    values = pc.cast(batch.column("price"), pa.float64()).to_numpy(zero_copy_only=False)
    return np.asarray(values, dtype=np.float32)
