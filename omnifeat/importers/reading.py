"""Tables of any format, as they stand: CSV cells stay text until the target column says what they are.

A reader of dataset folders types columns by their names. Here names are not yet those of the schema, and an id such as
`00123` in a column `sku` must not become a number on the way.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from omnifeat.data.csv_files import CsvReader
from omnifeat.data.files import iter_batches, read_schema
from omnifeat.data.locations import file_format, part_files

__all__ = ["Source", "TextOptions"]

_BATCH_ROWS = 65_536


@dataclass(frozen=True)
class TextOptions:
    """How cells and numbers are written; what is None is told from a file's first lines."""

    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    encoding: str | None = None
    decimal: str | None = None


class Source:
    """One table of the user's: a file or a folder of parts."""

    def __init__(self, path: str, text: TextOptions) -> None:
        self.path = path
        parts = part_files(path)
        formats = [file_format(part.name) for part in parts]
        self._readers: list[CsvReader] | None = None
        if formats[0].kind == "csv":
            self._readers = [CsvReader(part, kind) for part, kind in zip(parts, formats, strict=True)]
        self._schema: pa.Schema | None = None

    def told(self) -> list[str]:
        """What was told from the file's first lines and departs from the usual."""
        return []

    def names(self) -> list[str]:
        """Names of the columns."""
        return self._readers[0].names() if self._readers else list(self.schema().names)

    def schema(self) -> pa.Schema:
        """Names and types of the columns; all columns of CSV files are text."""
        if self._schema is None:
            if self._readers is None:
                self._schema = read_schema(self.path)
            else:
                self._schema = pa.schema([(name, pa.string()) for name in dict.fromkeys(self.names())])
        return self._schema

    def batches(self, columns: Sequence[str], inferred: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
        """Yield the columns in batches; those of a CSV file as text, but for the `inferred` ones.

        Inferred columns have the type that all values of a file share, or text where part files do not agree.
        """
        if self._readers is None:
            yield from iter_batches(self.path, columns=list(columns), batch_size=_BATCH_ROWS)
            return
        types: dict[str, pa.DataType] = dict.fromkeys(columns, pa.string())
        if inferred:
            schemas = [reader.schema(list(inferred)) for reader in self._readers]
            for name in inferred:
                found = {schema.field(name).type for schema in schemas}
                types[name] = found.pop() if len(found) == 1 else pa.string()
        schema = pa.schema(list(types.items()))
        for reader in self._readers:
            yield from reader.batches(list(columns), _BATCH_ROWS, schema)
