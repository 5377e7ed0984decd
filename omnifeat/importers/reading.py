"""Tables of any format, as they stand: CSV cells stay text until the target column says what they are.

A reader of dataset folders types columns by their names. Here names are not yet those of the schema, and an id such as
`00123` in a column `sku` must not become a number on the way.
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from omnifeat.data.csv_files import CsvReader
from omnifeat.data.files import iter_batches, read_schema
from omnifeat.data.locations import file_format, part_files

__all__ = ["source_batches", "source_schema"]

_BATCH_ROWS = 65_536


def _csv_readers(path: str) -> list[CsvReader] | None:
    parts = part_files(path)
    formats = [file_format(part.name) for part in parts]
    if formats[0].kind != "csv":
        return None
    return [CsvReader(part, file_format_) for part, file_format_ in zip(parts, formats, strict=True)]


def source_schema(path: str) -> pa.Schema:
    """Names and types of a file's columns; all columns of CSV files are text.

    Raises
    ------
    DataError
        For a missing file, an unknown suffix, a file that cannot be read.
    """
    readers = _csv_readers(path)
    if readers is None:
        return read_schema(path)
    return pa.schema([(name, pa.string()) for name in readers[0].names()])


def source_batches(path: str, columns: Sequence[str], inferred: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
    """Yield the columns in batches; those of a CSV file as text, but for the `inferred` ones.

    Inferred columns have the type that all values of a file share, or text where part files do not agree.
    """
    readers = _csv_readers(path)
    if readers is None:
        yield from iter_batches(path, columns=list(columns), batch_size=_BATCH_ROWS)
        return
    types: dict[str, pa.DataType] = dict.fromkeys(columns, pa.string())
    if inferred:
        schemas = [reader.schema(list(inferred)) for reader in readers]
        for name in inferred:
            found = {schema.field(name).type for schema in schemas}
            types[name] = found.pop() if len(found) == 1 else pa.string()
    schema = pa.schema(list(types.items()))
    for reader in readers:
        yield from reader.batches(list(columns), _BATCH_ROWS, schema)
