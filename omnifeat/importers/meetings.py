"""Whether the ids that tables of one import name stand in the catalogues that come with them.

A log whose ids are written otherwise than the catalogue's makes a dataset in which nothing meets, and no command would
fail on it: figures would be zeros.
"""

from collections import Counter
from collections.abc import Collection, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.meeting import nothing_shared, other_writing
from omnifeat.data.relations import Reference, references
from omnifeat.data.schema import ENTITY_TABLES
from omnifeat.errors import DataError

__all__ = ["Meetings"]

_LOOKED_AT = 10_000  # ids of a side among which another writing is looked for


class Meetings:
    """Collects ids while tables are written; distinct ones are held in memory.

    Parameters
    ----------
    tables
        The tables of the import; what they name in others is not looked at.
    """

    def __init__(self, tables: Collection[str]) -> None:
        # an entity that is a query is a text, which needs no row in `queries`
        self._references = [
            reference
            for table in tables
            for reference in references(table)
            if reference.target in tables and reference.target not in (table, ENTITY_TABLES["query"][0])
        ]
        self._named: dict[Reference, Counter[str]] = {reference: Counter() for reference in self._references}
        self._there: dict[str, set[str]] = {reference.target: set() for reference in self._references}

    def watched(self, table: str, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches of a table as they are; their ids are kept."""
        for batch in batches:
            for reference in self._references:
                if reference.target == table:
                    self._there[table].update(batch.column(reference.target_column).to_pylist())
                if reference.table == table:
                    self._named[reference].update(_named(batch, reference))
            yield batch

    def told(self) -> Iterator[str]:
        """Sentences on ids that stand in no catalogue of the import.

        Raises
        ------
        DataError
            None of the ids that a table names stands in the catalogue.
        """
        for reference, named in self._named.items():
            there = self._there[reference.target]
            lacking = {value: rows for value, rows in named.items() if value not in there}
            if not lacking:
                continue
            if len(lacking) == len(named):
                raise DataError(
                    nothing_shared(
                        reference.column, f"the table {reference.table}", list(named)[:_LOOKED_AT],
                        f"the table {reference.target}", sorted(there)[:_LOOKED_AT],
                    ).replace("no ", "No ", 1) + "; correct one of the files, or bring them in one by one."
                )  # fmt: skip
            yield _sentence(reference, lacking, there, sum(named.values()))


def _named(batch: pa.RecordBatch, reference: Reference) -> Counter[str]:
    values = batch.column(reference.column)
    if reference.entity_type is not None:
        values = values.filter(pc.equal(batch.column("entity_type"), reference.entity_type))
    found = pc.value_counts(values.drop_null())
    return Counter({item["values"].as_py(): item["counts"].as_py() for item in found})


def _sentence(reference: Reference, lacking: dict[str, int], there: set[str], rows: int) -> str:
    alike = other_writing(list(lacking)[:_LOOKED_AT], sorted(there)[:_LOOKED_AT])
    example = f"such as {next(iter(lacking))!r}"
    if alike is not None:
        example = f"such as {alike[0]!r}, where '{reference.target}' has {alike[1]!r} (they differ in {alike[2]})"
    return (
        f"Table {reference.table}: {sum(lacking.values()):,} of {rows:,} rows name {len(lacking):,} "
        f"{reference.target} that the table '{reference.target}' lacks, {example}."
    )
