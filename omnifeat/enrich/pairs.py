"""Pairs for training and evaluation from the log of engagements (section 4.1 of the paper).

From the log come unique (query, entity) pairs, in sets by entity type and action as in Table 1 of the paper:

    pins              pin      save, long_click
    products          product  save, long_click
    products_offsite  product  add_to_cart, checkout
    queries           query    click

Each row of the log is for training, development or testing by the dataset's split, and rows in the gap before the
development or test part make no pair. A pair that several rows made stands once in each part for each of its actions,
with the time of the first of them.

**Caps.** Popular entities would fill the training part, so one entity has at most 50 pairs (pins) or 200 (products) in
a set of it. Which ones is a uniform sample: those with the smallest MD5 of (seed, set, query, entity id), so that the
choice depends neither on the order of the log nor on how often or when the pair was engaged with, and a pair that is
chosen under one cap is chosen under every larger one. The development and test part are not capped, but
sampled: uniformly, so many pairs of each entity type and action.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.dataset import Dataset
from omnifeat.data.locations import PathLike
from omnifeat.data.schema import ENTITY_TABLES, TIMESTAMP
from omnifeat.data.splits import SPLITS, HashSplit, TimeSplit
from omnifeat.data.tasks import PAIR_TASKS
from omnifeat.data.unique_ids import refuse_duplicate_ids
from omnifeat.enrich.carry import enriched_dataset
from omnifeat.enrich.pair_report import PairCounts, write_report
from omnifeat.enrich.pair_settings import PairSettings, SplitRequest, split_of
from omnifeat.enrich.sql import MEMORY_LIMIT, SqlStore
from omnifeat.errors import DataError

__all__ = ["PairsResult", "make_pairs"]

_GAP = len(SPLITS)
_NO_COUNTRY = 2**24 - 1
_LOG = ("query", "entity_id", "entity_type", "action")


@dataclass(frozen=True)
class PairsResult:
    """What was written: the folder, the split that is recorded in it, and counts."""

    path: Path
    split: HashSplit | TimeSplit
    counts: PairCounts


def make_pairs(
    dataset: Dataset,
    out: PathLike,
    settings: PairSettings | None = None,
    *,
    split: SplitRequest | None = None,
    memory_limit: str = MEMORY_LIMIT,
    threads: int | None = None,
    overwrite: bool = False,
    advance: Callable[[int], None] | None = None,
) -> PairsResult:
    """Write a dataset folder whose `engagements` are pairs, chosen from the log of another.

    Beside `engagements` (with `timestamp`, `country` if the log has it, and `log_rows`, the number of rows of the log
    that made the pair in its part) `out` holds `log`, the whole log as it was, `corpus`, a uniform sample of each
    entity type, the report `pairs.json` and `pairs.md`, and everything else of the dataset as it is. Made from a
    folder that has a `log` already, pairs are made from that.

    Parameters
    ----------
    split
        For a dataset that records no split.
    memory_limit, threads
        Of the aggregation.
    advance
        Called with the number of rows of the log read since the last call.

    Raises
    ------
    DataError
        A table or column is missing, an engagement's entity is in no table, or nothing is left to train on.
    SettingError
        A split is asked for beside the recorded one, or the memory limit is no size.
    OutputError
        `out` cannot be written.
    """
    settings = settings or PairSettings()
    chosen = split_of(dataset, split)
    table = dataset.log_table()
    columns = list(dict.fromkeys([*_LOG, "timestamp", chosen.column]))
    dataset.require(table, *columns)
    refuse_duplicate_ids(dataset)
    has_country = dataset.has_column(table, "country")
    source = _LogSource(dataset, table, chosen, columns, has_country, advance)
    note = "engagements are pairs chosen from log by omnifeat pairs; features are to be counted on log."
    info = dataset.info.model_copy(
        update={
            "split": chosen,
            "created_by": "omnifeat pairs",
            "notes": [*(text for text in dataset.info.notes if text != note), note],
        }
    )
    with SqlStore.open(memory_limit, threads) as store:
        counts = _choose(store, dataset, source, settings)
        replaced = {"engagements", "corpus", "pairs.json", "pairs.md"} - {table}
        with enriched_dataset(
            dataset, out, info, replaced=replaced, renamed={table: "log"}, overwrite=overwrite
        ) as writer:
            writer.write("engagements", _pair_batches(store, source))
            corpus = _corpus_batches(store, settings.corpus, settings.seed)
            writer.write("corpus", corpus)
            counts.corpus.update(store.run("SELECT entity_type, n FROM corpus_counts ORDER BY entity_type"))
            write_report(writer.folder, dataset.info.name, chosen, settings, counts)
    return PairsResult(Path(out), chosen, counts)


class _LogSource:
    """The log in batches, each row with its part; what is the same for SQL whatever format and split there is."""

    def __init__(
        self, dataset: Dataset, table: str, split: HashSplit | TimeSplit, columns: list[str], has_country: bool,
        advance: Callable[[int], None] | None,
    ) -> None:  # fmt: skip
        self.dataset, self.table, self.split, self.columns = dataset, table, split, columns
        self.has_country = has_country
        # a column that the split reads and pairs would not have otherwise
        self.extra = None if split.column in (*_LOG, "timestamp", "country") else split.column
        self.countries: dict[str, int] = {}
        self._advance = advance
        self._wanted = [*columns, "country"] if has_country and "country" not in columns else columns

    def schema(self) -> pa.Schema:
        fields = [pa.field(name, pa.string()) for name in _LOG]
        fields += [("micros", pa.int64()), ("country", pa.int32()), ("part", pa.int8()), ("held", pa.bool_())]
        if self.extra is not None:
            fields.append(pa.field("extra", self.dataset.schema(self.table).field(self.extra).type))
        return pa.schema(fields)

    def batches(self) -> Iterator[pa.RecordBatch]:
        schema = self.schema()
        for batch in self.dataset.batches(self.table, self._wanted):
            arrays = {name: batch.column(name) for name in _LOG}
            arrays["micros"] = batch.column("timestamp").cast(TIMESTAMP, safe=False).cast(pa.int64())
            arrays["country"] = self._country_codes(batch)
            arrays["part"] = _codes(self.split.assign(batch))
            arrays["held"] = self._held_suggestions(batch, arrays["part"])
            if self.extra is not None:
                arrays["extra"] = batch.column(self.extra)
            yield pa.RecordBatch.from_arrays([arrays[name].cast(schema.field(name).type) for name in schema.names],
                                             schema=schema)  # fmt: skip
            if self._advance is not None:
                self._advance(batch.num_rows)

    def _country_codes(self, batch: pa.RecordBatch) -> pa.Array:
        """A number for each country: SQL then takes the first row's country by the minimum of one number."""
        if not self.has_country:
            return pa.array(np.full(batch.num_rows, _NO_COUNTRY, dtype=np.int32))
        encoded = batch.column("country").dictionary_encode()
        codes = [self.countries.setdefault(name, len(self.countries)) for name in encoded.dictionary.to_pylist()]
        return pc.fill_null(pa.array(codes, pa.int32()).take(encoded.indices), _NO_COUNTRY)

    def _held_suggestions(self, batch: pa.RecordBatch, part: pa.Array) -> pa.Array:
        """Training rows that show a held-out query as a suggestion; only a split by the query's text holds any."""
        is_query = pc.equal(batch.column("entity_type"), "query")
        if not isinstance(self.split, HashSplit) or self.split.column != "query" or not pc.any(is_query).as_py():
            return pa.array(np.zeros(batch.num_rows, dtype=bool))
        texts = pc.if_else(is_query, batch.column("entity_id"), "")
        other = _codes(self.split.assign(pa.table({"query": texts})))
        return pc.and_(is_query, pc.and_(pc.equal(part, 0), pc.not_equal(other, 0)))


def _codes(parts: pa.Array) -> pa.Array:
    return pc.fill_null(pc.index_in(parts, pa.array(SPLITS)), _GAP).cast(pa.int8())


def _choose(store: SqlStore, dataset: Dataset, source: _LogSource, settings: PairSettings) -> PairCounts:
    """Make the store's table `chosen`, and count what was left out on the way there."""
    cases = " ".join(
        f"WHEN entity_type = '{PAIR_TASKS[name][0]}' AND action IN ({', '.join(repr(action) for action in actions)}) "
        f"THEN '{name}'"
        for name, actions in settings.actions.items()
    )
    extra = ", min(extra) AS extra" if source.extra is not None else ""
    store.read(
        "incoming",
        source.schema(),
        source.batches(),
        # one number of the time and the country: a state of fixed size, which DuckDB can put aside on disk
        f"""
        CREATE TABLE grouped AS
        SELECT part, query, entity_type, entity_id, action, CASE {cases} END AS task, any_value(held) AS held,
               min(micros::HUGEINT * {_NO_COUNTRY + 1} + country) AS first, count(*) AS n{extra}
        FROM incoming GROUP BY part, query, entity_type, entity_id, action
        """,
    )
    _store_entities(store, dataset)
    store.run(
        f"""
        CREATE TABLE marked AS
        SELECT g.*, CASE
            WHEN task IS NULL THEN 'other action'
            WHEN part = {_GAP} THEN 'gap'
            WHEN entity_type = 'query' AND entity_id = query THEN 'query with itself'
            WHEN held THEN 'held-out suggestion'
            WHEN entity_type <> 'query' AND e.entity_id IS NULL THEN 'unknown entity'
        END AS reason, md5_number(concat_ws(chr(31), ?, task, query, entity_id)) AS lot
        FROM grouped g LEFT JOIN entities e USING (entity_type, entity_id)
        """,
        str(settings.seed),
    )
    store.run("DROP TABLE grouped")
    _refuse_unknown(store, dataset, source, settings)
    # From here on a pair goes by its lot: numbers of fixed size take a fraction of the texts' memory, and DuckDB puts
    # what it groups by them aside on disk.
    store.run(
        "CREATE TABLE pairs AS SELECT part, task, entity_type, md5_number(entity_id) AS entity, lot "
        "FROM marked WHERE reason IS NULL GROUP BY ALL"
    )
    _cap(store, settings)
    _sample_evaluation(store, settings.evaluation_pairs)
    store.run(
        """
        CREATE VIEW chosen AS
        SELECT m.* FROM marked m
        LEFT JOIN cuts c USING (part, entity_type, action) ANTI JOIN over_cap o USING (part, lot)
        WHERE reason IS NULL AND (c.cut IS NULL OR m.lot <= c.cut)
        """
    )
    return _count(store, dataset, source, settings)


def _cap(store: SqlStore, settings: PairSettings) -> None:
    """Make the store's `over_cap`: training pairs that their entity has too many of. Only such are put in order."""
    caps = " ".join(f"WHEN '{kind}' THEN {cap}" for kind, cap in settings.caps.items() if cap is not None)
    cap = f"(CASE entity_type {caps} END)" if caps else "NULL"
    store.run(
        f"""
        CREATE TABLE over_cap AS
        WITH heavy AS (
            SELECT task, entity FROM pairs WHERE part = 0 AND {cap} IS NOT NULL
            GROUP BY task, entity, entity_type HAVING count(*) > {cap}
        )
        SELECT part, lot FROM (
            SELECT part, lot, entity_type, row_number() OVER (PARTITION BY task, entity ORDER BY lot) AS place
            FROM pairs SEMI JOIN heavy USING (task, entity) WHERE part = 0
        ) WHERE place > {cap}
        """
    )


def _sample_evaluation(store: SqlStore, most: int | None) -> None:
    """Make the store's `cuts`: the greatest lot kept of each part, entity type and action with too many pairs."""
    store.run("CREATE TABLE cuts (part TINYINT, entity_type VARCHAR, action VARCHAR, cut UHUGEINT)")
    if most is None:
        return
    groups = store.run(
        "SELECT part, entity_type, action FROM marked WHERE reason IS NULL AND part > 0 "
        "GROUP BY ALL HAVING count(*) > ?",
        most,
    )
    for part, entity_type, action in groups:
        store.run(
            "INSERT INTO cuts SELECT part, entity_type, action, lot FROM marked WHERE reason IS NULL AND part = ? "
            "AND entity_type = ? AND action = ? ORDER BY lot LIMIT 1 OFFSET ?",
            part, entity_type, action, most - 1,
        )  # fmt: skip


def _store_entities(store: SqlStore, dataset: Dataset) -> None:
    store.run("CREATE TABLE entities (entity_type VARCHAR, entity_id VARCHAR)")
    schema = pa.schema([("id", pa.string())])
    for kind, (table, column) in ENTITY_TABLES.items():
        if dataset.has(table):
            dataset.require(table, column)
            renamed = (
                pa.RecordBatch.from_arrays([batch.column(0).cast(pa.string())], schema=schema)
                for batch in dataset.batches(table, [column])
            )
            # an id that stands twice would double its engagements
            store.read("ids", schema, renamed, f"INSERT INTO entities SELECT DISTINCT '{kind}', id FROM ids")


def _refuse_unknown(store: SqlStore, dataset: Dataset, source: _LogSource, settings: PairSettings) -> None:
    if settings.drop_unknown:
        return
    found = store.run(
        "SELECT entity_type, entity_id FROM marked WHERE reason = 'unknown entity' ORDER BY entity_type, entity_id "
        "LIMIT 1"
    )
    if not found:
        return
    count = store.run("SELECT sum(n) FROM marked WHERE reason = 'unknown entity'")[0][0]
    kind, entity_id = found[0]
    raise DataError(
        f"{dataset.place(source.table)} has the {kind} '{entity_id}', which is not in the table "
        f"'{ENTITY_TABLES[kind][0]}' ({count:,} such rows in all): add it there, or leave such rows out with "
        "--drop-unknown"
    )


def _count(store: SqlStore, dataset: Dataset, source: _LogSource, settings: PairSettings) -> PairCounts:
    """What came of each row of the log; the counts add up to its rows."""
    first = store.run
    rows = int(first("SELECT coalesce(sum(n), 0) FROM marked")[0][0])
    left_out: dict[str, int] = {
        reason: int(count)
        for reason, count in first(
            "SELECT reason, sum(n) FROM marked WHERE reason IS NOT NULL GROUP BY reason ORDER BY reason"
        )
    }
    used, unique = first("SELECT coalesce(sum(n), 0), count(*) FROM marked WHERE reason IS NULL")[0]
    kept = first("SELECT count(*) FROM marked ANTI JOIN over_cap USING (part, lot) WHERE reason IS NULL")
    written = int(first("SELECT count(*) FROM chosen")[0][0])
    left_out["repeated"] = int(used) - int(unique)
    left_out["over the cap"] = int(unique) - int(kept[0][0])
    left_out["over the number of evaluation pairs"] = int(kept[0][0]) - written
    pairs: dict[str, dict[str, int]] = {name: dict.fromkeys(SPLITS, 0) for name in settings.actions}
    counted = "SELECT task, part, count(*) FROM (SELECT DISTINCT task, part, lot FROM {}) GROUP BY ALL"
    before = {name: dict.fromkeys(SPLITS, 0) for name in settings.actions}
    for target, table in ((pairs, "chosen"), (before, "pairs")):
        for task, part, count in first(counted.format(table)):
            target[task][SPLITS[part]] = int(count)
    seen = first(
        "SELECT task, count(*) FROM (SELECT DISTINCT task, lot FROM chosen WHERE part = 2) "
        "SEMI JOIN (SELECT lot FROM pairs WHERE part = 0) USING (lot) GROUP BY task ORDER BY task"
    )
    other = first("SELECT DISTINCT action FROM marked WHERE reason = 'other action' ORDER BY action")
    counts = PairCounts(
        log_rows=rows, rows_written=written, pairs=pairs, before_caps=before, left_out=left_out,
        test_pairs_seen_in_training={task: int(count) for task, count in seen}, corpus={},
    )  # fmt: skip
    if not counts.total("train"):
        log = dataset.place(source.table)
        if not unique and other:
            raise DataError(
                f"{log} has no row whose action makes a pair, but such as {', '.join(row[0] for row in other)}: "
                "name the actions to take with --actions"
            )
        raise DataError(f"{log} has no pair for the training part of the split: choose a later split or a smaller gap")
    return counts


def _pair_batches(store: SqlStore, source: _LogSource) -> Iterator[pa.RecordBatch]:
    """The chosen pairs in order of time, in the types of the schema."""
    extra = ", extra" if source.extra is not None else ""
    countries = pa.array([name for name, _ in sorted(source.countries.items(), key=lambda item: item[1])], pa.string())
    for batch in store.batches(
        f"""
        SELECT query, entity_id, entity_type, action, (first // {_NO_COUNTRY + 1})::BIGINT AS micros,
               (first % {_NO_COUNTRY + 1})::INTEGER AS country, n{extra}
        FROM chosen ORDER BY micros, query, entity_type, entity_id, action, part
        """
    ):
        columns: dict[str, Any] = {name: batch.column(name) for name in _LOG}
        columns["timestamp"] = batch.column("micros").cast(TIMESTAMP)
        if source.has_country:
            codes = batch.column("country")
            columns["country"] = countries.take(pc.if_else(pc.equal(codes, _NO_COUNTRY), None, codes))
        columns["log_rows"] = batch.column("n").cast(pa.int64())
        if source.extra is not None:
            columns[source.extra] = batch.column("extra")
        yield pa.RecordBatch.from_pydict(columns)


def _corpus_batches(store: SqlStore, size: int | None, seed: int) -> Iterator[pa.RecordBatch]:
    """A uniform sample of each entity type, by MD5 of (seed, type, id), in order of type and id."""
    # queries that are in no table are those of the log
    if not store.run("SELECT 1 FROM entities WHERE entity_type = 'query' LIMIT 1"):
        store.run(
            "INSERT INTO entities SELECT 'query', query FROM marked UNION "
            "SELECT 'query', entity_id FROM marked WHERE entity_type = 'query'"
        )
    lot = "md5_number(concat_ws(chr(31), ?, 'corpus', entity_type, entity_id))"
    store.run("CREATE TABLE corpus (entity_type VARCHAR, entity_id VARCHAR)")
    for kind, count in store.run(
        "SELECT entity_type, count(*) FROM entities GROUP BY entity_type ORDER BY entity_type"
    ):
        most = count if size is None else min(size, count)
        store.run(
            f"""
            INSERT INTO corpus SELECT entity_type, entity_id FROM entities WHERE entity_type = ? AND {lot} <= (
                SELECT {lot} AS lot FROM entities WHERE entity_type = ? ORDER BY lot LIMIT 1 OFFSET ?
            )
            """,
            kind, str(seed), str(seed), kind, most - 1,
        )  # fmt: skip
    store.run("CREATE TABLE corpus_counts AS SELECT entity_type, count(*) AS n FROM corpus GROUP BY entity_type")
    yield from store.batches("SELECT entity_type, entity_id FROM corpus ORDER BY entity_type, entity_id")
