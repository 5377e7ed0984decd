"""LightGBM's text form of a booster, checked before LightGBM parses it.

Its parser trusts the text: a count that does not fit makes it read out of bounds, a child that leads back never ends, a
size makes it ask for any amount of memory. So only what LightGBM itself writes passes: each line is of a known name and
stands once, each array is as long as the counts say, and every tree is a tree.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from omnifeat.errors import DataError

__all__ = ["Booster", "check_model_text"]

MOST_LEAVES = 131_072  # LightGBM's own bound of the setting `num_leaves`
MOST_DEPTH = 4096  # LightGBM walks some trees by recursion, with memory of the square of the depth

_HEAD = ("version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx", "objective",
         "average_output", "feature_names", "monotone_constraints", "feature_infos", "tree_sizes")  # fmt: skip
_HEAD_OPTIONAL = ("objective", "average_output", "monotone_constraints", "tree_sizes")
_OF_NODES = ("split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child",
             "internal_value", "internal_weight", "internal_count")  # fmt: skip
_OF_LEAVES = ("leaf_value", "leaf_weight", "leaf_count")
_OF_CATEGORIES = ("cat_boundaries", "cat_threshold")
_OF_LINEAR = ("leaf_const", "num_features", "leaf_features", "leaf_coeff")
_TREE = ("num_leaves", "num_cat", *_OF_NODES, *_OF_LEAVES, *_OF_CATEGORIES, "is_linear", *_OF_LINEAR, "shrinkage")

_END_OF_TREES = "end of trees\n"
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
_NAME = re.compile(r"[\w.@-]+", re.ASCII)
_WHOLE = re.compile(r"-?[0-9]{1,15}(?: +-?[0-9]{1,15})*", re.ASCII)
_NUMBER = r"-?(?:[0-9]+(?:\.[0-9]*)?(?:e[+-]?[0-9]{1,4})?)"
_NUMBERS = re.compile(rf"{_NUMBER}(?: +{_NUMBER})*", re.ASCII)
_ANY_NUMBERS = re.compile(rf"(?:{_NUMBER}|-?inf|-?nan)(?: +(?:{_NUMBER}|-?inf|-?nan))*", re.ASCII)
_INFO = re.compile(rf"none|\[(?:{_NUMBER}|-?inf):(?:{_NUMBER}|-?inf)\]|-?[0-9]{{1,10}}(?::-?[0-9]{{1,10}})*", re.ASCII)
_OBJECTIVE = re.compile(rf"[a-z_0-9]+(?: [a-z_]+(?::{_NUMBER})?)*", re.ASCII)
_IMPORTANCE = re.compile(r"[\w.@-]+=[0-9.e+-]+", re.ASCII)
_PARAMETER = re.compile(r'\[[a-z_0-9]+: [^"\\]*\]', re.ASCII)
_FOOT = re.compile(r"\npandas_categorical:(?:null|\[\])\n*")


class _TextError(ValueError):
    """What is wrong with a text, without the file's name."""


@dataclass(frozen=True)
class Booster:
    """What a checked text holds: the number of `features` it takes, `outputs` of a row and `trees`; its `objective`."""

    features: int
    outputs: int
    trees: int
    objective: str


def check_model_text(text: str, file: Path) -> Booster:
    """Check the text form of a booster, as LightGBM's `model_to_string` writes it.

    Raises
    ------
    DataError
        It is something else, or it does not fit together; the message names the file, the tree and the line.
    """
    try:
        return _checked(text)
    except _TextError as error:
        raise DataError(f"File {file} is no model that LightGBM wrote ({error}); train the model again.") from None


def _checked(text: str) -> Booster:
    if _CONTROL.search(text):
        raise _TextError("it holds a control character")
    head, _, body = text.partition("\n\n")
    first, _, head = head.partition("\n")
    if first != "tree":
        raise _TextError("it does not begin with 'tree'")
    fields = _fields(head.split("\n"), _HEAD, _HEAD_OPTIONAL)
    booster = _head(fields)
    sizes = _whole(fields, "tree_sizes", None)
    if len(sizes) != booster.trees:
        raise _TextError(f"{booster.trees} trees are wanted, 'tree_sizes' has {len(sizes)}")
    at = 0
    for place, size in enumerate(sizes):
        if size < 1 or at + size > len(body):
            raise _TextError(f"'tree_sizes' gives tree {place} {size} bytes, which it has not")
        try:
            _tree(body[at : at + size], place, booster.features)
        except _TextError as error:
            raise _TextError(f"tree {place}: {error}") from None
        at += size
    _tail(body[at:])
    return booster


def _head(fields: Mapping[str, str]) -> Booster:
    if not re.fullmatch(r"v[0-9]{1,3}", fields["version"], re.ASCII):
        raise _TextError("'version' is no version")
    features = _one(fields, "max_feature_idx") + 1
    outputs = _one(fields, "num_tree_per_iteration")
    trees = len(fields.get("tree_sizes", "").split())
    _one(fields, "label_index")
    names, infos = fields["feature_names"].split(" "), fields["feature_infos"].split(" ")
    for what, items, form in (("feature_names", names, _NAME), ("feature_infos", infos, _INFO)):
        if len(items) != features:
            raise _TextError(f"{features} features are wanted, {what!r} has {len(items)}")
        for item in items:
            if not form.fullmatch(item):
                raise _TextError(f"{what!r} holds {item[:40]!r}")
    if outputs < 1 or trees % outputs or (outputs > 1 and outputs > trees):
        raise _TextError(f"{trees} trees cannot be {outputs} for each output")
    if _one(fields, "num_class") != outputs:
        raise _TextError(f"'num_class' is {fields['num_class']}, and {outputs} trees make up an iteration")
    if fields.get("average_output", ""):
        raise _TextError("'average_output' has a value")
    if "monotone_constraints" in fields:
        _whole(fields, "monotone_constraints", features, least=-1, most=1)
    objective = fields.get("objective", "")
    if objective and not _OBJECTIVE.fullmatch(objective):
        raise _TextError(f"'objective' is {objective[:40]!r}")
    for word in objective.split():
        name, _, value = word.partition(":")
        if name == "num_class" and value != str(outputs):
            raise _TextError(f"'objective' is of {value} classes, and {outputs} trees make up an iteration")
    return Booster(features, outputs, trees, objective)


def _tree(text: str, place: int, features: int) -> None:
    """Check one tree: `Tree=` and its place, a field a line, and blank lines behind."""
    if not text.isascii() or not text.endswith("\n\n\n"):
        raise _TextError("it does not end where 'tree_sizes' says")
    first, *lines = text.rstrip("\n").split("\n")
    if first != f"Tree={place}":
        raise _TextError(f"it begins with {first[:40]!r}")
    fields = _fields(lines, _TREE, (*_OF_NODES, *_OF_LEAVES, *_OF_CATEGORIES, *_OF_LINEAR))
    leaves = _one(fields, "num_leaves", least=1, most=MOST_LEAVES)
    nodes = leaves - 1
    if len(_numbers(fields, "leaf_value", leaves)) != leaves:
        raise _TextError("'leaf_value' is missing")
    for name in ("leaf_weight", "leaf_count"):
        _numbers(fields, name, leaves, or_none=leaves == 1, finite=False)
    for name in ("split_gain", "internal_value", "internal_weight", "internal_count"):
        _numbers(fields, name, nodes, finite=False)
    # a split between numbers and missing values has a threshold of infinity
    if any(math.isnan(number) for number in _numbers(fields, "threshold", nodes, finite=False)):
        raise _TextError("'threshold' holds what is no number")
    _whole(fields, "split_feature", nodes, most=features - 1)
    kinds = _whole(fields, "decision_type", nodes, most=11)  # 1 categorical, 2 missing goes left, 4 and 8 what is so
    _check_shape(_whole(fields, "left_child", nodes, least=-leaves, most=nodes - 1),
                 _whole(fields, "right_child", nodes, least=-leaves, most=nodes - 1))  # fmt: skip
    _check_categories(fields, kinds)
    if _one(fields, "is_linear", most=1):
        _check_linear(fields, leaves, features)
    elif any(name in fields for name in _OF_LINEAR):
        raise _TextError("it has linear leaves, and 'is_linear' is 0")
    _numbers(fields, "shrinkage", 1)


def _check_shape(left: Sequence[int], right: Sequence[int]) -> None:
    """Whether every node and leaf but the root is one node's child; LightGBM numbers children above their parents."""
    depths = [0] * len(left)
    seen: set[int] = set()
    for node, children in enumerate(zip(left, right, strict=True)):
        for child in children:
            if child in seen:
                raise _TextError(f"two nodes lead to {_told(child)}")
            if 0 <= child <= node:
                raise _TextError(f"node {node} leads back to node {child}")
            seen.add(child)
            if child > 0:
                depths[child] = depths[node] + 1
    # 2n children, none twice, among the n - 1 nodes below the root and n + 1 leaves: none is left out
    if max(depths, default=0) >= MOST_DEPTH:
        raise _TextError(f"it is deeper than {MOST_DEPTH} levels")


def _told(child: int) -> str:
    return f"node {child}" if child >= 0 else f"leaf {-1 - child}"


def _check_categories(fields: Mapping[str, str], kinds: Sequence[int]) -> None:
    """Whether each node that splits by categories has its own of the sets of bits."""
    sets = _one(fields, "num_cat", most=MOST_LEAVES)
    if any(kind >> 2 == 3 for kind in kinds):
        raise _TextError("'decision_type' holds a kind of missing values that there is none of")
    wanted = [place for place, kind in enumerate(kinds) if kind & 1]
    if not sets:
        if wanted or any(name in fields for name in _OF_CATEGORIES):
            raise _TextError("it splits by categories, and 'num_cat' is 0")
        return
    bounds = _whole(fields, "cat_boundaries", sets + 1)
    words = _whole(fields, "cat_threshold", None, most=2**32 - 1)
    if bounds[0] != 0 or bounds[-1] != len(words) or any(a >= b for a, b in pairwise(bounds)):
        raise _TextError("'cat_boundaries' does not part 'cat_threshold'")
    thresholds = _numbers(fields, "threshold", len(kinds), finite=False)
    for place in wanted:
        if thresholds[place] not in range(sets):
            raise _TextError(f"'threshold' of node {place} is none of its {sets} sets of categories")


def _check_linear(fields: Mapping[str, str], leaves: int, features: int) -> None:
    if leaves == 1 and not any(name in fields for name in _OF_LINEAR):
        return
    _numbers(fields, "leaf_const", leaves)
    counts = _whole(fields, "num_features", leaves, most=features)
    _whole(fields, "leaf_features", sum(counts), most=features - 1)
    _numbers(fields, "leaf_coeff", sum(counts))


def _tail(text: str) -> None:
    """Check what follows the trees: importances, parameters, and pandas's categories, of which there are none here."""
    if not text.startswith(_END_OF_TREES):
        raise _TextError("'tree_sizes' does not lead to the end of the trees")
    importances, parameters, rest = text.removeprefix(_END_OF_TREES), "", ""
    if "\nparameters:\n" in importances:
        importances, _, parameters = importances.partition("\nparameters:\n")
        parameters, found, rest = parameters.partition("\nend of parameters\n")
        if not found:
            raise _TextError("its parameters have no end")
    else:
        importances, found, rest = importances.partition("\npandas_categorical:")
        rest = f"\npandas_categorical:{rest}" if found else ""
    if rest and not _FOOT.fullmatch(rest):
        raise _TextError(f"it ends with {rest.strip()[:40]!r}")
    for what, lines, form in (("importances", importances, _IMPORTANCE), ("parameters", parameters, _PARAMETER)):
        for line in lines.split("\n"):
            if line and line != "feature_importances:" and not form.fullmatch(line):
                raise _TextError(f"{line[:40]!r} stands among its {what}")


def _fields(lines: Sequence[str], known: Sequence[str], optional: Sequence[str]) -> dict[str, str]:
    """Values by name; each name must be known and stand once, and those that are not optional must be there."""
    found: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition("=")
        if name not in known or name in found:
            raise _TextError(f"{line[:40]!r} is no line of it" if name not in known else f"{name!r} stands twice")
        found[name] = value
    for name in known:
        if name not in found and name not in optional:
            raise _TextError(f"it has no {name!r}")
    return found


def _one(fields: Mapping[str, str], name: str, least: int = 0, most: int = 2**31 - 1) -> int:
    return _whole(fields, name, 1, least, most)[0]


def _whole(fields: Mapping[str, str], name: str, count: int | None, least: int = 0, most: int = 2**31 - 1) -> list[int]:
    """The whole numbers of a line; a line that is not there has none. `count` None for any number of them."""
    text = fields.get(name, "").strip(" ")
    if text and not _WHOLE.fullmatch(text):
        raise _TextError(f"{name!r} holds something else than whole numbers")
    found = [int(word) for word in text.split()]
    if count is not None and len(found) != count:
        raise _TextError(f"{name!r} has {len(found)} numbers, {count} are wanted")
    for number in found:
        if not least <= number <= most:
            raise _TextError(f"{name!r} holds {number}, which is not from {least} to {most}")
    return found


def _numbers(
    fields: Mapping[str, str], name: str, count: int, *, or_none: bool = False, finite: bool = True
) -> list[float]:
    """The numbers of a line, as many as `count`, or none; infinity and NaN only where they need not be finite."""
    text = fields.get(name, "").strip(" ")
    if text and not (_NUMBERS if finite else _ANY_NUMBERS).fullmatch(text):
        raise _TextError(f"{name!r} holds something else than {'finite ' if finite else ''}numbers")
    found = [float(word) for word in text.split()]
    if len(found) != count and not (or_none and not found):
        raise _TextError(f"{name!r} has {len(found)} numbers, {count} are wanted")
    if finite and any(abs(number) == float("inf") for number in found):
        raise _TextError(f"{name!r} holds a number beyond the largest")
    return found
