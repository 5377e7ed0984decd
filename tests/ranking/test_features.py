import pyarrow as pa
import pytest

from omnifeat.errors import DataError, SettingError
from ranking.features import choose_features, expand_feature_sets, read_features

TABLE = pa.table(
    {"query": ["a"], "grade": [1], "bm25": [0.5], "cosine": pa.array([None], pa.float32()), "good": [True]}
)


def test_features_are_all_numbers_but_those_left_out() -> None:
    assert choose_features(TABLE, reserved=("query", "grade")) == ["bm25", "cosine", "good"]
    assert choose_features(TABLE, reserved=("grade",), exclude=["good"]) == ["bm25", "cosine"]
    assert choose_features(TABLE, features=["cosine", "bm25", "cosine"]) == ["cosine", "bm25"]


def test_a_label_is_no_feature() -> None:
    with pytest.raises(SettingError, match="'grade' holds the label"):
        choose_features(TABLE, features=["grade"], reserved=("grade",))


def test_unknown_columns_are_named() -> None:
    with pytest.raises(DataError, match=r"'cosin' is not in the table.*did you mean 'cosine'"):
        choose_features(TABLE, features=["cosin"])
    with pytest.raises(SettingError, match="not both"):
        choose_features(TABLE, features=["bm25"], exclude=["good"])
    with pytest.raises(DataError, match="No numeric column is left"):
        choose_features(TABLE.select(["query"]))


def test_feature_sets_take_patterns() -> None:
    columns = ["bm25_title", "bm25_text", "cosine", "price"]
    assert expand_feature_sets(["plain=bm25_*,price", "both = price, cosine ,bm25_text"], columns) == {
        "plain": ["bm25_title", "bm25_text", "price"],
        "both": ["price", "cosine", "bm25_text"],
    }


@pytest.mark.parametrize(
    ("texts", "error", "sentence"),
    [
        (["cosine"], SettingError, "must read NAME=COLUMN"),
        (["a="], SettingError, "must read NAME=COLUMN"),
        (["a=cosine", "a=price"], SettingError, "given twice"),
        (["a=cosin"], DataError, "did you mean 'cosine'"),
        (["a=x*"], DataError, "Column 'x\\*' of feature set 'a'"),
    ],
)
def test_feature_sets_that_are_none_are_refused(texts: list[str], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        expand_feature_sets(texts, ["cosine", "price"])


def test_what_the_encoder_was_trained_on_is_never_a_feature() -> None:
    table = TABLE.append_column("trained_on", pa.array([1])).append_column("ours_trained_on", pa.array(["pair"]))
    assert choose_features(table, reserved=("grade",)) == ["bm25", "cosine", "good"]
    expanded = expand_feature_sets(["all=b*,t*d*,cosine"], [*table.column_names, "total_docs"])
    assert expanded == {"all": ["bm25", "total_docs", "cosine"]}
    with pytest.raises(DataError, match=r"'trained_on' tells which pairs the encoder was trained on"):
        read_features(table.select(["bm25", "trained_on"]))
