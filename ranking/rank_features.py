"""The features of a ranker, computed alike for a log of impressions and for the candidates of one query.

What a pair's features need is kept in memory: the words of the catalogue by field, counts by day, vectors of the
encoders. `RankFeatures.compute` takes a batch of a log and the thousand candidates of a request by the same code, so
that a ranker is served what it was trained on.

| columns | what they are |
|---|---|
| `bm25_<field>` | BM25 over the words of a field; `engaged_queries` without the pair's own query |
| `matched_words`, `matched_share`, `matched_title_share`, `matched_evidence_share` | distinct words of the query \
that the entity's own text has, their share, that in the title, and that in own text, boards and engaged queries |
| `query_words`, `query_characters`, `title_words`, `text_words` | lengths |
| `is_product`, `price`, `same_language` | as in the tables |
| `entity_engaged`, `entity_strong`, `query_engaged`, `pair_engaged` | rows of the log in the window |
| `entity_shown`, `query_shown`, `pair_shown`, `entity_rate`, `query_rate`, `pair_rate` | impressions in the window, \
and the smoothed share of them with an action |
| `entity_age_days`, `entity_idle_days` | days from the first and from the last day that the entity was counted on |
| `cosine`, ... | as `omnifeat.featurize` has them, for each encoder, with its prefix |
| `rrf` | where asked for: its cosine and BM25 fused among the candidates of the request (`ranking.rank_fusion`) |

The window of a row are the `window_days` days before its own day, or before the end of the training part, whichever is
earlier. Only rows of the training part are counted.

Shape suffix: P pairs.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from os import PathLike, fspath
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.cores import thread_count
from omnifeat.data.dataset import Dataset
from omnifeat.data.entity_types import type_texts
from omnifeat.data.files import as_table
from omnifeat.embedding_table import EmbeddingTable
from omnifeat.entity_sources import entity_sources
from omnifeat.errors import DataError, SettingError
from omnifeat.frozen import FrozenEncoder
from omnifeat.keys import as_strings
from omnifeat.models.training_record import TrainingRecord
from omnifeat.pair_vectors import Progress, no_progress
from omnifeat.scratch import Scratch, parse_bytes
from omnifeat.text.normalise import normalise
from ranking.catalogue_text import Catalogue
from ranking.count_features import CountFeatures
from ranking.encoder_columns import EncoderColumns, is_blank
from ranking.features import FINGERPRINT_KEY
from ranking.rank_fusion import RRF, reciprocal_ranks, request_numbers
from ranking.text_features import TextFeatures

__all__ = ["FeatureColumn", "RankFeatures", "named_encoders"]

BATCH_ROWS = 65_536
"""Pairs computed at once; queries of one batch are encoded together."""

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FeatureColumn:
    """A column of a table of features: what it is made from, and the version of that.

    `role` is `feature`, or for the columns that a table of pairs brought along: `id`, `label`, `position` or `kept`.
    """

    name: str
    type: str
    source: str
    version: str
    role: str = "feature"

    def as_json(self) -> dict[str, str]:
        """As JSON has it."""
        return asdict(self)


class RankFeatures:
    """Features of (query, entity) pairs; make one with `RankFeatures.from_dataset`, and close it, or use it in `with`.

    Attributes
    ----------
    columns
        The feature columns in their order, with source and version.
    schema
        Arrow schema of what `compute` gives: float32 columns, with the encoder's fingerprint in the metadata.
    fingerprint
        Of the encoder; of several, `name:fingerprint` with commas between; None without one.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        counts: CountFeatures | None,
        encoders: Mapping[str, EncoderColumns],
        text: TextFeatures,
        text_version: str,
        resources: ExitStack,
        *,
        fused: bool = False,
    ) -> None:
        self.fused = fused
        self._catalogue, self._counts, self._encoders, self._text = catalogue, counts, dict(encoders), text
        self._resources = resources
        self.columns: tuple[FeatureColumn, ...] = tuple(self._described(text_version))
        self.fingerprint = _joined_fingerprint({name: one.encoder.fingerprint for name, one in self._encoders.items()})
        metadata = {FINGERPRINT_KEY: self.fingerprint} if self.fingerprint else None
        self.schema = pa.schema([(column.name, pa.float32()) for column in self.columns], metadata=metadata)
        added = len(self._encoders) if fused else 0
        self._of_pairs = pa.schema([*self.schema][: len(self.schema) - added], metadata=metadata)

    @classmethod
    def from_dataset(
        cls,
        dataset: Dataset | str | PathLike[str],
        *,
        encoder: FrozenEncoder | str | PathLike[str] | None = None,
        encoders: Mapping[str, FrozenEncoder | str | PathLike[str]] | None = None,
        embeddings: Sequence[str | PathLike[str]] = (),
        entities: pa.Table | None = None,
        counts: bool = True,
        fused: bool = False,
        window_days: int = 28,
        prior_impressions: float = 20.0,
        leave_out_own_query: bool = True,
        query_cache: int = BATCH_ROWS,
        memory_limit: str | int = "4GB",
        threads: int | None = None,
        progress: Progress = no_progress,
    ) -> "RankFeatures":
        """Index a dataset's catalogue, count its log and impressions, and encode its entities.

        Parameters
        ----------
        dataset
            With pins, products or both; counts come from its log and from its impressions, where it has them.
        encoder
            Adds its cosine columns under their plain names.
        encoders
            Name -> encoder: adds cosine columns `<name>_cosine`, ... of each.
        embeddings
            Embedding tables made by `omnifeat embed` with these encoders; what they hold is not encoded again.
        entities
            `entity_id` and `entity_type` of the only entities to encode, for a table of known pairs; all if None.
        counts
            Whether to count the log and the impressions.
        fused
            Add `rrf` for each encoder. It is the one feature that depends on which candidates are given together.
        window_days
            Days that are counted before a row's day.
        prior_impressions
            Impressions that the prior of a rate weighs.
        leave_out_own_query
            Take a pair's own query out of its entity's engaged queries.
        query_cache
            Query vectors that are kept; at least those of one batch.
        memory_limit
            What DuckDB may take while it counts, and what the vectors may take before they go to a mapped file.

        Raises
        ------
        DataError
            A table or column is not what it must be, or there is a log and no split to say what lies before it.
        EncoderError, FingerprintError, SettingError
            An encoder cannot be loaded, an embedding table is of none of the encoders, or a setting is impossible.
        """
        opened = dataset if isinstance(dataset, Dataset) else Dataset.open(dataset)
        if window_days < 1 or not prior_impressions > 0:
            raise SettingError(
                "The window must be at least one day and the prior above 0 impressions; got "
                f"{window_days} and {prior_impressions}."
            )
        limit, workers = parse_bytes(memory_limit), thread_count(threads)
        loaded = _load_encoders(encoder, encoders, threads)
        tables = [EmbeddingTable.open(fspath(path)) for path in embeddings]
        known = {one.fingerprint for one in loaded.values()}
        for table in tables:
            if table.fingerprint not in known:  # the first says both fingerprints, or that no encoder was given
                if not loaded:
                    raise SettingError(f"The embedding table {table.path} is of no use without --encoder; name it.")
                name, one = next(iter(loaded.items()))
                table.check_encoder(f"encoder '{name}'" if name else "the encoder", one.fingerprint, one.dim)
        sources = entity_sources(opened.path)
        if fused and not loaded:
            raise SettingError("--rrf fuses the cosine of an encoder with BM25; name one with --encoder.")
        catalogue = Catalogue(sources, progress)
        if fused and not catalogue.fields:
            raise SettingError(
                f"--rrf fuses a cosine with BM25, and the pins and products of {opened.path} have no text column; "
                "leave --rrf out."
            )
        counted = CountFeatures.of(
            opened,
            catalogue,
            window_days=window_days,
            prior=prior_impressions,
            memory_limit=limit,
            threads=workers,
        ) if counts else None  # fmt: skip
        wanted = None
        if entities is not None:
            rows = catalogue.rows(_texts(entities, "entity_id"), _texts(entities, "entity_type"))
            wanted = np.unique(rows[rows >= 0]).astype(np.int64)
        resources = ExitStack()
        scratch = resources.enter_context(Scratch(limit))
        columns = {
            name: EncoderColumns(
                one,
                f"{name}_" if name else "",
                sources,
                catalogue.ids,
                catalogue.types,
                wanted=wanted,
                tables=[table for table in tables if table.fingerprint == one.fingerprint],
                leave_out_own_query=leave_out_own_query,
                room=max(query_cache, BATCH_ROWS),
                scratch=scratch,
                threads=workers,
                progress=progress,
            )
            for name, one in loaded.items()
        }
        text = TextFeatures(opened, catalogue, leave_out_own_query=leave_out_own_query)
        version = f"catalogue of {opened.info.name}"
        return cls(catalogue, counted, columns, text, version, resources, fused=fused)

    @property
    def records(self) -> dict[str, TrainingRecord]:
        """What the encoders were trained on, by the prefix of their columns; of those that have it recorded."""
        return {one.prefix: one.encoder.record for one in self._encoders.values() if one.encoder.record is not None}

    @property
    def entity_ids(self) -> pa.LargeStringArray:
        """The ids of the catalogue."""
        return self._catalogue.ids

    def __enter__(self) -> "RankFeatures":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove what was put on disk."""
        self._resources.close()

    def compute(self, pairs: Any) -> pa.Table:
        """The features of pairs: as many rows, in their order.

        Parameters
        ----------
        pairs
            pandas, Polars or Arrow table with `query`, `entity_id` and [`entity_type`, `timestamp`]. Other columns are
            not looked at. Without a time, the counts are those of the end of the training part.

        Returns
        -------
        pa.Table
            The float32 columns of `columns`, null where there is nothing to say: for all but the query's own columns
            where the entity is not in the catalogue, for all where there is no query.

        Raises
        ------
        DataError
            A column is missing, or is not of its type.
        """
        table = as_table(pairs)
        for name in ("query", "entity_id"):
            if name not in table.column_names:
                raise DataError(
                    f"The pairs have no column '{name}'; their columns are {', '.join(table.column_names)}."
                )
        parts = [self._batch(table.slice(start, BATCH_ROWS)) for start in range(0, table.num_rows, BATCH_ROWS)]
        found = pa.Table.from_batches([part for part, _ in parts], schema=self._of_pairs)
        if not self.fused:
            return found
        entities = np.concatenate([rows for _, rows in parts]) if parts else np.empty(0, np.int32)
        return self._with_fused(found, request_numbers(table), entities)

    def _with_fused(self, found: pa.Table, requests: Int64, entities: Int32) -> pa.Table:
        """The columns and, for each encoder, its cosine fused with BM25."""
        words = np.sum([_values(found, name) for name in found.column_names if name.startswith("bm25_")], axis=0)
        for one in self._encoders.values():
            both = reciprocal_ranks(requests, entities, [_values(found, f"{one.prefix}cosine"), words])
            found = found.append_column(f"{one.prefix}{RRF}", pa.array(both, from_pandas=True))
        return found.cast(self.schema)

    def _batch(self, pairs: pa.Table) -> tuple[pa.RecordBatch, Int32]:
        """The features of each pair alone, and rows of the catalogue."""
        catalogue = self._catalogue
        raw = pc.dictionary_encode(_texts(pairs, "query"))
        distinct = raw.dictionary
        blank = np.append(is_blank(distinct), True)
        codes = pc.fill_null(raw.indices, len(distinct)).to_numpy(zero_copy_only=False)
        query_rows: Int32 = np.where(blank[codes], -1, codes).astype(np.int32)
        # what is blank is encoded as nothing: the rows of texts that are not
        filled = np.flatnonzero(~blank[:-1])
        places = np.full(len(distinct) + 1, -1, dtype=np.int32)
        places[filled] = np.arange(len(filled), dtype=np.int32)
        query_rows = places[query_rows]
        queries = distinct.take(pa.array(filled))
        texts = as_strings(normalise(queries), "query")
        types = None
        if "entity_type" in pairs.column_names:
            types = type_texts(pairs["entity_type"], "column 'entity_type'")
        entity_rows = catalogue.rows(_texts(pairs, "entity_id"), types)
        values = [*self._text.columns(texts, query_rows, entity_rows)]
        if self._counts is not None:
            times = pairs.column("timestamp").combine_chunks() if "timestamp" in pairs.column_names else None
            values += self._counts.columns(texts, query_rows, entity_rows, times)
        for one in self._encoders.values():
            values += one.columns(queries, query_rows, entity_rows)
        arrays = [pa.array(np.ascontiguousarray(column, dtype=np.float32), from_pandas=True) for column in values]
        return pa.RecordBatch.from_arrays(arrays, schema=self._of_pairs), entity_rows

    def _described(self, text_version: str) -> Iterator[FeatureColumn]:
        for name, source in self._text.names():
            yield FeatureColumn(name, "float32", source, text_version)
        if self._counts is not None:
            for name, source in self._counts.names():
                yield FeatureColumn(name, "float32", source, self._counts.version)
        for name, one in self._encoders.items():
            shown = f"encoder '{name}'" if name else "encoder"
            for column in one.names:
                yield FeatureColumn(column, "float32", shown, one.encoder.fingerprint)
        for one in self._encoders.values() if self.fused else ():
            told = f"reciprocal ranks of {one.prefix}cosine and of the sum of bm25_* among the request's candidates"
            yield FeatureColumn(f"{one.prefix}{RRF}", "float32", told, one.encoder.fingerprint)


def _texts(table: pa.Table, column: str) -> pa.LargeStringArray:
    return as_strings(table.column(column), f"the pairs: column '{column}'")


def _values(table: pa.Table, column: str) -> Float32:
    """A column as float32 (P,), NaN for null."""
    values: Float32 = table[column].to_numpy().astype(np.float32)
    return values


def _load_encoders(
    encoder: FrozenEncoder | str | PathLike[str] | None,
    encoders: Mapping[str, FrozenEncoder | str | PathLike[str]] | None,
    threads: int | None,
) -> dict[str, FrozenEncoder]:
    given: dict[str, Any] = {**({"": encoder} if encoder is not None else {}), **(encoders or {})}
    for name in encoders or {}:
        if not name or not name.replace("_", "").isalnum():
            raise SettingError(
                f"The name of an encoder must be of letters, digits and underscores, for columns bear it; got {name!r}."
            )
    return {
        name: FrozenEncoder.from_pretrained(fspath(one), threads=threads) if isinstance(one, str | PathLike) else one
        for name, one in given.items()
    }


def named_encoders(given: Sequence[str]) -> tuple[str | None, dict[str, str]]:
    """The encoder that was given by its place alone, and those given as NAME=PLACE.

    Raises
    ------
    SettingError
        Two have no name, or one name stands twice.
    """
    plain: str | None = None
    named: dict[str, str] = {}
    for item in given:
        name, equals, place = item.partition("=")
        if not equals:
            if plain is not None:
                raise SettingError(f"Of several encoders all but one need a name: give {item!r} as NAME={item}.")
            plain = item
        elif name in named:
            raise SettingError(f"The encoder name {name!r} is given twice; give each its own.")
        else:
            named[name] = place
    return plain, named


def _joined_fingerprint(fingerprints: Mapping[str, str]) -> str | None:
    if not fingerprints:
        return None
    if list(fingerprints) == [""]:
        return fingerprints[""]
    return ",".join(f"{name}:{value}" for name, value in sorted(fingerprints.items()))
