"""Published tables of cells between tabs or commas, in one file or several, whatever their names end in."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from omnifeat.data.csv_files import CsvReader
from omnifeat.data.locations import FileFormat, locate
from omnifeat.data.row_checks import RowPlaces
from omnifeat.data.schema import missing_column_message
from omnifeat.data.times import parse_times
from omnifeat.errors import DataError
from omnifeat.importers.plain_text import trimmed

__all__ = ["DelimitedTable"]

_BATCH_ROWS = 65_536


class DelimitedTable:
    """A table in one or more part files, each with a header line; all cells are text.

    Cells follow the usual quoting: one that begins with a quote may hold the delimiter and line ends, and a quote in it
    is doubled. Lines may end in `\\n` or `\\r\\n`. A column that is `optional` is null where a part lacks it.

    Parameters
    ----------
    files
        Part files in order.
    required, optional
        Columns to read; others are left alone.
    delimiter
        What stands between cells.

    Raises
    ------
    DataError
        A file is missing, has no header, or lacks a required column.
    """

    def __init__(
        self, files: Sequence[Path], required: Sequence[str], optional: Sequence[str] = (), delimiter: str = "\t"
    ) -> None:
        self.columns = [*required, *optional]
        self.names = ", ".join(str(file) for file in files)
        self._places = RowPlaces()
        self._readers: list[tuple[CsvReader, list[str]]] = []
        for file in files:
            if not file.is_file():
                raise DataError(f"{file} does not exist; check the source folder.")
            reader = CsvReader(locate(file), FileFormat("csv", delimiter=delimiter))
            there = reader.names()
            missing = [name for name in required if name not in there]
            if missing:
                raise DataError(f"{missing_column_message(str(file), missing, there)}; check the file.")
            twice = next((name for name in self.columns if there.count(name) > 1), None)
            if twice is not None:
                raise DataError(f"{file} has two columns named '{twice}'; give each column its own name.")
            self._readers.append((reader, there))

    def has(self, column: str) -> bool:
        """Whether any part has the column."""
        return any(column in there for _, there in self._readers)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All parts in batches: the columns asked for, as text, trimmed, null where nothing is left.

        Raises
        ------
        DataError
            Text that is not UTF-8, a line with too many or too few cells, a quote that is not closed, no rows at all.
        """
        self._places = RowPlaces()
        schema = pa.schema([(name, pa.string()) for name in self.columns])
        row = 0
        for reader, there in self._readers:
            self._places.add(reader.location.name, row)
            wanted = [name for name in self.columns if name in there]
            for batch in reader.batches(wanted, _BATCH_ROWS, schema):
                columns = [
                    trimmed(batch.column(name)) if name in there else pa.nulls(batch.num_rows, pa.string())
                    for name in self.columns
                ]
                row += batch.num_rows
                yield pa.RecordBatch.from_arrays(columns, schema=schema)
        if row == 0:
            raise DataError(f"{self.names} has no rows; give a table with at least one.")

    def place(self, row: int) -> str:
        """File and row, both from 1, of a row that was read before."""
        file, number = self._places.place(row - 1)
        return f"{file}, row {number}"

    def times(self, column: str, texts: pa.Array, first_row: int) -> pa.Array:
        """ISO 8601 texts (n) as times in UTC; null stays null. Raises `DataError` naming the first that is none."""

        def wrong(position: int, text: str) -> DataError:
            return DataError(
                f"{self.place(first_row + position)}, column '{column}': {text!r} is not a time such as "
                "2024-05-01 12:30:00; correct it."
            )

        return parse_times(texts, wrong)
