"""LightGBM's text form is checked before LightGBM, which trusts it, parses it."""

import re
from pathlib import Path

import lightgbm
import numpy as np
import pytest

from omnifeat.errors import DataError
from ranking.model_text import check_model_text

FILE = Path("model.txt")


def _text(**parameters: object) -> str:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(600, 4))
    values[:, 3] = rng.integers(0, 12, 600)
    values[::5, 1] = np.nan
    labels = (values[:, 0] + 3 * (values[:, 3] % 3 == 0) > 1).astype(np.int64)
    if parameters.get("linear_tree"):
        values = np.nan_to_num(values)
    categorical = [3] if parameters.pop("categorical", False) else []
    data = lightgbm.Dataset(values, label=labels, categorical_feature=categorical)
    settings = {"objective": "binary", "num_leaves": 6, "verbosity": -1, "num_threads": 1, "min_data_per_group": 5}
    return str(lightgbm.train({**settings, **parameters}, data, 3).model_to_string())


PLAIN = _text()
CATEGORIES = _text(categorical=True)
LINEAR = _text(linear_tree=True)


def _edited(text: str, pattern: str, to: str) -> str:
    """The text with the first match replaced, and sizes of trees that fit again."""
    found, count = re.subn(pattern, to, text, count=1, flags=re.MULTILINE)
    assert count == 1
    return _sized(found)


def _sized(text: str) -> str:
    body = text.partition("\n\n")[2].partition("end of trees\n")[0]
    sizes = [len(f"Tree={tree}".encode()) for tree in body.split("Tree=")[1:]]
    return re.sub(r"^tree_sizes=.*$", f"tree_sizes={' '.join(map(str, sizes))}", text, flags=re.MULTILINE)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"categorical": True},
        {"linear_tree": True},
        {"objective": "multiclass", "num_class": 2},
        {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
        {"boosting": "dart"},
        {"min_gain_to_split": 1e9},
        {"monotone_constraints": [1, 0, -1, 0]},
        {"interaction_constraints": [[0, 1], [2, 3]]},
        {"objective": "regression", "reg_sqrt": True},
    ],
)
def test_what_lightgbm_writes_passes(parameters: dict[str, object]) -> None:
    text = _text(**parameters)
    outputs = 2 if "num_class" in parameters else 1
    found = check_model_text(text, FILE)
    assert (found.features, found.outputs) == (4, outputs)
    assert found.trees == text.count("\nTree=")


DAMAGES = {
    "another first word": (PLAIN, r"\Atree", "forest"),
    "more features than names": (PLAIN, r"^max_feature_idx=3", "max_feature_idx=2000000000"),
    "features below none": (PLAIN, r"^max_feature_idx=3", "max_feature_idx=-5"),
    "more classes than trees": (PLAIN, r"^num_tree_per_iteration=1", "num_tree_per_iteration=2147483647"),
    "no classes": (PLAIN, r"^num_class=1", "num_class=0"),
    "classes of the objective": (PLAIN, r"^objective=.*$", "objective=multiclass num_class:900000"),
    "a name with a blank": (PLAIN, r"^feature_names=Column_0", "feature_names=Column 0"),
    "infos of another form": (PLAIN, r"^feature_infos=\[", "feature_infos=[["),
    "a line of its own": (PLAIN, r"^version=v4", "version=v4\nown=1"),
    "a line twice": (PLAIN, r"^num_class=1", "num_class=1\nnum_class=1"),
    "a line less": (PLAIN, r"^max_feature_idx=3\n", ""),
    "more leaves than values": (PLAIN, r"^num_leaves=6", "num_leaves=7"),
    "leaves beyond memory": (PLAIN, r"^num_leaves=6", "num_leaves=2000000000"),
    "no leaves": (PLAIN, r"^num_leaves=6", "num_leaves=0"),
    "a feature that is not there": (PLAIN, r"^split_feature=\d", "split_feature=4"),
    "a feature below none": (PLAIN, r"^split_feature=\d", "split_feature=-1"),
    "a child beyond all": (PLAIN, r"^left_child=\S+", "left_child=1000000"),
    "a leaf beyond all": (PLAIN, r"^left_child=\S+", "left_child=-100"),
    "a child that is its parent": (PLAIN, r"^left_child=\S+", "left_child=0"),
    "a value that is none": (PLAIN, r"^leaf_value=\S+", "leaf_value=nan"),
    "a value beyond all": (PLAIN, r"^leaf_value=\S+", "leaf_value=1e999"),
    "a value of Python's": (PLAIN, r"^leaf_value=\S+", "leaf_value=1_0"),
    "a threshold that is none": (PLAIN, r"^threshold=\S+", "threshold=nan"),
    "a kind that is none": (PLAIN, r"^decision_type=\S+", "decision_type=14"),
    "categories that are not there": (PLAIN, r"^decision_type=\S+", "decision_type=1"),
    "categories by count alone": (PLAIN, r"^num_cat=0", "num_cat=3"),
    "categories beyond memory": (CATEGORIES, r"^num_cat=\d+", "num_cat=131072"),
    "bounds beyond the bits": (CATEGORIES, r"^cat_boundaries=0 \d+", "cat_boundaries=0 99999"),
    "bounds that fall": (CATEGORIES, r"^cat_boundaries=0 \d+", "cat_boundaries=0 0"),
    "bits that are none": (CATEGORIES, r"^cat_threshold=\d+", "cat_threshold=99999999999"),
    "features of a leaf": (LINEAR, r"^num_features=\d", "num_features=4"),
    "a leaf's feature that is not there": (LINEAR, r"^leaf_features= *\d", "leaf_features=9"),
    "linear leaves without their lines": (PLAIN, r"^is_linear=0", "is_linear=1"),
    "a tree's place": (PLAIN, r"^Tree=1", "Tree=7"),
    "a parameter that is none": (PLAIN, r"^\[boosting: gbdt\]", '[boosting: "gbdt]'),
    "a null character": (PLAIN, r"^\[boosting: gbdt\]", "[boosting: g\0]"),
    "categories of pandas": (PLAIN, r"^pandas_categorical:null", "pandas_categorical:[[[["),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_a_crafted_text_is_refused_before_lightgbm_reads_it(name: str) -> None:
    with pytest.raises(DataError, match=r"model\.txt is no model that LightGBM wrote") as error:
        check_model_text(_edited(*DAMAGES[name]), FILE)
    assert "\n" not in str(error.value)


def test_a_tree_that_leads_back_or_twice_to_a_place_is_refused() -> None:
    left = re.search(r"^left_child=(.*)$", PLAIN, re.MULTILINE)
    assert left is not None
    children = left.group(1).split()
    inner = next(place for place, child in enumerate(children) if int(child) > 0)
    for changed in (
        [*children[:inner], str(inner), *children[inner + 1 :]],
        [*children[:-1], children[0]],
    ):
        text = _sized(PLAIN.replace(left.group(0), f"left_child={' '.join(changed)}", 1))
        with pytest.raises(DataError, match=r"leads back|two nodes lead"):
            check_model_text(text, FILE)


def test_sizes_of_trees_must_lead_from_tree_to_tree() -> None:
    sizes = re.search(r"^tree_sizes=(.*)$", PLAIN, re.MULTILINE)
    assert sizes is not None
    for wrong in ("1 1 1", "99999999999", "-5 -5 -5", "", "100 200 2147483647"):
        with pytest.raises(DataError, match=r"no model that LightGBM wrote"):
            check_model_text(PLAIN.replace(sizes.group(0), f"tree_sizes={wrong}"), FILE)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_text_that_is_cut_is_refused_or_whole_where_it_counts(share: float) -> None:
    end = PLAIN.index("end of trees") + len("end of trees\n")
    with pytest.raises(DataError, match=r"no model that LightGBM wrote"):
        check_model_text(PLAIN[: int(end * share)], FILE)
