"""Icecat: products of the Open Icecat catalogue, and people's ratings of (query, product) pairs.

The files are those published with the Chorus e-commerce search stack. A rating is a judgment, not a click, and there
is no query log: what there is to train on are pseudo-queries, see `pseudo_queries`.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from omnifeat.data.dataset import DatasetInfo, DatasetWriter
from omnifeat.errors import DataError, SettingError
from omnifeat.importers.plain_text import plain_text
from omnifeat.importers.pseudo_queries import CatalogueText, find_type_phrases, product_queries
from omnifeat.importers.sources import (
    NO_TIME,
    ImportResult,
    normalised,
    read_csv_rows,
    read_json_records,
    required_text,
    source_folder,
)
from omnifeat.importers.splitting import hash_split

__all__ = ["PAIRS", "RATED_FILE", "RATERS_FILE", "import_icecat"]

RATED_FILE = "Broad_Query_Set_rated.csv"
RATERS_FILE = "Broad_Query_Set_individual_ratings.csv"
PAIRS = ("titles", "none")
_CATALOGUE_FILE = re.compile(r"\d+\.json(\.zip|\.gz)?")
_RATER_COLUMNS = {"agent_1_rating": "agent_1", "agent_2_rating": "agent_2", "agent_3_rating": "agent_3"}
_IMAGE_COLUMNS = ("img_high", "img_low", "img_500x500", "img_thumb")
# attributes that have a column of their own
_ATTRIBUTE_COLUMNS = {
    "attr_t_product_colour": "color",
    "attr_t_material": "material",
    "attr_t_product_type": "product_type",
}
# short values that people put before a type when they search
_QUERY_ATTRIBUTES = (
    "attr_t_product_colour",
    "attr_t_material",
    "attr_t_connectivity_technology",
    "attr_t_print_technology",
    "attr_t_brand_compatibility",
)
_MAX_GRADE = 3

_TYPES: dict[str, pa.DataType] = {
    **dict.fromkeys(("id", "title", "description", "brand", "color", "material", "product_type"), pa.string()),
    "price": pa.float64(),
    "language": pa.string(),
    "attributes": pa.string(),
    "name": pa.string(),
    "date_released": pa.string(),
    "ean": pa.list_(pa.string()),
    **dict.fromkeys(_IMAGE_COLUMNS, pa.string()),
}


@dataclass(frozen=True)
class _Rating:
    row: int
    query: str
    product: str
    grade: int
    rater: str | None = None


def import_icecat(
    source: str | Path,
    out: str | Path,
    *,
    raters: bool = False,
    drop_unknown: bool = False,
    pairs: str = "titles",
    pairs_per_product: int = 6,
    test: float = 0.1,
    development: float = 0.1,
    salt: str = "",
    seed: int = 0,
    overwrite: bool = False,
) -> ImportResult:
    """Make a dataset folder from the Icecat products and ratings.

    Tables: `products`, `judgments`, and with pseudo-queries `queries` and `engagements`.

    Parameters
    ----------
    source
        Folder with `1.json.zip`, `2.json.zip`, ... (or `.json`) and the CSV file of ratings.
    out
        Dataset folder to write.
    raters
        Take the individual ratings: a pair that has them gets a judgment per rater in place of the agreed one.
    drop_unknown
        Leave out ratings of products that are not in the catalogue, and count them; otherwise they are an error.
    pairs
        "titles" makes training pairs from the catalogue, "none" makes no engagements.
    pairs_per_product
        Pseudo-queries per product, at most.
    test, development, salt
        The split by a hash of the query's text.
    seed
        Seed of the pseudo-queries.
    overwrite
        Replace `out` if it exists.

    Raises
    ------
    DataError
        For missing or damaged files, missing fields, a product id that stands twice, a rating that is not 0 to 3, a
        pair rated twice, a rating of an unknown product.
    SettingError
        For settings out of their range.
    OutputError
        Where `out` cannot be written.
    """
    if pairs not in PAIRS:
        raise SettingError(f"The pairs '{pairs}' are unknown; choose one of: {', '.join(PAIRS)}.")
    if pairs_per_product < 1:
        raise SettingError(f"The pairs per product must be at least 1, but are {pairs_per_product}.")
    split = hash_split(salt=salt, development=development, test=test)
    folder = source_folder(source)
    notes: list[str] = []
    products, texts = _read_products(folder, notes)
    known = set(products["id"].to_pylist())
    ratings = _read_ratings(folder, raters, notes)
    ratings = _known_only(ratings, known, drop_unknown, notes)
    tables = {"products": products, "judgments": _judgments(ratings)}
    if pairs == "titles":
        tables |= _pairs(texts, pairs_per_product, seed, {normalised(rating.query) for rating in ratings}, notes)
    info = DatasetInfo(
        name="icecat", source="Open Icecat products and ratings, as published with querqy/chorus",
        licence="products: Icecat Open Content License; ratings: Apache-2.0", created_by="omnifeat import icecat",
        seed=seed if pairs != "none" else None, split=split if pairs != "none" else None, notes=notes,
    )  # fmt: skip
    with DatasetWriter(out, info, overwrite=overwrite) as writer:
        for name, table in tables.items():
            writer.write(name, table)
    return ImportResult(Path(out), {name: table.num_rows for name, table in tables.items()}, notes)


def _catalogue_files(folder: Path) -> list[Path]:
    files = [path for path in folder.iterdir() if _CATALOGUE_FILE.fullmatch(path.name)]
    if not files:
        raise DataError(f"{folder} holds no product files named 1.json.zip or 1.json and so on; check the folder.")
    by_number: dict[int, Path] = {}
    for path in sorted(files):
        other = by_number.setdefault(int(path.name.split(".", 1)[0]), path)
        if other != path:
            raise DataError(f"{folder} holds {other.name} and {path.name}, the same products twice; keep one of them.")
    return [by_number[number] for number in sorted(by_number)]


def _read_products(folder: Path, notes: list[str]) -> tuple[pa.Table, list[CatalogueText]]:
    """All products as one table, read a file at a time, and the words that queries are made from."""
    seen: dict[str, str] = {}
    pieces: list[pa.Table] = []
    texts: list[CatalogueText] = []
    left_out: Counter[str] = Counter()
    for path in _catalogue_files(folder):
        columns: dict[str, list[Any]] = {name: [] for name in _TYPES}
        for row, record in enumerate(read_json_records(path), start=1):
            where = f"{path}, record {row}"
            product = _product(record, where)
            if product["id"] in seen:
                raise DataError(
                    f"{where}: the product id {product['id']} stands in {seen[product['id']]} too; keep one."
                )
            seen[product["id"]] = f"{path.name}, record {row},"
            for name in _TYPES:
                columns[name].append(product[name])
            texts.append(_catalogue_text(product, record))
            left_out.update(key[:7] for key in record if key.startswith(("attr_n_", "attr_b_")))
        pieces.append(pa.table({name: pa.array(values, _TYPES[name]) for name, values in columns.items()}))
    table = pa.concat_tables(pieces)
    if table.num_rows == 0:
        raise DataError(f"{folder} holds product files without any product; fetch them again.")
    if left_out:
        notes.append(
            f"{left_out['attr_n_']:,} values of number attributes and {left_out['attr_b_']:,} of yes-or-no attributes "
            "were not taken."
        )
    notes.append("Prices are the published whole numbers, unit as published (by their size, hundredths).")
    return table, texts


def _product(record: Mapping[str, Any], where: str) -> dict[str, Any]:
    product: dict[str, Any] = dict.fromkeys(_TYPES)
    identity = record.get("id")
    # an id is text in the published files; a number is the same id written otherwise
    product["id"] = str(identity) if _is_whole(identity) else required_text(record, "id", where)
    where = f"{where} (id {product['id']})"
    product["title"] = plain_text(required_text(record, "title", where))
    product["description"] = plain_text(_optional_text(record, "short_description", where))
    product["brand"] = _optional_text(record, "supplier", where)
    product["price"] = _price(record.get("price"), where)
    product["language"] = "en"
    for attribute, column in _ATTRIBUTE_COLUMNS.items():
        value = _optional_text(record, attribute, where)
        product[column] = None if value is None else ", ".join(_values(value))
    product["attributes"] = "; ".join(_attributes(record, where)) or None
    for column in ("name", "date_released", *_IMAGE_COLUMNS):
        product[column] = _optional_text(record, column, where)
    ean = record.get("ean")
    if ean is not None and not (isinstance(ean, list) and all(isinstance(code, str) for code in ean)):
        raise DataError(f"{where}: 'ean' must be a list of texts but is {ean!r}; correct the record.")
    product["ean"] = ean
    return product


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _optional_text(record: Mapping[str, Any], name: str, where: str) -> str | None:
    value = record.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise DataError(f"{where}: '{name}' must be text but is {value!r}; correct the record.")
    return value.strip() or None


def _price(value: object, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise DataError(f"{where}: 'price' must be a number that is not negative but is {value!r}; correct the record.")
    return float(value)


def _values(text: str) -> list[str]:
    return [value.strip() for value in text.split(",") if value.strip()]


def _attributes(record: Mapping[str, Any], where: str) -> Iterator[str]:
    """`name: value` of every text attribute that has no column of its own, in the order of the source."""
    for key in record:
        if key.startswith("attr_t_") and key not in _ATTRIBUTE_COLUMNS:
            value = _optional_text(record, key, where)
            if value is not None:
                name = " ".join(key.removeprefix("attr_t_").replace("_", " ").split())
                yield f"{name}: {plain_text(value)}"


def _catalogue_text(product: Mapping[str, Any], record: Mapping[str, Any]) -> CatalogueText:
    attributes = tuple(value for key in _QUERY_ATTRIBUTES for value in _values(record.get(key) or "")[:2])
    return CatalogueText(product["id"], product["title"], product["description"], product["brand"], attributes)


def _grade(text: str, column: str, where: str) -> int:
    if text.strip() not in {str(grade) for grade in range(_MAX_GRADE + 1)}:
        raise DataError(f"{where}: '{column}' must be 0 to {_MAX_GRADE} but is {text!r}; correct the row.")
    return int(text)


def _read_ratings(folder: Path, raters: bool, notes: list[str]) -> list[_Rating]:
    agreed: dict[tuple[str, str], _Rating] = {}
    path = folder / RATED_FILE
    for row, cells in read_csv_rows(path, ("query", "docid", "rating")):
        where = f"{path}, row {row}"
        query, product = required_text(cells, "query", where), required_text(cells, "docid", where)
        if (query, product) in agreed:
            raise DataError(
                f"{where}: '{query}' and {product} are rated in row {agreed[query, product].row} too; keep one."
            )
        agreed[query, product] = _Rating(row, query, product, _grade(cells["rating"], "rating", where))
    if not agreed:
        raise DataError(f"{path} holds no ratings; fetch it again.")
    notes.append(f"{len(agreed):,} rated pairs of {len({query for query, _ in agreed}):,} queries.")
    return list(_with_raters(folder, agreed, notes) if raters else agreed.values())


def _with_raters(folder: Path, agreed: Mapping[tuple[str, str], _Rating], notes: list[str]) -> Iterable[_Rating]:
    """The individual ratings in place of the agreed one, for the pairs that have them."""
    path = folder / RATERS_FILE
    individual: dict[tuple[str, str], list[_Rating]] = defaultdict(list)
    for row, cells in read_csv_rows(path, ("query", "docid", *_RATER_COLUMNS)):
        where = f"{path}, row {row}"
        pair = required_text(cells, "query", where), required_text(cells, "docid", where)
        if pair not in agreed:
            raise DataError(
                f"{where}: '{pair[0]}' and {pair[1]} have no row in {RATED_FILE}; take both from one release."
            )
        if pair in individual:
            raise DataError(f"{where}: '{pair[0]}' and {pair[1]} stand in row {individual[pair][0].row} too; keep one.")
        individual[pair] = [
            _Rating(row, *pair, _grade(cells[column], column, where), rater) for column, rater in _RATER_COLUMNS.items()
        ]
    notes.append(f"{len(individual):,} pairs carry three individual ratings in place of the agreed one.")
    return [rating for pair, one in agreed.items() for rating in individual.get(pair, [one])]


def _known_only(ratings: Sequence[_Rating], known: set[str], drop: bool, notes: list[str]) -> list[_Rating]:
    unknown = [rating for rating in ratings if rating.product not in known]
    if unknown and not drop:
        first = unknown[0]
        file = RATED_FILE if first.rater is None else RATERS_FILE
        raise DataError(
            f"{len(unknown):,} of {len(ratings):,} ratings are of products that the catalogue lacks, first "
            f"'{first.query}' and {first.product} in row {first.row} of {file}; add the products or leave such ratings "
            "out with --drop-unknown."
        )
    kept = [rating for rating in ratings if rating.product in known]
    if not kept:
        raise DataError(f"None of the {len(ratings):,} ratings is of a product in the catalogue; check the files.")
    notes.append(f"{len(unknown):,} ratings of products that the catalogue lacks were left out.")
    return kept


def _judgments(ratings: Sequence[_Rating]) -> pa.Table:
    text = pa.string()
    columns = {
        "query": pa.array([rating.query for rating in ratings], text),
        "entity_id": pa.array([rating.product for rating in ratings], text),
        "entity_type": pa.array(["product"] * len(ratings), text),
        "grade": pa.array([rating.grade for rating in ratings], pa.float64()),
    }
    if any(rating.rater is not None for rating in ratings):
        columns["rater"] = pa.array([rating.rater for rating in ratings], text)
    return pa.table(columns)


def _pairs(
    texts: Sequence[CatalogueText], number: int, seed: int, rated: set[str], notes: list[str]
) -> dict[str, pa.Table]:
    """Pseudo-queries as engagements. The rated queries are only counted against them, never used to make them."""
    types = find_type_phrases(texts)
    queries: list[str] = []
    ids: list[str] = []
    for text in texts:
        made = product_queries(text, types, number=number, seed=seed)
        queries += made
        ids += [text.id] * len(made)
    if not queries:
        raise DataError("No pseudo-query could be made from the titles; give --pairs none to import without pairs.")
    distinct = sorted(set(queries))
    without = len(texts) - len(set(ids))
    notes.append(
        f"Engagements are {len(queries):,} pseudo-queries made from the catalogue's own words "
        f"({len(distinct):,} distinct, seed {seed}), not a log; their timestamp is a constant ({NO_TIME.date()}) "
        "and means nothing."
    )
    notes.append(f"{without:,} products gave no pseudo-query.")
    notes.append(f"{len(rated & set(distinct)):,} of the {len(rated):,} rated queries also came out as pseudo-queries.")
    text = pa.string()
    return {
        "queries": pa.table({"query": pa.array(distinct, text), "language": pa.array(["en"] * len(distinct), text)}),
        "engagements": pa.table(
            {
                "query": pa.array(queries, text),
                "entity_id": pa.array(ids, text),
                "entity_type": pa.array(["product"] * len(ids), text),
                "action": pa.array(["click"] * len(ids), text),
                "timestamp": pa.array([NO_TIME] * len(ids), pa.timestamp("us", tz="UTC")),
            }
        ),
    }
