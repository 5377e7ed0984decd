"""Tables of pairs with their features: impressions or judgments of a dataset, streamed, with a manifest of each column.

The manifest stands in the metadata of a Parquet or Arrow file under `omnifeat.features`, and beside the table as
`<table>.features.json`. It says of each column its name, type, source, version and role: which are features, and that
`position` is none.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.artefacts import checked, parse_json
from omnifeat.data.dataset import Dataset
from omnifeat.data.files import TableWriter, replace_when_whole
from omnifeat.data.meeting import nothing_shared
from omnifeat.data.schema import missing_column_message
from omnifeat.data.splits import SPLITS, HashSplit
from omnifeat.errors import DataError, SettingError
from omnifeat.feature_columns import TRAINED_ON, trained_on_column
from omnifeat.keys import KeyDigest, KeyIndex, as_strings
from omnifeat.pair_vectors import Progress, no_progress
from ranking.features import FEATURES_KEY, FINGERPRINT_KEY, declared_roles
from ranking.judgments import agreed_grades
from ranking.rank_features import FeatureColumn, RankFeatures
from ranking.rank_fusion import request_column, whole_requests

__all__ = [
    "JUDGMENT_SPLIT",
    "PAIR_TABLES",
    "FeatureTableReport",
    "PairRows",
    "features_in",
    "manifest_path",
    "write_feature_table",
]

PAIR_TABLES = ("impressions", "judgments")
PART = "part"

JUDGMENT_SPLIT = HashSplit(column="query", development=0.1, test=0.2)
"""Parts of judgments where the dataset is split by a column that they don't have, such as the time of a log."""

_BATCH_ROWS = 65_536
_SHOWN = 100_000  # ids looked at to say in what two tables differ
_ROLES = {
    "request_id": "id",
    "query": "id",
    "entity_id": "id",
    "entity_type": "id",
    "timestamp": "id",
    "country": "id",
    "rater": "id",
    PART: "id",
    "action": "label",
    "grade": "label",
    "position": "position",
}


@dataclass(frozen=True)
class FeatureTableReport:
    """What was written: rows by part, pairs without a query or known entity, and the columns with their sources."""

    rows: int
    parts: dict[str, int]
    unscored: int
    columns: tuple[FeatureColumn, ...]
    fingerprint: str | None


class PairRows:
    """The impressions or judgments of a dataset, with the part of the split that each row is of.

    Judgments of several raters are brought to one grade for each pair. Where the split is by a column that judgments
    don't have, they are parted by the text of their query (`JUDGMENT_SPLIT`).

    Parameters
    ----------
    table
        `impressions` or `judgments`.
    part
        `train`, `development` or `test`; None for all rows, those in a gap of the split too.

    Raises
    ------
    DataError
        The table, a column or the split is missing.
    SettingError
        There is no such table or part.
    """

    def __init__(self, dataset: Dataset, table: str, part: str | None = None) -> None:
        if table not in PAIR_TABLES:
            raise SettingError(f"Pairs are taken from {' or '.join(PAIR_TABLES)}, not from '{table}'.")
        if part is not None and part not in SPLITS:
            raise SettingError(f"The part of a split must be one of {', '.join(SPLITS)}, not '{part}'.")
        self.dataset, self.table, self.part = dataset, table, part
        self._digest: str | None = None  # of the last reading
        dataset.require(table, "query", "entity_id", "entity_type")
        if table == "judgments":
            dataset.require(table, "grade")
            self._judgments: pa.Table | None = agreed_grades(dataset.read(table))
            schema = self._judgments.schema
        else:
            self._judgments = None
            schema = dataset.schema(table)
        split = dataset.info.split
        if split is not None and split.column not in schema.names and table == "judgments":
            split = JUDGMENT_SPLIT
        if split is not None and split.column not in schema.names:
            raise DataError(missing_column_message(dataset.place(table), [split.column], schema.names))
        if split is None and part is not None:
            raise DataError(
                f"{dataset.path} records no split in dataset.json, so there is no part '{part}'; import it with a "
                "split, or leave out --part."
            )
        self._split = split
        if PART in schema.names:
            raise DataError(f"{dataset.place(table)} has a column '{PART}' already; rename it first.")
        self.schema = schema if split is None else schema.append(pa.field(PART, pa.string()))

    def batches(self) -> Iterator[pa.Table]:
        """The rows of the part in their order, at most 65,536 at once.

        Raises
        ------
        DataError
            After the last batch, if the rows name others than at the last reading: nothing of it is to be kept then.
        """
        if self._judgments is not None:
            held = map(self._of_part, self._judgments.to_batches(max_chunksize=_BATCH_ROWS))
            yield from (rows for rows in held if rows.num_rows)
            return
        digest = KeyDigest()
        for batch in self.dataset.batches(self.table, batch_size=_BATCH_ROWS):
            digest.add([as_strings(batch.column(name), name) for name in ("query", "entity_id", "entity_type")])
            rows = self._of_part(batch)
            if rows.num_rows:
                yield rows
        if self._digest not in (None, digest.value()):
            place = self.dataset.place(self.table)
            raise DataError(f"{place} changed while it was read; run again once nothing writes to it.")
        self._digest = digest.value()

    def _of_part(self, batch: pa.RecordBatch) -> pa.Table:
        rows = pa.Table.from_batches([batch])
        if self._split is None:
            return rows
        parts = self._split.assign(batch)
        rows = rows.append_column(PART, parts)
        return rows if self.part is None else rows.filter(pc.equal(parts, self.part))

    def entities(self) -> pa.Table:
        """The distinct `entity_id` and `entity_type` of the rows."""
        keys = KeyIndex()
        for rows in self.batches():
            pair = pc.binary_join_element_wise(
                pc.cast(rows["entity_type"], pa.large_string()),
                pc.cast(rows["entity_id"], pa.large_string()),
                pa.scalar("\x1f", pa.large_string()),
            )
            keys.intern(as_strings(pair, "entity_id"))
        if len(keys) == 0:
            where = "" if self.part is None else f" in part '{self.part}' of its split"
            raise DataError(f"{self.dataset.place(self.table)} has no rows{where}.")
        halves = pc.split_pattern(keys.strings(), "\x1f", max_splits=1)
        return pa.table({"entity_type": pc.list_element(halves, 0), "entity_id": pc.list_element(halves, 1)})

    def described(self) -> list[FeatureColumn]:
        """The columns that the rows bring along; numeric `f_*` columns are features."""
        version = f"{self.table} of {self.dataset.info.name}"
        return [
            FeatureColumn(
                field.name,
                str(field.type),
                "the split" if field.name == PART else f"{self.table}.{field.name}",
                version,
                "feature" if field.name.startswith("f_") else _ROLES.get(field.name, "kept"),
            )
            for field in self.schema
        ]


def write_feature_table(
    rows: PairRows,
    features: RankFeatures,
    output: Path,
    *,
    strict: bool = False,
    overwrite: bool = True,
    progress: Progress = no_progress,
) -> FeatureTableReport:
    """Write pairs with their features, a batch at a time, and the manifest beside them.

    Parameters
    ----------
    output
        Table to write, format by suffix; CSV and JSONL have their manifest beside them alone.
    strict
        Refuse a pair that has no query or whose entity is not in the catalogue, instead of keeping it with nulls.
    overwrite
        Replace a table that stands there, now or when all is written.

    Raises
    ------
    DataError
        A column stands there already, or (`strict`) a pair cannot be scored.
    OutputError
        The table cannot be written.
    """
    told = {f"{prefix}{TRAINED_ON}": record for prefix, record in features.records.items()}
    for name in [*features.schema.names, *told]:
        if name in rows.schema.names:
            raise DataError(
                f"{rows.dataset.place(rows.table)} has a column '{name}' already; rename it, or name the encoder with "
                "--encoder NAME=FOLDER."
            )
    known = [FeatureColumn(name, "string", "encoder's training record", "1", "kept") for name in told]
    columns = (*rows.described(), *features.columns, *known)
    metadata = {FEATURES_KEY: json.dumps([column.as_json() for column in columns])}
    if features.fingerprint:
        metadata[FINGERPRINT_KEY] = features.fingerprint
    schema = pa.schema([*rows.schema, *features.schema, *((name, pa.string()) for name in told)], metadata=metadata)
    column, place = request_column(rows.schema.names), rows.dataset.place(rows.table)
    parts: Counter[str] = Counter()
    total = unscored = in_catalogue = 0
    with TableWriter(output, schema, overwrite=overwrite) as writer, progress("computing features", None) as advance:
        for batch in whole_requests(rows.batches, column, str(place)) if features.fused else rows.batches():
            found = features.compute(batch)
            # a query always has words counted, an entity of the catalogue always a type
            missing = pc.or_(pc.is_null(found["query_words"]), pc.is_null(found["is_product"]))
            if strict and pc.any(missing).as_py():
                _refuse(rows, batch, missing, total)
            unscored += pc.sum(missing).as_py() or 0
            in_catalogue += batch.num_rows - found["is_product"].null_count
            pair = (batch["query"], batch["entity_type"], batch["entity_id"])
            of_pairs = [trained_on_column(record.knows(*pair)) for record in told.values()]
            writer.write(pa.table([*batch.columns, *found.columns, *of_pairs], schema=schema))
            total += batch.num_rows
            if PART in batch.column_names:
                parts.update({item["values"]: item["counts"] for item in pc.value_counts(batch[PART]).to_pylist()})
            advance(batch.num_rows)
        if total and not in_catalogue:
            _refuse_nothing_shared(rows, features)
        if total == 0:
            raise DataError(f"{rows.dataset.place(rows.table)} has no rows in part '{rows.part}' of its split.")
    manifest = {"columns": [column.as_json() for column in columns], "encoder_fingerprint": features.fingerprint}
    with replace_when_whole(manifest_path(output)) as partial:
        partial.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return FeatureTableReport(total, dict(parts), unscored, columns, features.fingerprint)


def manifest_path(output: Path) -> Path:
    """Where the manifest of a table lies: `x.parquet` has `x.parquet.features.json`."""
    return output.with_name(f"{output.name}.features.json")


def features_in(schema: pa.Schema) -> tuple[FeatureColumn, ...] | None:
    """The manifest that a table's metadata carries; None where there is none. Raises `DataError` for a broken one."""
    if not declared_roles(schema):
        return None
    where, remedy = f"the table's metadata {FEATURES_KEY}", "make the table again"
    found = parse_json(schema.metadata[FEATURES_KEY.encode()], where=where, remedy=remedy)
    return tuple(checked(list[FeatureColumn], found, where=where, remedy=remedy))


def _refuse_nothing_shared(rows: PairRows, features: RankFeatures) -> None:
    entities = rows.entities()
    ids = set(features.entity_ids.to_pylist()) if len(features.entity_ids) <= _SHOWN else set()
    some = [one for one in entities["entity_id"].slice(0, _SHOWN).to_pylist() if one is not None]
    place = rows.dataset.place(rows.table)
    if ids & set(some):
        raise DataError(f"No entity of {place} is in the catalogue as what its 'entity_type' says; correct the types.")
    there = features.entity_ids.slice(0, _SHOWN).to_pylist()
    raise DataError(nothing_shared("entity_id", place, some, "the catalogue", there))


def _refuse(rows: PairRows, batch: pa.Table, missing: pa.ChunkedArray, before: int) -> None:
    row = pc.index(missing, True).as_py()
    raise DataError(
        f"Row {before + row + 1} of {rows.dataset.place(rows.table)}"
        f"{'' if rows.part is None else f', counted in part {rows.part!r}'} (query {batch['query'][row].as_py()!r}, "
        f"entity {batch['entity_id'][row].as_py()!r}) has no query or an unknown entity; correct it, or leave out "
        "--strict."
    )
