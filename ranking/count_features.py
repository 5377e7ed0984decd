"""Popularity, smoothed click rates, query frequency and freshness, counted before a row's day and before the split.

A rate is (a + k * g) / (n + k): a impressions with an action among n shown, k the impressions that the prior weighs.
The prior g of an entity's or query's rate is the rate of all impressions of that window, itself (a + 1) / (n + 10);
that of an entity is of its own type. The prior of a pair's rate is its entity's rate.

Shape suffix: P pairs.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.dataset import Dataset
from omnifeat.data.schema import TIMESTAMP
from omnifeat.data.splits import HashSplit, TimeSplit
from omnifeat.engines import Store
from omnifeat.errors import DataError
from omnifeat.keys import KeyIndex, as_strings
from ranking.catalogue_text import Catalogue
from ranking.day_counts import COUNTED, DAY_US, DayCounts, counted_batches

__all__ = ["CountFeatures"]

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

_ENGAGED, _STRONG, _SHOWN, _ACTED = range(len(COUNTED))
_ALL_TYPES = -1
_PRIOR_ACTED, _PRIOR_SHOWN = 1.0, 10.0


class CountFeatures:
    """Counts of queries, entities and pairs by day, in memory: a dozen bytes for each day on which one was counted.

    Attributes
    ----------
    end
        The day after the last that was counted, as days from 1970.
    version
        What was counted and until when, for the manifest.
    """

    def __init__(
        self,
        queries: KeyIndex,
        of_query: DayCounts,
        of_entity: DayCounts,
        of_pair: DayCounts,
        of_type: DayCounts,
        *,
        is_product: npt.NDArray[np.bool_],
        end: int,
        window_days: int,
        prior: float,
        version: str,
        has_log: bool,
        has_impressions: bool,
    ) -> None:
        self._queries = queries
        self._of_query, self._of_entity, self._of_pair, self._of_type = of_query, of_entity, of_pair, of_type
        self._is_product = np.append(is_product, False).astype(np.int64)
        self.end, self.version = end, version
        self._window, self._prior = window_days, prior
        self._has_log, self._has_impressions = has_log, has_impressions

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        catalogue: Catalogue,
        *,
        window_days: int,
        prior: float,
        memory_limit: int,
        threads: int,
    ) -> "CountFeatures | None":
        """Count the dataset's log and impressions; None where it has neither with times.

        Raises
        ------
        DataError
            There is something to count and no split, or nothing of the training part.
        """
        has_log = dataset.has(dataset.log_table())
        has_impressions = dataset.has_column("impressions", "timestamp")
        if not (has_log or has_impressions):
            return None
        split = dataset.info.split
        if split is None:
            raise DataError(
                f"{dataset.path} records no split in dataset.json, so that nothing says which rows may be counted; "
                "import it with a split, or leave the counts out with --no-counts."
            )
        queries = KeyIndex()
        query_rows: list[Int32] = []
        entity_rows: list[Int32] = []
        days: list[Int32] = []
        values: list[npt.NDArray[np.int32]] = []
        with Store.open(max(memory_limit // 4, 64 * 10**6), threads) as store:
            for batch in counted_batches(store, dataset, split):
                query_rows.append(queries.intern(as_strings(batch.column("query"), "query")))
                types = as_strings(batch.column("entity_type"), "entity_type")
                entity_rows.append(catalogue.rows(as_strings(batch.column("entity_id"), "entity_id"), types))
                days.append(batch.column("day").to_numpy())
                values.append(np.column_stack([batch.column(name).to_numpy() for name in COUNTED]))
        if not days:
            raise DataError(
                f"{dataset.path} has no row of the log or of impressions in the training part of its split; "
                "leave the counts out with --no-counts."
            )
        query, entity, day = np.concatenate(query_rows), np.concatenate(entity_rows), np.concatenate(days)
        counted = np.concatenate(values).astype(np.int64)
        known = entity >= 0
        kind = np.where(known, catalogue.is_product[entity], _ALL_TYPES).astype(np.int64)
        return cls(
            queries,
            DayCounts.of(query.astype(np.int64), day, counted),
            DayCounts.of(entity[known].astype(np.int64), day[known], counted[known]),
            DayCounts.of(_pair_codes(query, entity)[known], day[known], counted[known]),
            DayCounts.of(
                np.concatenate([kind[known], np.full(len(kind), _ALL_TYPES)]),
                np.concatenate([day[known], day]),
                np.concatenate([counted[known], counted]),
            ),
            is_product=catalogue.is_product,
            end=int(day.max()) + 1,
            window_days=window_days,
            prior=prior,
            version=_version(split, int(day.max())),
            has_log=has_log,
            has_impressions=has_impressions,
        )

    def names(self) -> Iterator[tuple[str, str]]:
        """Names and sources of the columns, in their order."""
        window = f"of the {self._window} days before the row's day"
        if self._has_log:
            yield "entity_engaged", f"rows of the log with the entity {window}"
            yield "entity_strong", f"the same with a save, long click, add to cart or checkout {window}"
            yield "query_engaged", f"rows of the log with the query {window}"
            yield "pair_engaged", f"rows of the log with both {window}"
        if self._has_impressions:
            yield "entity_shown", f"impressions of the entity {window}"
            yield "query_shown", f"impressions of the query {window}"
            yield "pair_shown", f"impressions of both {window}"
            prior = f"a prior that weighs {self._prior:g} impressions"
            yield "entity_rate", f"share of the entity's impressions with an action {window}, {prior}"
            yield "query_rate", f"share of the query's impressions with an action {window}, {prior}"
            yield "pair_rate", f"share of both's impressions with an action {window}, {prior}"
        yield "entity_age_days", "days since the first day on which the entity stands in the log or impressions"
        yield "entity_idle_days", "days since the last such day before the row's day"

    def columns(
        self, texts: pa.LargeStringArray, query_rows_P: Int32, entity_rows_P: Int32, times: pa.Array | None
    ) -> list[Float32]:
        """The columns of pairs, float32 (P,) each; NaN where the pair has no query or no known entity.

        Parameters
        ----------
        texts
            Normalised queries.
        query_rows_P, entity_rows_P
            Rows of `texts` and of the catalogue, -1 for none.
        times
            Of each pair; None, or null for a pair, means the end of what was counted.
        """
        size = len(query_rows_P)
        stop, moment = self._moments(times, size)
        first = (stop - self._window).astype(np.int32)
        numbers = np.append(self._queries.find(texts), np.int32(-1))[query_rows_P].astype(np.int64)
        entities = entity_rows_P.astype(np.int64)
        no_query, no_entity = query_rows_P < 0, entity_rows_P < 0
        either = no_query | no_entity
        both = np.where(either | (numbers < 0), np.int64(-1), (numbers << 32) | entities)
        of_query, _, _ = self._of_query.between(numbers, first, stop)
        of_entity, born, latest = self._of_entity.between(entities, first, stop)
        of_pair, _, _ = self._of_pair.between(both, first, stop)
        out: list[npt.NDArray[Any]] = []
        if self._has_log:
            out += [
                _masked(of_entity[:, _ENGAGED], no_entity),
                _masked(of_entity[:, _STRONG], no_entity),
                _masked(of_query[:, _ENGAGED], no_query),
                _masked(of_pair[:, _ENGAGED], either),
            ]
        if self._has_impressions:
            kinds = self._is_product[entity_rows_P]
            of_type, _, _ = self._of_type.between(np.where(no_entity, _ALL_TYPES, kinds), first, stop)
            of_all, _, _ = self._of_type.between(np.full(size, _ALL_TYPES, dtype=np.int64), first, stop)
            entity_rate = self._rate(of_entity, _overall(of_type))
            out += [
                _masked(of_entity[:, _SHOWN], no_entity),
                _masked(of_query[:, _SHOWN], no_query),
                _masked(of_pair[:, _SHOWN], either),
                _masked(entity_rate, no_entity),
                _masked(self._rate(of_query, _overall(of_all)), no_query),
                _masked(self._rate(of_pair, entity_rate), either),
            ]
        out.append(_masked(moment - born, no_entity | (born < 0)))
        out.append(_masked(moment - latest, no_entity | (latest < 0)))
        return [column.astype(np.float32) for column in out]

    def _rate(self, counts: Int64, prior: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        rate: npt.NDArray[np.float64] = (counts[:, _ACTED] + self._prior * prior) / (counts[:, _SHOWN] + self._prior)
        return rate

    def _moments(self, times: pa.Array | None, size: int) -> tuple[Int32, npt.NDArray[np.float64]]:
        """The day before which each pair counts, and its moment in days from 1970."""
        if times is None or pa.types.is_null(times.type):
            return np.full(size, self.end, dtype=np.int32), np.full(size, float(self.end))
        if not pa.types.is_timestamp(times.type):
            raise DataError(f"The pairs: column 'timestamp' must hold times, but its type is {times.type}.")
        moments = pc.fill_null(pc.cast(pc.cast(times, TIMESTAMP, safe=False), pa.int64()), self.end * DAY_US)
        microseconds = moments.to_numpy(zero_copy_only=False)
        return np.minimum(microseconds // DAY_US, self.end).astype(np.int32), microseconds / DAY_US


def _overall(counts: Int64) -> npt.NDArray[np.float64]:
    rate: npt.NDArray[np.float64] = (counts[:, _ACTED] + _PRIOR_ACTED) / (counts[:, _SHOWN] + _PRIOR_SHOWN)
    return rate


def _masked(values: npt.NDArray[Any], missing: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    return np.where(missing, np.nan, values)


def _pair_codes(query: Int32, entity: Int32) -> Int64:
    return (query.astype(np.int64) << 32) | entity


def _version(split: HashSplit | TimeSplit, last: int) -> str:
    day = np.datetime64(last, "D")
    if isinstance(split, TimeSplit):
        return f"training part, until {day}; development from {split.development_from:%Y-%m-%dT%H:%MZ}"
    return f"training part by {split.column}, until {day}"
