"""Tables into feature matrices, and the manifest that holds a ranker to the features it was trained on.

LightGBM takes features by position and ignores their names when it predicts; a column too few, too many or out of
place gives wrong scores without a word. The manifest keeps names, order and types; every prediction goes through it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from omnifeat.data.artefacts import checked, parse_json
from omnifeat.data.files import as_table
from omnifeat.data.number_texts import meant_as_numbers, no_number_message
from omnifeat.errors import DataError, SettingError
from omnifeat.feature_columns import UNSCORED, is_trained_on

__all__ = [
    "FEATURES_KEY",
    "FINGERPRINT_KEY",
    "FeatureManifest",
    "Features",
    "choose_features",
    "declared_roles",
    "empty_features",
    "expand_columns",
    "expand_feature_sets",
    "no_features",
    "read_features",
    "select_features",
]

# Schema metadata under which a table of features names the frozen encoder that its cosines come from.
FINGERPRINT_KEY = "omnifeat.fingerprint"

# Under which a table of features describes its columns (see `ranking.feature_table`).
FEATURES_KEY = "omnifeat.features"

_REMEDY = "make the table again"

FloatArray = npt.NDArray[np.float64]


class _Described(BaseModel):
    name: str
    role: str


@dataclass(frozen=True)
class Features:
    """Features of n rows.

    `values` is float64 (n, features), NaN where a feature is missing. `names` is in the order of the columns; `named`
    is False for a plain array, whose columns are known by their place alone. `types` holds "float32", "float64",
    "integer" or "boolean" for each column. `fingerprint` is the frozen encoder's, where the table carries one.
    """

    values: FloatArray
    names: tuple[str, ...]
    types: tuple[str, ...]
    named: bool
    fingerprint: str | None


def read_features(data: Any) -> Features:
    """Features from a pandas, Polars or Arrow table, a dict of columns or a NumPy array (n, features).

    Raises
    ------
    DataError
        No row or no column; a repeated column name; a column that holds no numbers; an infinite value.
    """
    if isinstance(data, np.ndarray):
        features = _from_array(data)
    else:
        # Before the table is converted, which not every library can do with a name that stands twice.
        _check_distinct([str(name) for name in getattr(data, "columns", ()) if not isinstance(data, pa.Table)])
        features = _from_table(as_table(data, "keys"), _attached_fingerprint(data))
    if features.values.shape[0] == 0:
        raise DataError("The features have no rows; give at least one row.")
    if features.values.shape[1] == 0:
        raise DataError("The features have no columns; give at least one numeric column.")
    infinite = _infinite(features.values)
    if infinite is not None:
        row, column = infinite
        raise DataError(
            f"Feature {features.names[column]!r} is infinite in row {row + 1}; "
            "give a finite number, or null where it is missing."
        )
    return features


def _infinite(values: FloatArray) -> tuple[int, int] | None:
    """Row and column of the first infinite value, or None. A sum is finite where all values are, and soon made."""
    with np.errstate(over="ignore", invalid="ignore"):
        suspects = np.flatnonzero(~np.isfinite(values.sum(axis=0)))
    places = []
    for column in suspects.tolist():
        infinite = np.isinf(values[:, column])
        if infinite.any():
            places.append((int(infinite.argmax()), column))
    return min(places, default=None)


def _from_array(array: npt.NDArray[Any]) -> Features:
    if array.ndim != 2:
        raise DataError(f"An array of features must have two dimensions (rows, features); got {array.ndim} instead.")
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == np.bool_) or np.iscomplexobj(array):
        raise DataError(f"An array of features must hold real numbers; got dtype {array.dtype} instead.")
    names = tuple(f"column_{index}" for index in range(array.shape[1]))
    if array.dtype == np.float32:
        kind = "float32"
    elif array.dtype == np.bool_:
        kind = "boolean"
    else:
        kind = "integer" if np.issubdtype(array.dtype, np.integer) else "float64"
    return Features(array.astype(np.float64), names, (kind,) * len(names), named=False, fingerprint=None)


def _check_distinct(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"Column {name!r} stands more than once among the features; rename or drop one.")


def _attached_fingerprint(data: Any) -> str | None:
    """The fingerprint that a pandas table carries in its `attrs`."""
    attributes = getattr(data, "attrs", None)
    found = attributes.get(FINGERPRINT_KEY) if isinstance(attributes, dict) else None
    return found if isinstance(found, str) else None


def _from_table(table: pa.Table, attached: str | None) -> Features:
    names = tuple(str(name) for name in table.column_names)
    _check_distinct(names)
    for name in names:
        if is_trained_on(name):
            raise DataError(
                f"Column {name!r} tells which pairs the encoder was trained on: a label in disguise, and no feature; "
                "leave it out."
            )
    values = np.empty((table.num_rows, len(names)), dtype=np.float64, order="F")  # filled column by column
    types = []
    for index, name in enumerate(names):
        column = table.column(index)
        kind = _kind_of(column)
        if kind is None:
            raise DataError(f"{no_number_message(column, f'Feature {name!r}')}; or leave the feature out.")
        types.append(kind)
        if kind == "float32" and pa.types.is_float32(column.type) and not column.null_count:
            values[:, index] = column.to_numpy()
        else:  # Nulls become NaN, which is LightGBM's missing value.
            if column.null_count == len(column):  # of a type that need not be a number's
                column = pa.nulls(len(column), pa.float64())
            values[:, index] = pc.fill_null(pc.cast(column, pa.float64(), safe=False), float("nan")).to_numpy()
    metadata = table.schema.metadata or {}
    stored = metadata.get(FINGERPRINT_KEY.encode())
    return Features(values, names, tuple(types), named=True, fingerprint=stored.decode() if stored else attached)


def _kind(arrow_type: pa.DataType) -> str | None:
    """The kind of a numeric Arrow type, or None; a column of nothing but nulls counts as float64."""
    if pa.types.is_float32(arrow_type) or pa.types.is_float16(arrow_type):
        return "float32"
    if pa.types.is_floating(arrow_type) or pa.types.is_decimal(arrow_type) or pa.types.is_null(arrow_type):
        return "float64"
    if pa.types.is_integer(arrow_type):
        return "integer"
    return "boolean" if pa.types.is_boolean(arrow_type) else None


def _kind_of(column: pa.ChunkedArray) -> str | None:
    """As `_kind`; a column without a value, whose type CSV does not tell, counts as float64."""
    kind = _kind(column.type)
    return "float64" if kind is None and column.null_count == len(column) else kind


def empty_features(table: pa.Table, chosen: Sequence[str]) -> list[str]:
    """The chosen columns that hold no value at all."""
    return [name for name in chosen if table[name].null_count == table.num_rows]


@dataclass(frozen=True)
class FeatureManifest:
    """Names, order and types of the features a model was trained on."""

    names: tuple[str, ...]
    types: tuple[str, ...]
    named: bool

    @classmethod
    def of(cls, features: Features) -> "FeatureManifest":
        """The manifest of the features in hand."""
        return cls(features.names, features.types, features.named)

    def align(self, features: Features) -> FloatArray:
        """The values with columns in the manifest's order, float64 (n, features).

        Columns are put right by name; a plain array is taken by place. A feature trained as float32 is rounded to
        float32, so that a detour through CSV or float64 cannot push a value over a tree's threshold.

        Raises
        ------
        DataError
            A column is missing, or one stands there that the model was not trained on.
        """
        if features.named and self.named:
            values, types = self._by_name(features)
        else:
            if features.named:
                raise DataError(
                    "The model was trained on a plain array, so that its features have no names; "
                    "give a plain array here too."
                )
            if len(features.names) != len(self.names):
                raise DataError(
                    f"The array has {len(features.names)} columns, the model was trained on {len(self.names)}; "
                    "give the same columns in the same order."
                )
            values, types = features.values, features.types
        single = [index for index, kind in enumerate(self.types) if kind == "float32" != types[index]]
        if single:
            values = values.copy()
            # Beyond float32's range a value becomes infinite and goes the same way at every split.
            with np.errstate(over="ignore"):
                values[:, single] = values[:, single].astype(np.float32)
        return values

    def _by_name(self, features: Features) -> tuple[FloatArray, tuple[str, ...]]:
        position = {name: index for index, name in enumerate(features.names)}
        for name in self.names:
            if name not in position:
                raise DataError(
                    f"Feature {name!r}, which the model was trained on, is missing; "
                    f"the table has {_listed(features.names)}{_meant(name, features.names)}."
                )
        for name in features.names:
            if name not in self.names:
                raise DataError(
                    f"Column {name!r} is not a feature that the model was trained on; drop it and keep "
                    f"{_listed(self.names)}."
                )
        if features.names == self.names:
            return features.values, features.types
        order = [position[name] for name in self.names]
        return features.values[:, order], tuple(features.types[place] for place in order)


def choose_features(
    table: pa.Table,
    *,
    features: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    reserved: Sequence[str] = (),
) -> list[str]:
    """Names of the columns to use as features, in the table's order unless `features` gives one.

    Without `features` they are all numeric and boolean columns but `exclude`, `reserved` (label, query, ids),
    `trained_on` (see `omnifeat.featurize`) and those that the table's own manifest calls something else than a feature
    (see `ranking.feature_table`).

    Raises
    ------
    SettingError
        Both `features` and `exclude` are given, or a reserved column is asked for as a feature.
    DataError
        A named column is not in the table, no feature is left, or a column of text was meant as numbers: it would be
        a feature but for one `n/a` or `12%`.
    """
    if features is not None and exclude:
        raise SettingError("Give the features to use or the columns to exclude, not both.")
    for name in (*(features or ()), *exclude):
        if name not in table.column_names:
            raise DataError(
                f"Column {name!r} is not in the table; it has {_listed(table.column_names)}"
                f"{_meant(name, table.column_names)}."
            )
    if features is not None:
        for name in features:
            if name in reserved:
                raise SettingError(f"Column {name!r} holds the label, the query or an id, and cannot be a feature.")
        chosen = list(dict.fromkeys(features))
    else:
        left_out = {*exclude, *reserved}
        # a table of `omnifeat rank features` says itself which columns are none, such as the position
        roles = declared_roles(table.schema)
        open_to_choice = [
            field.name
            for field in table.schema
            if field.name not in left_out
            and not is_trained_on(field.name)
            and roles.get(field.name, "feature") == "feature"
        ]
        for name in open_to_choice:
            if not name.endswith(("_id", "_key")) and meant_as_numbers(table[name]):
                raise DataError(
                    f"{no_number_message(table[name], f'Column {name!r}')}; or leave the column out with "
                    f"--exclude {name} (exclude)."
                )
        chosen = [name for name in open_to_choice if _kind_of(table[name]) is not None]
    if not chosen:
        raise DataError(f"No numeric column is left as a feature among {_listed(table.column_names)}.")
    return chosen


def no_features(table: pa.Table, chosen: Sequence[str], known: Sequence[str]) -> list[str]:
    """The columns that hold no numbers, are not `known` to be none, and so are no features."""
    roles = declared_roles(table.schema)
    return [
        field.name
        for field in table.schema
        if field.name not in {*chosen, *known, *roles}
        and not is_trained_on(field.name)
        and not field.name.endswith(UNSCORED)
        and _kind_of(table[field.name]) is None
    ]


def declared_roles(schema: pa.Schema) -> dict[str, str]:
    """Column -> its role (`feature`, `label`, `position`, ...) by the table's own manifest; empty without one.

    Raises
    ------
    DataError
        What stands in the metadata is no manifest.
    """
    where = f"the table's metadata {FEATURES_KEY}"
    stored = parse_json((schema.metadata or {}).get(FEATURES_KEY.encode(), b"[]"), where=where, remedy=_REMEDY)
    return {column.name: column.role for column in checked(list[_Described], stored, where=where, remedy=_REMEDY)}


def expand_feature_sets(specifications: Sequence[str], columns: Sequence[str]) -> dict[str, list[str]]:
    """Feature sets by name from texts such as `both=bm25_*,cosine`; a * stands for any run of characters.

    Raises
    ------
    SettingError
        A text is not NAME=COLUMN,COLUMN, or a name stands twice.
    DataError
        A column is not there, or nothing fits a pattern.
    """
    sets: dict[str, list[str]] = {}
    for specification in specifications:
        name, equals, listed = specification.partition("=")
        name, wanted = name.strip(), [item.strip() for item in listed.split(",") if item.strip()]
        if not equals or not name or not wanted:
            raise SettingError(f"Feature set {specification!r} must read NAME=COLUMN,COLUMN.")
        if name in sets:
            raise SettingError(f"Feature set {name!r} is given twice; give each its own name.")
        sets[name] = expand_columns(wanted, columns, f"feature set {name!r}")
    return sets


def expand_columns(wanted: Sequence[str], columns: Sequence[str], where: str) -> list[str]:
    """The columns that names and patterns mean, each once; a * stands for any run of characters, `trained_on` excepted.

    Raises
    ------
    DataError
        A column is not there, or nothing fits a pattern; `where` says who asked for it.
    """
    chosen: list[str] = []
    for item in wanted:
        fitting = [item]
        if "*" in item:
            fitting = [column for column in columns if fnmatchcase(column, item) and not is_trained_on(column)]
        if not fitting or fitting[0] not in columns:
            raise DataError(
                f"Column {item!r} of {where} is not in the table; it has {_listed(columns)}{_meant(item, columns)}."
            )
        chosen.extend(fitting)
    return list(dict.fromkeys(chosen))


def select_features(data: Any, names: Sequence[str]) -> pa.Table:
    """The named columns of a table of any kind, in the order asked for; raises `DataError` for one that is missing."""
    table = as_table(data, "keys")
    attached = _attached_fingerprint(data)
    for name in names:
        if name not in table.column_names:
            raise DataError(
                f"Feature {name!r} is not in the table; it has {_listed(table.column_names)}"
                f"{_meant(name, table.column_names)}."
            )
    chosen = table.select(list(names))
    if attached is not None:
        metadata = {**(chosen.schema.metadata or {}), FINGERPRINT_KEY.encode(): attached.encode()}
        chosen = chosen.replace_schema_metadata(metadata)
    return chosen


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:20])
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "") if names else "no columns"


def _meant(name: str, names: Sequence[str]) -> str:
    same = [other for other in names if other.strip().casefold() == name.strip().casefold()]
    close = same[:1] or get_close_matches(name, names, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
