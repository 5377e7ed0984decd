"""Settings that come from a file have the types of their class, or are refused by name."""

from collections.abc import Mapping

import pytest

from omnifeat.data.saved_settings import saved_settings
from omnifeat.errors import DataError


class Estimator:
    """What settings are for."""

    def __init__(
        self,
        *,
        rounds: int = 3,
        rate: float = 0.1,
        lengths: tuple[int, int] = (1, 2),
        gains: Mapping[str, float] | None = None,
    ) -> None:
        self.rounds, self.rate, self.lengths, self.gains = rounds, rate, lengths, gains


def test_settings_come_back_as_the_class_takes_them() -> None:
    found = saved_settings(Estimator, {"rate": 1, "lengths": [2, 5]}, where="model.json", remedy="train it again")
    assert found == {"rate": 1.0, "lengths": (2, 5)}


@pytest.mark.parametrize(
    "values",
    [
        {"rounds": "3"},
        {"rounds": True},
        {"rounds": None},
        {"rate": [1]},
        {"lengths": [1]},
        {"gains": {"a": "b"}},
        {"own": 1},
        3,
        None,
    ],
)
def test_a_setting_of_another_type_or_name_is_refused(values: object) -> None:
    with pytest.raises(DataError, match=r"^'model\.json, settings' .*; train it again\.$"):
        saved_settings(Estimator, values, where="model.json", remedy="train it again")
