"""The log as pairs read it: SQL that gives each row with the part of the split that it is for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.dataset import Dataset
from omnifeat.data.files import BATCH_SIZE, TableWriter, conformed_batches, settled_schema
from omnifeat.data.splits import GAP, SPLITS, HashSplit, TimeSplit
from omnifeat.engines import REFUSED, RefusedRowError, Store, blank_in_sql, name_in_sql
from omnifeat.enrich.log_parts import LOG_COLUMNS, check_rows, log_tables, no_time_in_sql

__all__ = ["GAP_PART", "PairLog"]

GAP_PART = len(SPLITS)
_CODES = {**{name: code for code, name in enumerate(SPLITS)}, GAP: GAP_PART}
_NO_COUNTRY = 2**24 - 1
_EARLIEST = 2**63  # no time lies so long before 1970, in microseconds


class PairLog:
    """The log in a store, under the name `log`, and SQL of its rows.

    Parameters
    ----------
    folder
        Where temporary files may lie.

    Raises
    ------
    DataError
        A column is missing or not what it must be, or a file is corrupt.
    """

    def __init__(self, store: Store, dataset: Dataset, table: str, split: HashSplit | TimeSplit, folder: Path) -> None:
        self.dataset, self.table, self.split = dataset, table, split
        self.has_country = dataset.has_column(table, "country")
        # a column that the split reads and pairs would not have otherwise
        self.extra = None if split.column in (*LOG_COLUMNS, "country") else split.column
        self._columns = list(dict.fromkeys([*LOG_COLUMNS, split.column, *(["country"] if self.has_country else [])]))
        self._parts = dataset.parts(table)
        self.schema = settled_schema(self._parts, self._columns)
        split.assign(self.schema.empty_table())  # a column of another type is refused now
        found = log_tables(self._parts, folder, self._columns)
        store.attach(found.tables)
        store.run(f"CREATE VIEW log AS {found.sql}")
        self.countries = pa.array([], pa.string())
        with self.named_rows():
            if self.has_country:
                self._number_countries(store)
            if isinstance(split, HashSplit):
                self._split_texts(store, split, folder / "split.parquet")

    @property
    def rows(self) -> str:
        """Rows as (query, entity_id, entity_type, action, first, part, held), and `extra` if there is one.

        `first` is a number for time and country: the least of several rows is that of the first of them, and of the
        first country by name at the same time, none being the last (see `moment` and `country`). `held` is whether a
        row for training shows a held-out query as a suggestion, which only a split by the query's text tells. A row
        without a value that it must have, or of a time that is of no year, ends the query; whether the entity type and
        the action are known is for the caller to see.
        """
        column = "us" if self.split.column == "timestamp" else f"log.{name_in_sql(self.split.column)}"
        needed = ["query", "entity_id", "entity_type", "action", column]
        conditions = [f"{name} IS NULL" for name in dict.fromkeys(needed)]
        conditions += [no_time_in_sql(), blank_in_sql("query"), blank_in_sql("entity_id")]
        broken = " OR ".join(conditions)
        joins, held = "", "false"
        if isinstance(self.split, TimeSplit):
            moment = column if column == "us" else _microseconds(column, self.schema.field(self.split.column).type)
            whens = " ".join(f"WHEN {moment} >= {start} THEN {_CODES[name]}" for start, name in self.split.starts())
            part = f"CASE {whens} ELSE {_CODES['train']} END"
        else:
            part = "s.part"
            joins = f"LEFT JOIN split_texts s ON s.value = {column}"
            if self.split.column == "query":
                joins += " LEFT JOIN split_texts o ON o.value = CASE entity_type WHEN 'query' THEN entity_id END"
                held = "coalesce(s.part = 0 AND o.part <> 0, false)"
        extra = f", log.{name_in_sql(self.extra)} AS extra" if self.extra is not None else ""
        return (
            f"SELECT query, entity_id, entity_type, action, {self._first()} AS first, {held} AS held{extra}, "
            f"(CASE WHEN {broken} THEN error('{REFUSED}') ELSE {part} END)::TINYINT AS part FROM log {joins}"
        )

    def moment(self, first: str) -> str:
        """SQL of the time of a `first`, in microseconds since 1970."""
        return f"(({first}) // {_NO_COUNTRY + 1} - {_EARLIEST})::BIGINT" if self.has_country else first

    def country(self, first: str) -> str:
        """SQL of the place of a `first`'s country among `countries`; past their end where there is none."""
        return f"(({first}) % {_NO_COUNTRY + 1})::INTEGER" if self.has_country else "NULL"

    def country_names(self, places: Any) -> pa.StringArray:
        """The names that the numbers of `country` stand for, null for none."""
        return self.countries.take(pc.if_else(pc.equal(places, _NO_COUNTRY), None, places))

    @contextmanager
    def named_rows(self) -> Iterator[None]:
        """Where a query over the rows refuses one, find it and name it. Raises `DataError`."""
        try:
            yield
        except RefusedRowError:
            self._raise_refused_row()
            raise

    def _first(self) -> str:
        if not self.has_country:
            return "us"
        code = f"coalesce(enum_code(country::country_name), {_NO_COUNTRY})" if len(self.countries) else _NO_COUNTRY
        return f"((us::HUGEINT + {_EARLIEST}) * {_NO_COUNTRY + 1} + {code})"

    def _number_countries(self, store: Store) -> None:
        store.run("CREATE TABLE countries AS SELECT DISTINCT country FROM log WHERE country IS NOT NULL")
        names = [name for (name,) in store.run("SELECT country FROM countries ORDER BY country")]
        self.countries = pa.array(names, pa.string())
        if names:
            store.run("CREATE TYPE country_name AS ENUM (SELECT country FROM countries ORDER BY country)")

    def _split_texts(self, store: Store, split: HashSplit, path: Path) -> None:
        """Make the store's `split_texts`: the part of each text that the split hashes, and of each suggestion."""
        sql = f"SELECT {name_in_sql(split.column)} AS value FROM log"
        if split.column == "query":
            sql += " UNION ALL SELECT entity_id FROM log WHERE entity_type = 'query'"
        schema = pa.schema([("value", pa.string()), ("part", pa.int8())])
        with TableWriter(path, schema) as writer:
            for batch in store.batches(f"SELECT DISTINCT value FROM ({sql})"):
                if batch.column("value").null_count:
                    raise RefusedRowError(f"a row has no {split.column}")
                parts = split.assign(batch.rename_columns([split.column]))
                codes = pc.index_in(parts, pa.array(list(_CODES))).cast(pa.int8())
                writer.write(pa.record_batch([batch.column("value").cast(pa.string()), codes], schema=schema))
        store.attach({"split_texts": [path]})

    def _raise_refused_row(self) -> None:
        for part in self._parts:
            row = 1
            for batch in conformed_batches(part, self.schema, BATCH_SIZE):
                check_rows(batch, part.location.name, row, [self.split.column])
                row += batch.num_rows


def _microseconds(column: str, arrow_type: Any) -> str:
    # only this type has no epoch_us in DuckDB; what is cut off is less than a microsecond
    kind = str(arrow_type)
    return f"epoch_us({column}::TIMESTAMPTZ)" if kind.startswith("timestamp[ns, tz") else f"epoch_us({column})"
