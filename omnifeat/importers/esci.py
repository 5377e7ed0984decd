"""Amazon's Shopping Queries dataset (ESCI): products of three locales, and people's judgments of them for queries.

Products and examples stream through: `staging` finds what stands twice and what names no product.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.columnar import ParquetReader
from omnifeat.data.dataset import DatasetInfo, DatasetWriter
from omnifeat.data.files import iter_batches
from omnifeat.data.locations import locate
from omnifeat.data.schema import missing_column_message
from omnifeat.errors import DataError, SettingError
from omnifeat.importers.judged import PAIRS, check_pairs, engagement_batches, with_notes
from omnifeat.importers.plain_text import collapsed, plain_text, trimmed
from omnifeat.importers.sources import ImportResult, read_csv_rows, source_folder
from omnifeat.importers.splitting import hash_split
from omnifeat.importers.staging import MEMORY_LIMIT, Staging

__all__ = ["ESCI_PARTS", "ESCI_VERSIONS", "LOCALES", "PAIRS", "import_esci"]

EXAMPLES_FILE = "shopping_queries_dataset_examples.parquet"
PRODUCTS_FILE = "shopping_queries_dataset_products.parquet"
SOURCES_FILE = "shopping_queries_dataset_sources.csv"
GRADES = {"E": 3.0, "S": 2.0, "C": 1.0, "I": 0.0}
# locale: language and country
LOCALES = {"us": ("en", "US"), "es": ("es", "ES"), "jp": ("ja", "JP")}
ESCI_VERSIONS = ("small", "large")
ESCI_PARTS = ("train", "test")

_EXAMPLE_COLUMNS = [
    "example_id", "query", "query_id", "product_id", "product_locale", "esci_label",
    "small_version", "large_version", "split",
]  # fmt: skip
_PRODUCT_COLUMNS = [
    "product_id", "product_title", "product_description", "product_bullet_point", "product_brand", "product_color",
    "product_locale",
]  # fmt: skip
_STAGED = ["query_key", "query", "entity_id", "grade", "locale", "part", "example_id", "query_id"]


@dataclass
class _Choice:
    """Which rows are asked for, and how many others were passed by."""

    locales: Sequence[str]
    version: str
    part: str
    other_locales: dict[str, int] = field(default_factory=lambda: {PRODUCTS_FILE: 0, EXAMPLES_FILE: 0})
    other_versions: int = 0
    other_parts: int = 0


def import_esci(
    source: str | Path,
    out: str | Path,
    *,
    locales: Sequence[str] = tuple(LOCALES),
    version: str = "large",
    part: str = "all",
    pairs: str = "none",
    drop_unknown: bool = False,
    test: float = 0.1,
    development: float = 0.1,
    salt: str = "",
    memory_limit: str = MEMORY_LIMIT,
    overwrite: bool = False,
    advance: Callable[[int], None] | None = None,
) -> ImportResult:
    """Make a dataset folder from the published Parquet files.

    Tables: `products` (id `LOCALE:PRODUCT_ID`), `queries`, `judgments` (E, S, C, I as 3, 2, 1, 0) and, if asked for,
    `engagements`.

    Parameters
    ----------
    source
        Folder with the examples, the products and, if at hand, the sources of the queries.
    out
        Dataset folder to write.
    locales
        Some of "us", "es", "jp".
    version
        "large" (tasks 2 and 3) or "small" (task 1): the rows that the publisher marks so.
    part
        Part of the publisher's split to take: "train", "test" or "all". With "test" no split is recorded.
    pairs
        "exact" records each judgment E as an engagement, so that an encoder can be trained; "none" does not.
    drop_unknown
        Leave out, and count, judgments of products that the catalogue lacks; otherwise they are an error.
    test, development, salt
        The hash split of the queries' texts that is recorded.
    memory_limit
        What the checks may hold in memory before they go to disk.
    overwrite
        Replace `out` if it exists.
    advance
        Called with the number of rows read since the last call; what is read twice counts twice.

    Raises
    ------
    SettingError
        For an unknown locale, version, part or way to make pairs, or fractions that leave no training part.
    DataError
        For a missing, damaged or empty file, a missing column, a value that is not known, a product that stands twice
        with different texts, a pair judged twice with different labels, nothing left of what was asked for.
    OutputError
        Where `out` cannot be written.
    """
    choice = _Choice(_checked_locales(locales), version, part)
    if version not in ESCI_VERSIONS:
        raise SettingError(f"Unknown version '{version}'; choose one of: {', '.join(ESCI_VERSIONS)}.")
    if part not in (*ESCI_PARTS, "all"):
        raise SettingError(f"Unknown part '{part}'; choose one of: {', '.join(ESCI_PARTS)}, all.")
    check_pairs(pairs)
    split = None if part == "test" else hash_split(salt=salt, development=development, test=test)
    folder = source_folder(source)
    products, examples = folder / PRODUCTS_FILE, folder / EXAMPLES_FILE
    for path, columns in ((products, _PRODUCT_COLUMNS), (examples, _EXAMPLE_COLUMNS)):
        _check_columns(path, columns)
    sources = _read_sources(folder / SOURCES_FILE)

    notes = [
        "A label is a person's judgment, not a click.",
        f"Locales: {', '.join(choice.locales)}; version: {version}; published part: {part}.",
    ]
    info = DatasetInfo(
        name="esci", source="amazon-science/esci-data, Shopping Queries Dataset", licence="Apache-2.0",
        created_by="omnifeat import esci", split=split,
    )  # fmt: skip
    with Staging.open(memory_limit, advance) as staging, DatasetWriter(out, info, overwrite=overwrite) as writer:
        _stage_products(staging, products, choice, notes)
        _stage_examples(staging, examples, choice, notes, drop_unknown)
        writer.write("products", staging.kept("products", _product_batches(products, choice)))
        writer.write("queries", _queries(staging, sources, notes))
        writer.write("judgments", _judgments(staging))
        if pairs == "exact":
            writer.write("engagements", engagement_batches(staging, "examples", GRADES["E"], "E", notes))
        notes += [
            f"{choice.other_locales[PRODUCTS_FILE]:,} products and {choice.other_locales[EXAMPLES_FILE]:,} judgments "
            "are of locales that were not asked for.",
            f"{choice.other_versions:,} judgments are not in the {version} version, and {choice.other_parts:,} not "
            "in the published part that was asked for.",
            "The publisher's split stands in the column published_split of judgments and queries; dataset.json cannot "
            + (
                "name it: all rows are of the published test part, and no split is recorded."
                if split is None
                else "name it, and records a split by a hash of the query's text."
            ),
        ]
        with_notes(writer, notes)
    return ImportResult(Path(out), dict(writer.counts), notes)


def _checked_locales(locales: Sequence[str]) -> list[str]:
    if not locales:
        raise SettingError(f"No locale is named; name some of: {', '.join(LOCALES)}.")
    for locale in locales:
        if locale not in LOCALES:
            raise SettingError(f"Unknown locale '{locale}'; choose some of: {', '.join(LOCALES)}.")
    if len(set(locales)) != len(locales):
        raise SettingError(f"A locale is named twice in '{','.join(locales)}'; name each once.")
    return list(locales)


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    if not path.is_file():
        raise DataError(f"{path} does not exist; check the source folder.")
    there = ParquetReader(locate(path)).names()
    missing = [name for name in columns if name not in there]
    if missing:
        raise DataError(f"{missing_column_message(str(path), missing, there)}; fetch the published file again.")


def _read_sources(path: Path) -> dict[str, str] | None:
    """Source of each query id; None where the file is not there. Some 130,000 short lines: they fit in memory."""
    if not path.exists():
        return None
    sources: dict[str, str] = {}
    for row, cells in read_csv_rows(path, ["query_id", "source"]):
        if sources.setdefault(cells["query_id"], cells["source"]) != cells["source"]:
            raise DataError(f"{path}, row {row}: the query_id {cells['query_id']} stands twice; keep one of the rows.")
    return sources


def _texts(batch: pa.RecordBatch, column: str, path: Path) -> pa.Array:
    values = batch.column(column)
    if pa.types.is_string(values.type):
        return values
    if pa.types.is_null(values.type) or pa.types.is_large_string(values.type) or pa.types.is_integer(values.type):
        return values.cast(pa.string())
    raise DataError(f"{path}, column '{column}' is {values.type} but must be text; fetch the published file again.")


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


def _ids(locales: pa.Array, products: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(locales, products, ":")


def _raw_products(path: Path, choice: _Choice, count: bool) -> Iterator[tuple[pa.RecordBatch, pa.Array]]:
    """Products of the locales asked for, with their row numbers in the file."""
    row = 1
    for batch in iter_batches(path, _PRODUCT_COLUMNS, batch_size=16_384):
        locales = _texts(batch, "product_locale", path)
        _known(locales, list(LOCALES), path, "product_locale", row)
        rows = pa.array(range(row, row + batch.num_rows), pa.int64())
        row += batch.num_rows
        mask = pc.is_in(locales, pa.array(list(choice.locales), pa.string()))
        chosen = batch.filter(mask)
        if count:
            choice.other_locales[PRODUCTS_FILE] += batch.num_rows - chosen.num_rows
        if chosen.num_rows:
            yield chosen, rows.filter(mask)


def _staged_products(path: Path, choice: _Choice) -> Iterator[pa.RecordBatch]:
    for batch, rows in _raw_products(path, choice, count=True):
        ids = trimmed(_texts(batch, "product_id", path))
        if ids.null_count:
            raise DataError(
                f"{path}, row {rows[pc.index(pc.is_null(ids), True).as_py()]}: there is no product_id; fill it in."
            )
        texts = {name: _texts(batch, name, path) for name in _PRODUCT_COLUMNS}
        yield pa.RecordBatch.from_pydict({**texts, "id": _ids(texts["product_locale"], ids), "file_row": rows})


def _stage_products(staging: Staging, path: Path, choice: _Choice, notes: list[str]) -> None:
    if not staging.load("products", _staged_products(path, choice), ["id", "file_row"], _PRODUCT_COLUMNS):
        raise DataError(f"{path} has no product of {', '.join(choice.locales)}; choose other locales.")
    repeated = staging.reject_repeated("products")
    twice = staging.first_conflict("products", "id")
    if twice is not None:
        first, other = (staging.value(f"SELECT file_row FROM products WHERE row = {int(row)}") for row in twice[1:])
        raise DataError(
            f"{path}: the product {twice[0]} stands in row {first} and, with other texts, in row {other}; keep one."
        )
    notes.append(f"{repeated:,} products that stand again, equal in all columns, were left out.")


def _product_batches(path: Path, choice: _Choice) -> Iterator[pa.RecordBatch]:
    for batch, _ in _raw_products(path, choice, count=False):
        texts = {name: trimmed(_texts(batch, name, path)) for name in _PRODUCT_COLUMNS}
        locales = texts["product_locale"]
        yield pa.RecordBatch.from_pydict(
            {
                "id": _ids(locales, texts["product_id"]),
                "title": _plain(texts["product_title"]),
                "description": _plain(texts["product_description"]),
                "brand": _plain(texts["product_brand"]),
                "color": _plain(texts["product_color"]),
                "language": pa.array([LOCALES[locale][0] for locale in locales.to_pylist()], pa.string()),
                "bullet_points": _plain(texts["product_bullet_point"]),
                "locale": locales,
            }
        )


def _plain(values: pa.Array) -> pa.Array:
    return pa.array([plain_text(value) for value in values.to_pylist()], pa.string())


def _staged_examples(path: Path, choice: _Choice) -> Iterator[pa.RecordBatch]:
    row = 1
    for batch in iter_batches(path, _EXAMPLE_COLUMNS):
        columns = {
            name: batch.column(name) if name.endswith("_version") else trimmed(_texts(batch, name, path))
            for name in _EXAMPLE_COLUMNS
        }
        _known(columns["product_locale"], list(LOCALES), path, "product_locale", row)
        _known(columns["esci_label"], list(GRADES), path, "esci_label", row)
        _known(columns["split"], ESCI_PARTS, path, "split", row)
        columns["query"] = collapsed(columns["query"])
        for name in ("query", "query_id", "product_id", "example_id"):
            _filled(columns[name], path, name, row)
        locales = pc.is_in(columns["product_locale"], pa.array(list(choice.locales), pa.string()))
        flag = _filled(columns[f"{choice.version}_version"], path, f"{choice.version}_version", row)
        version = pc.equal(flag.cast(pa.int64()), 1)
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
                "entity_id": _ids(columns["product_locale"], columns["product_id"]),
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


def _stage_examples(staging: Staging, path: Path, choice: _Choice, notes: list[str], drop_unknown: bool) -> None:
    batches = _staged_examples(path, choice)
    # a judgment again under another example_id is the same judgment
    count = staging.load(
        "examples", batches, [*_STAGED, "file_row"], ["query_key", "query", "entity_id", "label", "part"]
    )
    if not count:
        raise DataError(
            f"{path} has no judgment of {', '.join(choice.locales)} in the {choice.version} version and the "
            f"published part '{choice.part}'; ask for others."
        )
    repeated = staging.reject_repeated("examples")
    notes.append(f"{repeated:,} judgments that stand again, equal in query, product and label, were left out.")
    where = "FROM examples t ANTI JOIN examples_out o ON t.row = o.row"
    twice = staging.rows(
        f"SELECT min(file_row) AS first, max(file_row), any_value(query), entity_id {where} "
        "GROUP BY query_key, entity_id HAVING count(*) > 1 ORDER BY first LIMIT 1"
    )
    if twice:
        first, other, query, product = twice[0]
        raise DataError(
            f"{path}: the query '{query}' and {product} stand in row {first} and, with another label, text or split, "
            f"in row {other}; keep one."
        )
    unknown = staging.rows(
        f"SELECT t.file_row, t.query, t.entity_id {where} "
        "ANTI JOIN products p ON t.entity_id = p.id ORDER BY t.row LIMIT 1"
    )
    if unknown and not drop_unknown:
        row, query, product = unknown[0]
        raise DataError(
            f"{path}, row {row}: '{query}' is judged with {product}, which {PRODUCTS_FILE} lacks; add the product or "
            "leave such judgments out with --drop-unknown."
        )
    dropped = staging.reject("examples", "NOT EXISTS (SELECT 1 FROM products p WHERE p.id = t.entity_id)")
    notes.append(f"{dropped:,} judgments of products that the catalogue lacks were left out.")
    if staging.value("SELECT count(*) FROM examples_out") == count:
        raise DataError(f"None of the {count:,} judgments is of a product in {PRODUCTS_FILE}; check the files.")


def _queries(staging: Staging, sources: dict[str, str] | None, notes: list[str]) -> Iterator[pa.RecordBatch]:
    """A row per distinct text; one that stands in several locales has the language of its first row."""
    kept = "FROM examples t ANTI JOIN examples_out o ON t.row = o.row"
    shared = staging.value(
        f"SELECT count(*) FROM (SELECT query {kept} GROUP BY query HAVING count(DISTINCT locale) > 1)"
    )
    several = staging.value(
        f"SELECT count(*) FROM (SELECT query {kept} GROUP BY query HAVING count(DISTINCT part) > 1)"
    )
    notes.append(f"{shared:,} texts are queries of more than one locale; their row in `queries` names the first one.")
    notes.append(
        f"{several:,} texts are queries of more than one published part; their row in `queries` names the first."
    )
    if sources is None:
        notes.append(f"{SOURCES_FILE} is not there: the queries' sources are not known.")
    sql = (
        f"SELECT query, min(row) AS first, arg_min(locale, row), arg_min(part, row), arg_min(query_id, row) {kept} "
        "GROUP BY query ORDER BY first"
    )
    for batch in staging.batches(sql):
        query, _, locales, parts, ids = batch.columns
        known = [LOCALES[locale] for locale in locales.to_pylist()]
        columns = {
            "query": query.cast(pa.string()),
            "language": pa.array([language for language, _ in known], pa.string()),
            "country": pa.array([country for _, country in known], pa.string()),
            "published_split": parts.cast(pa.string()),
        }
        if sources is not None:
            columns["source"] = pa.array([sources.get(one) for one in ids.to_pylist()], pa.string())
        yield pa.RecordBatch.from_pydict(columns)


def _judgments(staging: Staging) -> Iterator[pa.RecordBatch]:
    sql = (
        "SELECT t.query, t.entity_id, t.grade, t.locale, t.example_id, t.query_id, t.part FROM examples t "
        "ANTI JOIN examples_out o ON t.row = o.row ORDER BY t.row"
    )
    for batch in staging.batches(sql):
        query, entity, grade, locales, example, query_id, part = batch.columns
        yield pa.RecordBatch.from_pydict(
            {
                "query": query.cast(pa.string()),
                "entity_id": entity.cast(pa.string()),
                "entity_type": pa.array(["product"] * batch.num_rows, pa.string()),
                "grade": grade.cast(pa.float64()),
                "country": pa.array([LOCALES[locale][1] for locale in locales.to_pylist()], pa.string()),
                "example_id": example.cast(pa.string()),
                "query_id": query_id.cast(pa.string()),
                "published_split": part.cast(pa.string()),
            }
        )
