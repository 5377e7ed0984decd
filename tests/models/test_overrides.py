"""Settings changed one by one."""

import pytest

from omnifeat.errors import SettingError
from omnifeat.models.config import EncoderConfig, preset
from omnifeat.models.overrides import with_overrides


def test_named_settings_change_and_the_others_stay():
    before = preset("tiny")
    after = with_overrides(
        before, ["entity.trigrams=0", "entity.hidden=[7, 8]", "query.prefix=query: ", "matryoshka.16=0.5", "dim=48"]
    )
    assert (after.entity.trigrams, after.entity.hidden, after.query.prefix) == (0, (7, 8), "query: ")
    assert (after.matryoshka, after.dim) == ({16: 0.5}, 48)
    assert after.entity.words == before.entity.words
    assert before == preset("tiny")


def test_nothing_to_change_is_the_same():
    assert with_overrides(preset("paper"), []) == preset("paper")
    assert with_overrides(EncoderConfig(), ["entity.max_engaged_queries=null"]).entity.max_engaged_queries is None


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("entity.trigrams", "name=value"),
        ("entity.trigram=3", r"no setting 'entity.trigram'.*entity\.trigrams"),
        ("entity.trigrams.more=3", "no setting 'entity.trigrams.more'"),
        ("entity.trigrams=many", "entity.trigrams.*integer"),
    ],
)
def test_wrong_assignments_are_refused(assignment, message):
    with pytest.raises(SettingError, match=message):
        with_overrides(preset("tiny"), [assignment])
