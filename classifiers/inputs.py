"""Checks of what an `InterestClassifier` is given."""

from collections.abc import Mapping
from math import inf
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from classifiers.heads import HEADS
from classifiers.taxonomy import Taxonomy
from omnifeat.data.number_texts import is_number_type
from omnifeat.data.text_lists import refuse_tables, text_list
from omnifeat.errors import DataError, SettingError

__all__ = ["check_settings", "read_embeddings", "read_texts", "read_weights"]

_SLAB = 1 << 24  # numbers that are looked at together


def check_settings(classifier: Any) -> None:
    """Raise `SettingError` at the first setting of an `InterestClassifier` that is out of its range."""
    strength: Any = classifier.inverse_regularisation
    if strength is not None and not (_is_number(strength) and 0 < strength < inf):
        raise _wrong("inverse_regularisation", "a number above 0, or None to choose it", strength)
    if classifier.taxonomy is not None and not isinstance(classifier.taxonomy, Taxonomy):
        raise _wrong("taxonomy", "a Taxonomy, such as Taxonomy.read gives, or None", classifier.taxonomy)
    for name, choices in (
        ("head", ("auto", *HEADS)),
        ("labels", ("auto", "one", "several")),
        ("unseen", ("refuse", "leave")),
    ):
        if getattr(classifier, name) not in choices:
            raise _wrong(name, f"one of {', '.join(choices)}", getattr(classifier, name))
    if not (_is_number(classifier.calibration) and 0 <= classifier.calibration <= 0.5):
        raise _wrong("calibration", "from 0 to 0.5", classifier.calibration)
    for name, least in (("max_iterations", 1), ("examples_kept", 0)):
        value = getattr(classifier, name)
        if not isinstance(value, Integral) or value < least:
            raise _wrong(name, f"a whole number from {least}", value)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real)


def _wrong(name: str, what: str, value: object) -> SettingError:
    return SettingError(f"The {name!r} setting of InterestClassifier must be {what}; got {value!r}.")


def read_texts(queries: Any) -> list[str] | None:
    """Queries as text, or None if they are something else.

    Raises
    ------
    DataError
        It is a table, a set or a single text, or some rows are text and others are not.
    """
    if isinstance(queries, str | bytes | set | frozenset | Mapping) or _is_table_of_text(queries):
        refuse_tables(queries)
    if not hasattr(queries, "__len__"):
        return None
    found = queries
    if getattr(queries, "ndim", 1) == 1:
        found = queries.tolist() if hasattr(queries, "tolist") else list(queries)
    if not isinstance(found, list) or not any(isinstance(one, str) for one in found):
        return None
    return text_list(found)


def _is_table_of_text(values: Any) -> bool:
    """Whether this is a table with a column that is not of numbers; a table of numbers may hold embeddings."""
    if isinstance(values, pa.Table | pa.RecordBatch):
        return not all(is_number_type(field.type) for field in values.schema)
    if getattr(values, "ndim", 2) != 2 or not hasattr(values, "columns"):
        return False
    dtypes = list(getattr(values, "dtypes", []))
    # NumPy's kinds, as pandas has them; Polars' types say it themselves
    return not all(
        dtype.is_numeric() if hasattr(dtype, "is_numeric") else getattr(dtype, "kind", "O") in "biuf"
        for dtype in dtypes
    )


def read_embeddings(queries: Any, width: int | None = None) -> npt.NDArray[np.float32]:
    """Embeddings as float32 (Q, D), those of a float32 array without a copy; `width` is the one that they must have.

    Raises
    ------
    DataError
        They are no such array, of another width, none where none is given, or not finite.
    """
    try:
        with np.errstate(over="ignore"):  # what is too large for float32 is found below
            embeddings = np.asarray(queries, dtype=np.float32)
    except (TypeError, ValueError):
        raise DataError("Embeddings must be an array of numbers (queries, width); got something else.") from None
    if width is not None and embeddings.shape == (0,):
        embeddings = embeddings.reshape(0, width)  # no query
    if embeddings.ndim != 2 or embeddings.shape[1] == 0:
        raise DataError(f"Embeddings must have shape (queries, width); got {embeddings.shape} instead.")
    if width is None and len(embeddings) == 0:
        raise DataError("There are no embeddings to learn from; give at least one query.")
    if width is not None and embeddings.shape[1] != width:
        raise DataError(f"Embeddings are {embeddings.shape[1]} wide, but the classifier was trained on width {width}.")
    size = max(1, _SLAB // embeddings.shape[1])
    for start in range(0, len(embeddings), size):
        finite = np.isfinite(embeddings[start : start + size]).all(axis=1)
        if not finite.all():
            row = start + int(np.flatnonzero(~finite)[0])
            raise DataError(
                f"The embedding in row {row + 1} holds NaN or infinity; encode the query again or leave it out."
            )
    return embeddings


def read_weights(sample_weight: Any, rows: int) -> npt.NDArray[np.float64]:
    """Weights of rows as float64 (Q,), ones if none are given; raises `DataError` unless all are above zero."""
    if sample_weight is None:
        return np.ones(rows)
    try:
        weights = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"Sample weights must be {rows} numbers above zero, one a row; got something else.") from None
    if weights.shape != (rows,) or not (np.isfinite(weights).all() and (weights > 0).all()):
        raise DataError(f"Sample weights must be {rows} numbers above zero, one a row; got shape {weights.shape}.")
    return weights
