"""WANDS, Wayfair's annotation dataset: products, queries and people's judgments; classes as interests.

The three files are tab-separated in spite of their names. Products and labels stream through, see `staging`.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.dataset import DatasetInfo, DatasetWriter
from omnifeat.errors import DataError
from omnifeat.importers.delimited import DelimitedTable
from omnifeat.importers.judged import check_pairs, engagement_batches, with_notes
from omnifeat.importers.plain_text import collapsed, plain_text
from omnifeat.importers.sources import ImportResult, source_folder
from omnifeat.importers.splitting import hash_split
from omnifeat.importers.staging import MEMORY_LIMIT, Staging

__all__ = ["import_wands"]

GRADES = {"Exact": 2.0, "Partial": 1.0, "Irrelevant": 0.0}
_HIERARCHY = ("category_hierarchy", "category hierarchy")  # as documented, and as published
_NUMBERS = ("rating_count", "average_rating", "review_count")
_PRODUCT_COLUMNS = ("product_id", "product_name", "product_class", "product_description", "product_features", *_NUMBERS)
_LABEL_COLUMNS = ("id", "query_id", "product_id", "label")


@dataclass(frozen=True)
class _Query:
    text: str
    interest: str | None


def import_wands(
    source: str | Path,
    out: str | Path,
    *,
    pairs: str = "none",
    drop_unknown: bool = False,
    test: float = 0.1,
    development: float = 0.1,
    salt: str = "",
    memory_limit: str = MEMORY_LIMIT,
    overwrite: bool = False,
    advance: Callable[[int], None] | None = None,
) -> ImportResult:
    """Make a dataset folder from `product.csv`, `query.csv` and `label.csv`.

    Tables: `products`, `queries`, `judgments` (Exact, Partial, Irrelevant as 2, 1, 0), `interests` (classes),
    `query_interests` and, if asked for, `engagements`.

    Parameters
    ----------
    source
        Folder with the three files.
    out
        Dataset folder to write.
    pairs
        "exact" records each judgment Exact as an engagement, so that an encoder can be trained; "none" does not.
    drop_unknown
        Leave out, and count, labels of products or queries that the other files lack; otherwise they are an error.
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
        For an unknown way to make pairs, or fractions that leave no training part.
    DataError
        For a missing, empty or broken file, text that is not UTF-8, a missing column or id, an id that stands twice
        with different contents, an unknown label, a number that is none.
    OutputError
        Where `out` cannot be written.
    """
    check_pairs(pairs)
    split = hash_split(salt=salt, development=development, test=test)
    folder = source_folder(source)
    products = DelimitedTable([folder / "product.csv"], _PRODUCT_COLUMNS, _HIERARCHY)
    queries = DelimitedTable([folder / "query.csv"], ["query_id", "query", "query_class"])
    labels = DelimitedTable([folder / "label.csv"], _LABEL_COLUMNS)
    if not any(products.has(name) for name in _HIERARCHY):
        raise DataError(f"{products.names} has no column 'category hierarchy'; fetch the published file again.")

    notes = ["A label is a person's judgment, not a click."]
    info = DatasetInfo(
        name="wands", source="wayfair/WANDS", licence="MIT", created_by="omnifeat import wands", split=split
    )
    with Staging.open(memory_limit, advance) as staging, DatasetWriter(out, info, overwrite=overwrite) as writer:
        _stage_products(staging, products, notes)
        by_id = _read_queries(queries, notes)
        _stage_labels(staging, labels, by_id, drop_unknown, notes)
        writer.write("products", staging.kept("products", map(_products, products.batches())))
        distinct = _distinct(by_id, notes)
        writer.write("queries", _query_table(distinct))
        writer.write("judgments", _judgments(staging))
        interests = _interests(staging, distinct, notes)
        if interests.num_rows:
            writer.write("interests", interests)
        links = [(text, name) for text, names in distinct.items() for name in names]
        if links:
            writer.write(
                "query_interests", _text_table({"query": [a for a, _ in links], "interest_id": [b for _, b in links]})
            )
        if pairs == "exact":
            writer.write("engagements", engagement_batches(staging, "labels", GRADES["Exact"], "Exact", notes))
        with_notes(writer, notes)
    return ImportResult(Path(out), dict(writer.counts), notes)


def _text_table(columns: Mapping[str, list[str | None]]) -> pa.Table:
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def _stage_products(staging: Staging, table: DelimitedTable, notes: list[str]) -> None:
    staging.load("products", _with_ids(table, "product_id"), ["product_id", "product_class"], table.columns)
    repeated = staging.reject_repeated("products")
    twice = staging.first_conflict("products", "product_id")
    if twice is not None:
        raise DataError(
            f"{table.place(twice[2])}: the product_id {twice[0]} stands, with other contents, in "
            f"{table.place(twice[1])} too; keep one."
        )
    notes.append(f"{repeated:,} products that stand again, equal in all columns, were left out.")


def _with_ids(table: DelimitedTable, *columns: str) -> Iterator[pa.RecordBatch]:
    """The batches; an id that is missing is an error."""
    row = 1
    for batch in table.batches():
        for column in columns:
            if batch.column(column).null_count:
                place = row + pc.index(pc.is_null(batch.column(column)), True).as_py()
                raise DataError(f"{table.place(place)}: there is no {column}; fill it in.")
        if "average_rating" in batch.schema.names:
            _check_numbers(table, batch, row)
        row += batch.num_rows
        yield batch


def _check_numbers(table: DelimitedTable, batch: pa.RecordBatch, first_row: int) -> None:
    for name in _NUMBERS:
        for position, text in enumerate(batch.column(name).to_pylist()):
            if text is not None and not _is_number(text):
                raise DataError(
                    f"{table.place(first_row + position)}, column '{name}': {text!r} is not a number; correct it."
                )


def _is_number(text: str) -> bool:
    if not text.isascii() or "_" in text:
        return False  # a number to Python, and not to Arrow
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _read_queries(table: DelimitedTable, notes: list[str]) -> dict[str, _Query]:
    """Queries by id. There are 480 of them: they fit in memory."""
    by_id: dict[str, _Query] = {}
    rows: dict[str, int] = {}
    row = repeated = 0
    for batch in _with_ids(table, "query_id", "query"):
        texts = collapsed(batch.column("query")).to_pylist()
        columns = zip(batch.column("query_id").to_pylist(), texts, batch.column("query_class").to_pylist(), strict=True)
        for identifier, text, interest in columns:
            row += 1
            query = _Query(text, interest)
            if by_id.setdefault(identifier, query) != query:
                raise DataError(
                    f"{table.place(row)}: the query_id {identifier} stands, with other contents, in "
                    f"{table.place(rows[identifier])} too; keep one."
                )
            repeated += identifier in rows
            rows.setdefault(identifier, row)
    notes.append(f"{repeated:,} queries that stand again, equal in all columns, were left out.")
    return by_id


def _stage_labels(
    staging: Staging, table: DelimitedTable, by_id: Mapping[str, _Query], drop_unknown: bool, notes: list[str]
) -> None:
    count = staging.load(
        "labels", _labels(table, by_id), ["query", "entity_id", "grade", "query_id", "id"], _LABEL_COLUMNS
    )
    repeated = staging.reject_repeated("labels")
    twice = staging.first_conflict("labels", "id")
    if twice is not None:
        raise DataError(
            f"{table.place(twice[2])}: the id {twice[0]} stands, with other contents, in {table.place(twice[1])} too; "
            "keep one."
        )
    notes.append(f"{repeated:,} labels that stand again, equal in all columns, were left out.")
    dangling = "t.query IS NULL OR NOT EXISTS (SELECT 1 FROM products p WHERE p.product_id = t.entity_id)"
    first = staging.rows(f"SELECT row, query_id, entity_id, query FROM labels t WHERE {dangling} ORDER BY row LIMIT 1")
    if first and not drop_unknown:
        row, query_id, product, query = first[0]
        lacking = (
            f"the query_id {query_id}, which query.csv"
            if query is None
            else f"the product {product}, which product.csv"
        )
        raise DataError(
            f"{table.place(row)} names {lacking} lacks; add it or leave such labels out with --drop-unknown."
        )
    dropped = staging.reject("labels", dangling)
    notes.append(f"{dropped:,} labels of queries or products that the other files lack were left out.")
    if staging.value("SELECT count(*) FROM labels_out") == count:
        raise DataError(
            f"None of the {count:,} labels in {table.names} is of a known query and product; check the files."
        )
    again = staging.value(
        "SELECT count(*) - count(DISTINCT (query, entity_id)) FROM labels t ANTI JOIN labels_out o ON t.row = o.row"
    )
    notes.append(f"{again:,} pairs of a query and a product are judged more than once; all judgments are kept.")


def _labels(table: DelimitedTable, by_id: Mapping[str, _Query]) -> Iterator[pa.RecordBatch]:
    row = 1
    for batch in _with_ids(table, *_LABEL_COLUMNS):
        labels = batch.column("label").to_pylist()
        for position, label in enumerate(labels):
            if label not in GRADES:
                raise DataError(
                    f"{table.place(row + position)}: the label is {label!r} but must be one of {', '.join(GRADES)}; "
                    "correct it."
                )
        row += batch.num_rows
        queries = (by_id.get(identifier) for identifier in batch.column("query_id").to_pylist())
        yield pa.RecordBatch.from_pydict(
            {
                **{name: batch.column(name) for name in _LABEL_COLUMNS},
                "query": pa.array([None if query is None else query.text for query in queries], pa.string()),
                "entity_id": batch.column("product_id"),
                "grade": pa.array([GRADES[label] for label in labels], pa.float64()),
            }
        )


def _products(batch: pa.RecordBatch) -> pa.RecordBatch:
    def plain(name: str) -> pa.Array:
        return pa.array([plain_text(text) for text in batch.column(name).to_pylist()], pa.string())

    return pa.RecordBatch.from_pydict(
        {
            "id": batch.column("product_id"),
            "title": plain("product_name"),
            "description": plain("product_description"),
            "product_type": batch.column("product_class"),
            "language": pa.array(["en"] * batch.num_rows, pa.string()),
            "category_hierarchy": pc.coalesce(*(batch.column(name) for name in _HIERARCHY)),
            "features": batch.column("product_features"),
            **{name: batch.column(name).cast(pa.float64()) for name in _NUMBERS},
        }
    )


def _distinct(by_id: Mapping[str, _Query], notes: list[str]) -> dict[str, list[str]]:
    """Distinct texts with their classes: a text may stand under several ids."""
    distinct: dict[str, list[str]] = {}
    for query in by_id.values():
        interests = distinct.setdefault(query.text, [])
        if query.interest is not None and query.interest not in interests:
            interests.append(query.interest)
    notes.append(
        f"{len(by_id) - len(distinct):,} queries have the text of an earlier one and are one with it; "
        f"{sum(not interests for interests in distinct.values()):,} have no class."
    )
    return distinct


def _query_table(distinct: Mapping[str, list[str]]) -> pa.Table:
    return pa.table(
        {
            "query": pa.array(list(distinct), pa.string()),
            "language": pa.array(["en"] * len(distinct), pa.string()),
            "interests": pa.array(list(distinct.values()), pa.list_(pa.string())),
        }
    )


def _judgments(staging: Staging) -> Iterator[pa.RecordBatch]:
    sql = "SELECT query, entity_id, grade, id FROM labels t ANTI JOIN labels_out o ON t.row = o.row ORDER BY t.row"
    for batch in staging.batches(sql):
        query, entity, grade, label = batch.columns
        yield pa.RecordBatch.from_pydict(
            {
                "query": query.cast(pa.string()),
                "entity_id": entity.cast(pa.string()),
                "entity_type": pa.array(["product"] * batch.num_rows, pa.string()),
                "grade": grade.cast(pa.float64()),
                "label_id": label.cast(pa.string()),
            }
        )


def _interests(staging: Staging, distinct: Mapping[str, list[str]], notes: list[str]) -> pa.Table:
    """One flat level: the classes of queries, and of products, of which one may name several between bars."""
    of_queries = {name for names in distinct.values() for name in names}
    found = staging.rows("SELECT DISTINCT unnest(string_split(product_class, '|')) FROM products")
    of_products = {name.strip() for (name,) in found if name and name.strip()}
    notes.append(
        f"{len(of_queries):,} classes of queries and {len(of_products):,} of products, "
        f"{len(of_queries & of_products):,} of them common, are interests of one level."
    )
    names = sorted(of_queries | of_products)
    return pa.table(
        {
            "interest_id": pa.array(names, pa.string()),
            "name": pa.array(names, pa.string()),
            "parent_id": pa.nulls(len(names), pa.string()),
            "level": pa.array([1] * len(names), pa.int64()),
        }
    )
