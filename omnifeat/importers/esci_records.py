"""Reading the Shopping Queries dataset's files: rows that were asked for, their columns checked, in batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.columnar import ParquetReader
from omnifeat.data.files import iter_batches
from omnifeat.data.locations import locate
from omnifeat.data.schema import missing_column_message
from omnifeat.errors import DataError
from omnifeat.importers.plain_text import collapsed, trimmed
from omnifeat.importers.sources import read_csv_rows

__all__ = [
    "ESCI_PARTS", "ESCI_VERSIONS", "EXAMPLES_FILE", "EXAMPLE_COLUMNS", "GRADES", "LOCALES", "PRODUCTS_FILE",
    "PRODUCT_COLUMNS", "SOURCES_FILE", "Choice", "check_columns", "ids_of", "raw_products", "read_sources",
    "staged_examples", "staged_products", "texts_of",
]  # fmt: skip

EXAMPLES_FILE = "shopping_queries_dataset_examples.parquet"
PRODUCTS_FILE = "shopping_queries_dataset_products.parquet"
SOURCES_FILE = "shopping_queries_dataset_sources.csv"
GRADES = {"E": 3.0, "S": 2.0, "C": 1.0, "I": 0.0}
# locale: language and country
LOCALES = {"us": ("en", "US"), "es": ("es", "ES"), "jp": ("ja", "JP")}
ESCI_VERSIONS = ("small", "large")
ESCI_PARTS = ("train", "test")

EXAMPLE_COLUMNS = [
    "example_id", "query", "query_id", "product_id", "product_locale", "esci_label",
    "small_version", "large_version", "split",
]  # fmt: skip
PRODUCT_COLUMNS = [
    "product_id", "product_title", "product_description", "product_bullet_point", "product_brand", "product_color",
    "product_locale",
]  # fmt: skip


@dataclass
class Choice:
    """Which rows are asked for, and how many others were passed by."""

    locales: Sequence[str]
    version: str
    part: str
    other_locales: dict[str, int] = field(default_factory=lambda: {PRODUCTS_FILE: 0, EXAMPLES_FILE: 0})
    other_versions: int = 0
    other_parts: int = 0


def check_columns(path: Path, columns: Sequence[str]) -> None:
    """Refuse a file that is missing or lacks one of the columns. Raises `DataError`."""
    if not path.is_file():
        raise DataError(f"{path} does not exist; check the source folder.")
    there = ParquetReader(locate(path)).names()
    missing = [name for name in columns if name not in there]
    if missing:
        raise DataError(f"{missing_column_message(str(path), missing, there)}; fetch the published file again.")


def read_sources(path: Path) -> dict[str, str] | None:
    """Source of each query id; None where the file is not there. Some 130,000 short lines: they fit in memory."""
    if not path.exists():
        return None
    sources: dict[str, str] = {}
    for row, cells in read_csv_rows(path, ["query_id", "source"]):
        if sources.setdefault(cells["query_id"], cells["source"]) != cells["source"]:
            raise DataError(f"{path}, row {row}: the query_id {cells['query_id']} stands twice; keep one of the rows.")
    return sources


def texts_of(batch: pa.RecordBatch, column: str, path: Path) -> pa.Array:
    """A column as text. Raises `DataError` where it is neither text nor whole numbers."""
    values = batch.column(column)
    if pa.types.is_string(values.type):
        return values
    if pa.types.is_null(values.type) or pa.types.is_large_string(values.type) or pa.types.is_integer(values.type):
        return values.cast(pa.string())
    raise DataError(f"{path}, column '{column}' is {values.type} but must be text; fetch the published file again.")


def _flags(values: pa.Array, path: Path, column: str, first_row: int) -> pa.Array:
    """Whether each value is 1; any other than 0 and 1, as number, text or truth value, is an error."""
    types = pa.types
    if not (types.is_integer(values.type) or types.is_boolean(values.type) or types.is_floating(values.type)):
        values = texts_of(pa.RecordBatch.from_pydict({column: values}), column, path)
    texts = _filled(values, path, column, first_row).cast(pa.string())
    _known(texts, ("0", "1", "false", "true"), path, column, first_row)
    return pc.is_in(texts, pa.array(["1", "true"]))


def _known(values: pa.Array, choices: Sequence[str], path: Path, column: str, first_row: int) -> None:
    strange = pc.invert(pc.is_in(values, pa.array(list(choices), pa.string())))  # null is none of them
    if pc.any(strange).as_py():
        place = pc.index(strange, True).as_py()
        raise DataError(
            f"{path}, row {first_row + place}: {column} is {values[place].as_py()!r} but must be one of "
            f"{', '.join(choices)}; correct it."
        )


def _filled(values: pa.Array, path: Path, column: str, first_row: int) -> pa.Array:
    if values.null_count:
        place = pc.index(pc.is_null(values), True).as_py()
        raise DataError(f"{path}, row {first_row + place}: there is no {column}; fill it in.")
    return values


def ids_of(locales: pa.Array, products: pa.Array) -> pa.Array:
    """Ids of products: `LOCALE:PRODUCT_ID`, for an id may stand for other products elsewhere."""
    return pc.binary_join_element_wise(locales, products, ":")


def raw_products(path: Path, choice: Choice, count: bool) -> Iterator[tuple[pa.RecordBatch, pa.Array]]:
    """Products of the locales asked for, with their row numbers in the file."""
    row = 1
    for batch in iter_batches(path, PRODUCT_COLUMNS, batch_size=16_384):
        locales = texts_of(batch, "product_locale", path)
        _known(locales, list(LOCALES), path, "product_locale", row)
        rows = pa.array(range(row, row + batch.num_rows), pa.int64())
        row += batch.num_rows
        mask = pc.is_in(locales, pa.array(list(choice.locales), pa.string()))
        chosen = batch.filter(mask)
        if count:
            choice.other_locales[PRODUCTS_FILE] += batch.num_rows - chosen.num_rows
        if chosen.num_rows:
            yield chosen, rows.filter(mask)


def staged_products(path: Path, choice: Choice) -> Iterator[pa.RecordBatch]:
    """Products as they are staged, with `id` and `file_row`. Raises `DataError` for one without an id."""
    for batch, rows in raw_products(path, choice, count=True):
        ids = trimmed(texts_of(batch, "product_id", path))
        if ids.null_count:
            raise DataError(
                f"{path}, row {rows[pc.index(pc.is_null(ids), True).as_py()]}: there is no product_id; fill it in."
            )
        texts = {name: texts_of(batch, name, path) for name in PRODUCT_COLUMNS}
        yield pa.RecordBatch.from_pydict({**texts, "id": ids_of(texts["product_locale"], ids), "file_row": rows})


def staged_examples(path: Path, choice: Choice) -> Iterator[pa.RecordBatch]:
    """Judgments that were asked for as they are staged; counts the others.

    Raises `DataError` for a value that is missing or not known.
    """
    row = 1
    for batch in iter_batches(path, EXAMPLE_COLUMNS):
        columns = {
            name: batch.column(name) if name.endswith("_version") else trimmed(texts_of(batch, name, path))
            for name in EXAMPLE_COLUMNS
        }
        _known(columns["product_locale"], list(LOCALES), path, "product_locale", row)
        _known(columns["esci_label"], list(GRADES), path, "esci_label", row)
        _known(columns["split"], ESCI_PARTS, path, "split", row)
        columns["query"] = collapsed(columns["query"])
        for name in ("query", "query_id", "product_id", "example_id"):
            _filled(columns[name], path, name, row)
        locales = pc.is_in(columns["product_locale"], pa.array(list(choice.locales), pa.string()))
        version = _flags(columns[f"{choice.version}_version"], path, f"{choice.version}_version", row)
        part = pc.equal(columns["split"], choice.part) if choice.part != "all" else pa.array([True] * batch.num_rows)
        in_version = pc.and_(locales, version)
        keep = pc.and_(in_version, part)
        choice.other_locales[EXAMPLES_FILE] += batch.num_rows - (pc.sum(locales).as_py() or 0)
        choice.other_versions += (pc.sum(locales).as_py() or 0) - (pc.sum(in_version).as_py() or 0)
        choice.other_parts += (pc.sum(in_version).as_py() or 0) - (pc.sum(keep).as_py() or 0)
        labels = columns["esci_label"].to_pylist()
        staged = pa.RecordBatch.from_pydict(
            {
                "query_key": pc.binary_join_element_wise(columns["product_locale"], columns["query_id"], ":"),
                "query": columns["query"],
                "entity_id": ids_of(columns["product_locale"], columns["product_id"]),
                "grade": pa.array([GRADES[label] for label in labels], pa.float64()),
                "label": columns["esci_label"],
                "locale": columns["product_locale"],
                "part": columns["split"],
                "example_id": columns["example_id"],
                "query_id": columns["query_id"],
                "file_row": pa.array(range(row, row + batch.num_rows), pa.int64()),
            }
        ).filter(keep)
        row += batch.num_rows
        if staged.num_rows:
            yield staged
