"""Tables of any format, as they stand: CSV cells stay text until the target column says what they are.

A reader of dataset folders types columns by their names. Here names are not yet those of the schema, and an id such as
`00123` in a column `sku` must not become a number on the way.
"""

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from omnifeat.data.dialects import TextDialect, default_dialect, guess_dialect
from omnifeat.data.files import column_names, conformed_batches, open_parts, settled_schema
from omnifeat.data.locations import FileFormat, Location, file_format, part_files
from omnifeat.data.schema import listed_names
from omnifeat.errors import DataError, SettingError
from omnifeat.importers.cells import SURE_NULLS, without_nulls, words_like_nothing
from omnifeat.importers.dialect_doubts import doubts

__all__ = ["NullsMet", "Source", "TextOptions", "is_parquet_type"]

_BATCH_ROWS = 65_536
_WORDS = {"tab": "\t", "\\t": "\t", "none": None, "comma": ",", "semicolon": ";", "bar": "|", "space": " "}
_DECIMALS = {".": ".", "point": ".", ",": ",", "comma": ","}
# Numbers that are text again as they were: no leading zero, no exponent, no zero at the end of a fraction.
_WHOLE = r"-?(0|[1-9][0-9]{0,17})"
_FRACTION = r"(\.[0-9]{0,14}[1-9])?"


@dataclass(frozen=True)
class TextOptions:
    """How cells and numbers are written; what is None is told from a file's first lines.

    Attributes
    ----------
    delimiter, quote, escape
        One character each, or its name: "tab", "comma", "semicolon", "bar", "space"; "none" for no quote or escape.
    encoding
        A name that Python knows.
    decimal
        "." or ",".
    null_words
        Texts that stand for nothing, beside `\\N`.
    """

    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    encoding: str | None = None
    decimal: str | None = None
    null_words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.decimal is not None and self.decimal not in _DECIMALS:
            raise SettingError(f"The decimal sign must be one of . , point comma; got {self.decimal!r} instead.")
        if self.decimal is not None:
            object.__setattr__(self, "decimal", _DECIMALS[self.decimal])

    def over(self, guessed: TextDialect) -> TextDialect:
        """The dialect that was guessed, with what was said in its place. Raises `SettingError` for impossible signs."""
        said = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "null_words"}
        signs = {name: _WORDS.get(sign, sign) for name, sign in said.items() if sign is not None}
        if signs.get("decimal") == guessed.thousands:
            signs["thousands"] = None
        if "delimiter" in signs and guessed.quote is None and "quote" not in signs and signs["delimiter"] != "\t":
            signs["quote"] = '"'  # a .tsv has none, other files do
        return replace(guessed, **signs)


@dataclass
class NullsMet:
    """Texts for nothing, by column: those that were emptied, and those that may be words like any other."""

    emptied: dict[str, Counter[str]] = field(default_factory=dict)
    kept: dict[str, Counter[str]] = field(default_factory=dict)


class Source:
    """One table of the user's: a file or a folder of parts.

    Raises
    ------
    DataError
        For a missing file, an unknown suffix, a file that cannot be read.
    SettingError
        Where the options are no dialect.
    """

    def __init__(self, path: str, text: TextOptions) -> None:
        self.path = path
        location = part_files(path)[0]
        kind = file_format(location.name)
        self._is_text = kind.kind == "csv"
        self._types: dict[str, pa.DataType] = {}
        self._nulls = (*SURE_NULLS, *text.null_words)
        self._said = ""
        self._doubts: list[str] = []
        dialect = None
        if self._is_text:
            dialect = text.over(guess_dialect(location, kind))
            if dialect != _default(location, kind):
                self._said = dialect.in_words()
            given = {one.name for one in fields(text) if getattr(text, one.name) is not None}
            self._doubts = list(doubts(location, kind, dialect, given))
            for other in part_files(path)[1:]:
                self._refuse_other_delimiter(other, text, location.name, dialect)
        self._decimal = dialect.decimal if dialect is not None else "."
        self.has_semicolons = dialect is not None and dialect.delimiter == ";"
        self._parts = open_parts(path, dialect=dialect, by_name=False)

    def _refuse_other_delimiter(self, part: Location, text: TextOptions, first: str, dialect: TextDialect) -> None:
        found = text.over(guess_dialect(part, file_format(part.name)))
        if found.delimiter != dialect.delimiter:
            raise DataError(
                f"{part.name} has {found.delimiter!r} between its cells, and {first} has {dialect.delimiter!r}: write "
                "the parts alike, say --delimiter if one is guessed wrongly, or bring them in one by one."
            )

    def told(self) -> Iterator[str]:
        """Sentences on what was told from the first lines, and on parts that lack columns."""
        if self._said:
            yield f"{self.path} is read with {self._said}."
        yield from self._doubts
        yield from self._folder_names()
        for part in self._parts if self._is_text else ():
            lacking = [name for name in self.names() if name not in part.names()]
            if lacking:
                shown = ", ".join(f"'{name}'" for name in lacking)
                yield f"{part.location.name} has no column {shown}, as other parts have: its rows have nothing there."

    def _folder_names(self) -> Iterator[str]:
        """A sentence on folders named `dt=2024-03-01` above a lone file: they are columns of the whole folder alone."""
        for part in self._parts[:1] if len(self._parts) == 1 else ():
            read = [name for name, _ in part.location.partition]
            for folder in part.location.path.split("/")[:-1]:
                name, equals, value = folder.partition("=")
                if equals and name and name not in (*read, *part.names()):
                    yield (
                        f"{self.path} lies in a folder named {folder}, which was not read: give the folder above it to "
                        f"have a column '{name}', or say --set TABLE.{name}={value}."
                    )

    def names(self) -> list[str]:
        """Names of the columns of any part; one that stands twice in a part stands twice here."""
        names = column_names(self._parts)
        doubled = {name for part in self._parts for name in part.names() if part.names().count(name) > 1}
        return [*names, *(name for name in names if name in doubled)]

    def refuse_parts_without(self, columns: Sequence[str]) -> None:
        """Refuse parts that lack one of these columns, which no row may go without. Raises `DataError`."""
        for part in self._parts if len(self._parts) > 1 else ():
            lacking = [name for name in columns if name in self.names() and name not in part.names()]
            if lacking:
                raise DataError(
                    f"{part.location.name} has no column '{lacking[0]}', as other parts have: its header is "
                    f"{listed_names(part.names())}; give it the header of the others, or bring it in by itself."
                )

    def _as_written(self, columns: list[str]) -> pa.Schema:
        """The types of columns that nobody named: text, unless each value is the very text of its number."""
        schema = settled_schema(self._parts, columns)
        fraction = _FRACTION if self._decimal == "." else ""
        forms = {
            name: "(true|false)" if pa.types.is_boolean(schema.field(name).type) else _WHOLE + fraction
            for name in columns
            if not pa.types.is_string(schema.field(name).type)
        }
        texts = pa.schema([(name, pa.string()) for name in forms])
        for part in self._parts:
            for batch in conformed_batches(part, texts, _BATCH_ROWS) if forms else ():
                for name in list(forms):
                    alike = pc.match_substring_regex(batch.column(name), f"^{forms[name]}$")
                    if not pc.all(alike, min_count=0).as_py():
                        del forms[name]
                        schema = schema.set(schema.get_field_index(name), pa.field(name, pa.string()))
        return schema

    def type(self, column: str) -> pa.DataType:
        """Type in which a column stands in the file; all columns of CSV files are text."""
        if self._is_text:
            return pa.string()
        if column not in self._types:
            self._types[column] = settled_schema(self._parts, [column]).field(column).type
        return self._types[column]

    def batches(
        self, columns: Sequence[str], inferred: Sequence[str] = (), met: NullsMet | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield the columns in batches; those of a CSV file as text, but for the `inferred` ones.

        Inferred columns have the type that all values of a file share, or text where part files do not agree. Texts
        that stand for nothing are null, and counted in `met`.
        """
        if self._is_text:
            found = self._as_written(list(inferred)) if inferred else pa.schema([])
            types = [(name, found.field(name).type if name in inferred else pa.string()) for name in columns]
            schema = pa.schema(types)
        else:
            schema = settled_schema(self._parts, list(columns))
        for part in self._parts:
            for batch in conformed_batches(part, schema, _BATCH_ROWS):
                if batch.num_rows:
                    yield self._with_nulls(batch, met or NullsMet())

    def _with_nulls(self, batch: pa.RecordBatch, met: NullsMet) -> pa.RecordBatch:
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        for name in [name for name, values in columns.items() if pa.types.is_string(values.type)]:
            columns[name], found = without_nulls(columns[name], self._nulls)
            met.emptied.setdefault(name, Counter()).update(found)
            met.kept.setdefault(name, Counter()).update(words_like_nothing(columns[name]))
        return pa.RecordBatch.from_pydict(columns)


def is_parquet_type(kind: pa.DataType) -> bool:
    """Whether Parquet can hold a column of this type: it has no unions and no objects without a field."""
    try:
        pq.ParquetWriter(io.BytesIO(), pa.schema([("column", kind)])).close()
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowTypeError):
        return False
    return True


def _default(location: Location, kind: FileFormat) -> TextDialect | None:
    """The dialect in which a dataset's file would be read; None where it would be refused."""
    try:
        return default_dialect(location, kind)
    except DataError:
        return None
