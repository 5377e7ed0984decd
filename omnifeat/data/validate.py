"""Check a dataset folder against the schema, every table and every row, with bounded memory."""

from __future__ import annotations

from collections.abc import Callable

from omnifeat.data.dataset import Dataset
from omnifeat.data.leaks import add_leaks, require_split
from omnifeat.data.locations import PathLike
from omnifeat.data.problems import Problem, ProblemList, ValidationReport
from omnifeat.data.relations import IdStore, references
from omnifeat.data.row_checks import RowPlaces, checked_batches
from omnifeat.data.schema import DERIVED_TABLES, TABLES
from omnifeat.errors import DataError

__all__ = ["Problem", "ValidationReport", "validate"]

LISTED = 20


def validate(
    dataset_path: PathLike,
    check_leaks: bool = False,
    *,
    most: int = LISTED,
    advance: Callable[[int], None] | None = None,
) -> ValidationReport:
    """Check a dataset folder.

    Every table that is there must be readable, have rows, and have the schema's required columns and types. In each
    row, ids and texts that must be there are, entity types and actions are known, grades are at least 0, text is
    UTF-8, and vectors are finite and of one width. An id of a catalogue stands in it once; the ids that engagements,
    judgments, saves, impressions and interests name stand in their tables.

    Parameters
    ----------
    dataset_path
        Folder or URL.
    check_leaks
        Look for what the recorded split holds out in the inputs as well: see `omnifeat.data.leaks`.
    most
        Number of problems to list of each kind in each column; all are counted.
    advance
        Called with the number of rows done since the last call.

    Raises
    ------
    DataError
        There is no dataset folder, its `dataset.json` is wrong, it has no table, or leaks are to be found without a
        recorded split.
    """
    dataset = Dataset.open(dataset_path)
    tables = dataset.tables()
    if not tables:
        raise DataError(f"{dataset.path} has no tables: add at least one of {', '.join(TABLES)}")
    if check_leaks:
        require_split(dataset)
    known = TABLES | DERIVED_TABLES
    problems = ProblemList(most)
    counts: dict[str, int] = {}
    places: dict[str, RowPlaces] = {}
    with IdStore.open() as store:
        for table in tables:
            places[table] = RowPlaces()
            counts[table] = 0
            for batch in checked_batches(dataset, table, known[table], problems, places[table]):
                store.add_batch(table, batch)
                counts[table] += batch.rows
                if advance is not None:
                    advance(batch.rows)
            store.add_duplicates(table, places[table], problems)
        for table in tables:
            for reference in references(table):
                store.add_dangling(reference, places[table], problems)
        if "interests" in tables:
            store.add_wrong_levels(places["interests"], problems)
        if check_leaks:
            try:
                add_leaks(dataset, store, problems)
            except DataError as error:
                # a table that cannot be read is a problem that stands in the list already
                if not problems.listed:
                    problems.add(Problem("leaks not checked", None, None, None, None, str(error)))
    return ValidationReport(problems.listed, counts, problems.found, problems.warnings())
