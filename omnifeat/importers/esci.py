"""Amazon's Shopping Queries dataset (ESCI): products of three locales, and people's judgments of them for queries.

Products and examples stream through: `staging` finds what stands twice and what names no product.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from omnifeat.data.dataset import DatasetInfo, DatasetWriter
from omnifeat.errors import DataError, SettingError
from omnifeat.importers.esci_records import (
    ESCI_PARTS,
    ESCI_VERSIONS,
    EXAMPLE_COLUMNS,
    EXAMPLES_FILE,
    GRADES,
    LOCALES,
    PRODUCT_COLUMNS,
    PRODUCTS_FILE,
    SOURCES_FILE,
    Choice,
    check_columns,
    ids_of,
    raw_products,
    read_sources,
    staged_examples,
    staged_products,
    texts_of,
)
from omnifeat.importers.judged import PAIRS, check_pairs, engagement_batches, with_notes
from omnifeat.importers.plain_text import plain_text, trimmed
from omnifeat.importers.sources import ImportResult, source_folder
from omnifeat.importers.splitting import hash_split
from omnifeat.importers.staging import MEMORY_LIMIT, Staging

__all__ = ["ESCI_PARTS", "ESCI_VERSIONS", "LOCALES", "PAIRS", "import_esci"]

_STAGED = ["query_key", "query", "entity_id", "grade", "locale", "part", "example_id", "query_id"]


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
    choice = Choice(_checked_locales(locales), version, part)
    if version not in ESCI_VERSIONS:
        raise SettingError(f"Unknown version '{version}'; choose one of: {', '.join(ESCI_VERSIONS)}.")
    if part not in (*ESCI_PARTS, "all"):
        raise SettingError(f"Unknown part '{part}'; choose one of: {', '.join(ESCI_PARTS)}, all.")
    check_pairs(pairs)
    split = None if part == "test" else hash_split(salt=salt, development=development, test=test)
    folder = source_folder(source)
    products, examples = folder / PRODUCTS_FILE, folder / EXAMPLES_FILE
    for path, columns in ((products, PRODUCT_COLUMNS), (examples, EXAMPLE_COLUMNS)):
        check_columns(path, columns)
    sources = read_sources(folder / SOURCES_FILE)

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


def _stage_products(staging: Staging, path: Path, choice: Choice, notes: list[str]) -> None:
    if not staging.load("products", staged_products(path, choice), ["id", "file_row"], PRODUCT_COLUMNS):
        raise DataError(f"{path} has no product of {', '.join(choice.locales)}; choose other locales.")
    repeated = staging.reject_repeated("products")
    twice = staging.first_conflict("products", "id")
    if twice is not None:
        first, other = (staging.value(f"SELECT file_row FROM products WHERE row = {int(row)}") for row in twice[1:])
        raise DataError(
            f"{path}: the product {twice[0]} stands in row {first} and, with other texts, in row {other}; keep one."
        )
    notes.append(f"{repeated:,} products that stand again, equal in all columns, were left out.")


def _product_batches(path: Path, choice: Choice) -> Iterator[pa.RecordBatch]:
    for batch, _ in raw_products(path, choice, count=False):
        texts = {name: trimmed(texts_of(batch, name, path)) for name in PRODUCT_COLUMNS}
        locales = texts["product_locale"]
        yield pa.RecordBatch.from_pydict(
            {
                "id": ids_of(locales, texts["product_id"]),
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


def _stage_examples(staging: Staging, path: Path, choice: Choice, notes: list[str], drop_unknown: bool) -> None:
    batches = staged_examples(path, choice)
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
