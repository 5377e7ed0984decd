"""Agreement of raters: published examples, figures by hand, what may not matter, and what is left out."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from evaluation.agreement import rater_agreement
from omnifeat.cli import app
from omnifeat.data.dataset import Dataset, DatasetInfo, DatasetWriter
from omnifeat.errors import DataError, SettingError

N = None
# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), example C: 4 raters, 12 units, 5 values
PUBLISHED = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
    [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
]


def table_of(matrix: list[list[float | None]], queries: int = 100) -> pd.DataFrame:
    """A row of the matrix is a rater, a column a pair; `queries` share the pairs in turn."""
    rows = [
        (f"q{unit % queries}", f"e{unit}", float(grade), f"r{rater}")
        for rater, row in enumerate(matrix)
        for unit, grade in enumerate(row)
        if grade is not None
    ]
    return pd.DataFrame(rows, columns=["query", "entity_id", "grade", "rater"])


@pytest.mark.parametrize(("metric", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_the_published_example(metric: str, alpha: float) -> None:
    found = rater_agreement(table_of(PUBLISHED), 3, metric=metric, resamples=0)
    assert found.alpha.value == pytest.approx(alpha, abs=5e-4)
    # the last unit has one rater; all others two or more
    assert (found.pairs, found.judgments, found.raters, found.of_one_rater) == (11, 40, 4, 1)


def test_shares_by_hand() -> None:
    # pair 1: 2, 2, 3: of three pairs of judgments one is equal, each counts 1/2 twice: 1 of 3
    # pair 2: 0, 1: not equal, 0 of 2. Equal: 1 / 5; from 3 on are relevant: (1 + 2) / 5 on the same side
    found = rater_agreement(table_of([[2, 0], [2, 1], [3, N]]), 3, resamples=0)
    assert found.same_grade.value == pytest.approx(1 / 5)
    assert found.same_side.value == pytest.approx(3 / 5)
    # nominal alpha by hand: frequencies 0:1, 1:1, 2:2, 3:1 of n = 5; expected equal (2 * 1) / (5 * 4) = 0.1
    nominal = rater_agreement(table_of([[2, 0], [2, 1], [3, N]]), 3, metric="nominal", resamples=0)
    assert nominal.alpha.value == pytest.approx(1 - (4 / 5) / (1 - 0.1))


def test_perfect_random_and_constant() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, 400).tolist()
    perfect = rater_agreement(table_of([truth, truth, truth]), 3, resamples=50)
    assert (perfect.alpha.value, perfect.alpha.low, perfect.alpha.high) == (1, 1, 1)
    assert perfect.same_grade.value == perfect.same_side.value == 1
    random = rater_agreement(table_of(rng.integers(0, 5, (3, 400)).tolist()), 3, resamples=200)
    assert random.alpha.low < 0 < random.alpha.high
    assert abs(random.alpha.value) < 0.06
    constant = rater_agreement(table_of([[2] * 10, [2] * 10]), 3, resamples=10)
    assert math.isnan(constant.alpha.value)
    assert constant.same_grade.value == 1


def test_opposite_judgments_are_worse_than_chance() -> None:
    assert rater_agreement(table_of([[0, 4, 0, 4], [4, 0, 4, 0]]), 3, resamples=0).alpha.value < -0.5


matrices = (
    st.integers(2, 4)
    .flatmap(
        lambda raters: st.lists(
            st.lists(st.none() | st.integers(0, 4), min_size=raters, max_size=raters), min_size=1, max_size=12
        )
    )
    .filter(lambda units: any(sum(grade is not None for grade in unit) >= 2 for unit in units))
)


def plain_alpha(units: list[list[int | None]]) -> float:
    """Krippendorff's formula, interval distances, pair by pair."""
    kept = [[g for g in unit if g is not None] for unit in units]
    kept = [unit for unit in kept if len(unit) >= 2]
    values = [g for unit in kept for g in unit]
    observed = sum(
        (a - b) ** 2 / (len(unit) - 1)
        for unit in kept
        for i, a in enumerate(unit)
        for j, b in enumerate(unit)
        if i != j
    ) / len(values)
    expected = sum((a - b) ** 2 for i, a in enumerate(values) for j, b in enumerate(values) if i != j)
    expected /= len(values) * (len(values) - 1)
    return math.nan if expected == 0 else 1 - observed / expected


@settings(deadline=None, max_examples=60)
@given(matrices)
def test_equals_the_plain_formula(units: list[list[int | None]]) -> None:
    matrix = [list(row) for row in zip(*units, strict=True)]
    found = rater_agreement(table_of(matrix), 3, metric="interval", resamples=0).alpha.value
    assert found == pytest.approx(plain_alpha(units), abs=1e-9, nan_ok=True)


@settings(deadline=None, max_examples=40)
@given(matrices, st.randoms(use_true_random=False), st.sampled_from(["ordinal", "interval", "nominal"]))
def test_the_order_of_rows_and_the_names_of_raters_do_not_matter(units, random, metric) -> None:
    rows = table_of([list(row) for row in zip(*units, strict=True)], queries=3)
    plain = rater_agreement(rows, 3, metric=metric, resamples=10)
    order = list(range(len(rows)))
    random.shuffle(order)
    # raters are renamed anew for each pair
    renamed = rows.groupby("entity_id")["rater"].transform(
        lambda names: random.sample([f"x{n}" for n in range(9)], len(names))
    )
    other = rater_agreement(rows.assign(rater=renamed).iloc[order], 3, metric=metric, resamples=10)
    for name in ("alpha", "same_grade", "same_side"):
        one, two = getattr(plain, name), getattr(other, name)
        assert [two.value, two.low, two.high] == pytest.approx([one.value, one.low, one.high], abs=1e-9, nan_ok=True)


@settings(deadline=None, max_examples=40)
@given(matrices, st.sampled_from(["ordinal", "interval", "nominal"]))
def test_the_resampled_formula_is_that_of_the_library(units: list[list[int | None]], metric: str) -> None:
    # two queries that hold the same judgments: each resample is the data, twice
    rows = table_of([list(row) for row in zip(*units, strict=True)], queries=1)
    twice = pd.concat([rows, rows.assign(query="other")])
    found = rater_agreement(twice, 3, metric=metric, resamples=5).alpha
    assert [found.low, found.high] == pytest.approx([found.value] * 2, abs=1e-9, nan_ok=True)


def test_what_is_left_out_is_counted() -> None:
    rows = table_of([[1, 2, 3], [1, N, 3]])
    rows.loc[len(rows)] = ["q9", "e9", 2.0, None]
    found = rater_agreement(rows, 2, resamples=0)
    assert (found.pairs, found.judgments, found.of_one_rater, found.without_rater) == (2, 4, 1, 1)


def test_ids_of_two_types_are_two_pairs() -> None:
    rows = table_of([[1, 2], [1, 2]]).assign(entity_type="pin")
    both = pd.concat([rows, rows.assign(entity_type="product", grade=lambda table: table["grade"] + 1)])
    assert rater_agreement(both, 2, resamples=0).pairs == 4


def test_many_grades_and_one_query_have_no_intervals() -> None:
    many = rater_agreement(table_of([list(range(70)), list(range(70))]), 2, resamples=10)
    assert many.alpha.value == 1
    assert math.isnan(many.alpha.low)
    one = rater_agreement(table_of([[1, 2, 3], [1, 2, 4]], queries=1), 2, resamples=10)
    assert math.isnan(one.same_grade.low)


def test_bad_input() -> None:
    good = table_of([[1, 2], [1, 2]])
    with pytest.raises(DataError, match="rater 'r0' judged query 'q0' with entity 'e0' more than once"):
        rater_agreement(pd.concat([good, good.iloc[:1]]), 2)
    with pytest.raises(DataError, match="none of the 2 judged pairs was judged by two raters"):
        rater_agreement(good[good["rater"] == "r0"], 2)
    with pytest.raises(DataError, match="row 2 of the judgments has grade nan for query 'q1'"):
        rater_agreement(good.assign(grade=[1, float("nan"), 1, 2]), 2)
    with pytest.raises(SettingError, match="no metric of agreement 'ratio'"):
        rater_agreement(good, 2, metric="ratio")
    with pytest.raises(SettingError, match="must lie between 0 and 1"):
        rater_agreement(good, 2, level=1.5)


def write(path: Path, columns: dict[str, list]) -> Dataset:
    with DatasetWriter(path, DatasetInfo(name="rated", source="made by hand", licence="none")) as writer:
        writer.write("judgments", pa.table(columns))
    return Dataset.open(path)


@pytest.fixture
def rated(tmp_path: Path) -> Dataset:
    rows = table_of([[4, 0, 2, 3], [4, 1, 2, N], [3, 0, N, N]], queries=2)
    countries = rows["entity_id"].map({"e0": "US", "e1": "US", "e2": "FR", "e3": "DE"}).tolist()
    columns = {name: rows[name].tolist() for name in rows} | {"country": countries, "entity_type": ["pin"] * len(rows)}
    return write(tmp_path / "rated", columns)


def agreement(*arguments: object):
    return CliRunner().invoke(app, ["evaluate", "agreement", *map(str, arguments)])


def test_the_command(rated: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = agreement(rated.path, "-o", out, "--bootstrap", 20)
    assert result.exit_code == 0, result.output
    written = json.loads((out / "agreement.json").read_text())
    assert written["grouped_by"] == "country"
    assert written["relevant_grade"] == 3
    assert written["groups"]["DE"] is None
    # US: 4, 4, 3 and 0, 1, 0: of two times three pairs of judgments one is equal each
    assert written["groups"]["US"]["same_grade"]["value"] == pytest.approx(1 / 3)
    assert written["overall"]["of_one_rater"] == 1
    assert sorted(path.name for path in out.iterdir()) == ["agreement.json", "agreement.md"]
    assert "| US | " in (out / "agreement.md").read_text()
    printed = json.loads(agreement(rated.path, "-o", out, "--bootstrap", 20, "--overwrite", "--json").stdout)
    assert {name: value for name, value in printed.items() if name != "files"} == written


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (("--metric", "ratio"), "there is no metric of agreement 'ratio'; choose one of ordinal"),
        (("--by", "planet"), "planet"),
        (("--entity-type", "product"), "no judgments with entity_type 'product'"),
        (("--level", "2"), "must lie between 0 and 1, got 2"),
    ],
)
def test_bad_input_is_one_sentence(extra: tuple[str, ...], said: str, rated: Dataset, tmp_path: Path) -> None:
    result = agreement(rated.path, "-o", tmp_path / "out", *extra)
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert not (tmp_path / "out").exists()


def test_judgments_without_raters(dataset: Dataset, tmp_path: Path) -> None:
    result = agreement(dataset.path, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "rater" in result.stderr
    assert not (tmp_path / "out").exists()
