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

import pyarrow as pa

from omnifeat.ahead import ahead
from omnifeat.cores import thread_count
from omnifeat.data.dataset import Dataset
from omnifeat.data.locations import PathLike
from omnifeat.data.schema import ENTITY_TABLES, TIMESTAMP
from omnifeat.data.splits import HashSplit, TimeSplit
from omnifeat.data.unique_ids import refuse_duplicate_ids
from omnifeat.engines import Store
from omnifeat.engines.store import MEMORY_LIMIT
from omnifeat.enrich.carry import enriched_dataset
from omnifeat.enrich.log_parts import LOG_COLUMNS
from omnifeat.enrich.pair_choice import PairChoice
from omnifeat.enrich.pair_log import PairLog
from omnifeat.enrich.pair_report import PairCounts, write_report
from omnifeat.enrich.pair_settings import PairSettings, SplitRequest, split_of
from omnifeat.enrich.running import temporary_folder

__all__ = ["PairsResult", "make_pairs"]


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
        Called with the number of rows of the log when they are read.

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
    dataset.require(table, *dict.fromkeys([*LOG_COLUMNS, chosen.column]))
    refuse_duplicate_ids(dataset)
    note = "engagements are pairs chosen from log by omnifeat pairs; features are to be counted on log."
    info = dataset.info.model_copy(
        update={
            "split": chosen,
            "created_by": "omnifeat pairs",
            "notes": [*(text for text in dataset.info.notes if text != note), note],
        }
    )
    with temporary_folder() as folder, Store.open(memory_limit, threads) as store:
        _store_entities(store, dataset)
        log = PairLog(store, dataset, table, chosen, folder)
        choice = PairChoice(store, dataset, log, settings)
        counts = choice.counts()
        if advance is not None:
            advance(counts.log_rows)
        replaced = {"engagements", "corpus", "pairs.json", "pairs.md"} - {table}
        with enriched_dataset(
            dataset, out, info, replaced=replaced, renamed={table: "log"}, overwrite=overwrite
        ) as writer:
            # sorted rows come from one thread: they are written on another
            writer.write("engagements", ahead(_pair_batches(store, log, choice), thread_count(threads)))
            writer.write("corpus", _corpus_batches(store, settings.corpus, settings.seed))
            counts.corpus.update(store.run("SELECT entity_type, n FROM corpus_counts ORDER BY entity_type"))
            write_report(writer.folder, dataset.info.name, chosen, settings, counts)
    return PairsResult(Path(out), chosen, counts)


def _store_entities(store: Store, dataset: Dataset) -> None:
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


def _pair_batches(store: Store, log: PairLog, choice: PairChoice) -> Iterator[pa.RecordBatch]:
    """The chosen pairs in order of time, in the types of the schema."""
    types, actions = (pa.array(names, pa.string()) for names in choice.labels())
    for batch in store.batches(choice.chosen):
        label = batch.column("label").cast(pa.int64())
        columns: dict[str, Any] = {
            "query": batch.column("query"),
            "entity_id": batch.column("entity_id"),
            "entity_type": types.take(label),
            "action": actions.take(label),
            "timestamp": batch.column("us").cast(TIMESTAMP),
        }
        if log.has_country:
            columns["country"] = log.country_names(batch.column("country"))
        columns["log_rows"] = batch.column("n").cast(pa.int64())
        if log.extra is not None:
            columns[log.extra] = batch.column("extra").cast(log.schema.field(log.extra).type, safe=False)
        yield pa.RecordBatch.from_pydict(columns)


def _corpus_batches(store: Store, size: int | None, seed: int) -> Iterator[pa.RecordBatch]:
    """A uniform sample of each entity type, by MD5 of (seed, type, id), in order of type and id."""
    # queries that are in no table are those of the log
    if not store.run("SELECT 1 FROM entities WHERE entity_type = 'query' LIMIT 1"):
        store.run(
            "INSERT INTO entities SELECT DISTINCT 'query', query FROM log UNION "
            "SELECT DISTINCT 'query', entity_id FROM log WHERE entity_type = 'query'"
        )
    lot = f"md5_number(concat_ws(chr(31), '{seed}', 'corpus', entity_type, entity_id))"
    store.run("CREATE TABLE corpus (entity_type VARCHAR, entity_id VARCHAR)")
    for kind, count in store.run(
        "SELECT entity_type, count(*) FROM entities GROUP BY entity_type ORDER BY entity_type"
    ):
        sampled = ""
        if size is not None and size < count:
            sampled = (
                f"AND {lot} <= (SELECT {lot} AS lot FROM entities WHERE entity_type = '{kind}' "
                f"ORDER BY lot LIMIT 1 OFFSET {size - 1})"
            )
        store.run(
            f"INSERT INTO corpus SELECT entity_type, entity_id FROM entities WHERE entity_type = '{kind}' {sampled}"
        )
    store.run("CREATE TABLE corpus_counts AS SELECT entity_type, count(*) AS n FROM corpus GROUP BY entity_type")
    yield from store.batches("SELECT entity_type, entity_id FROM corpus ORDER BY entity_type, entity_id")
