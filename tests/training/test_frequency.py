import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from omnifeat.errors import SettingError
from omnifeat.training.frequency import CountMinSketch, ExactCounter, FrequencyEstimator, Uncorrected, UniformFrequency

streams = st.lists(st.lists(st.integers(0, 300), max_size=40), min_size=1, max_size=8)


def ids(*values: int) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


@pytest.mark.parametrize("estimator", [ExactCounter(), CountMinSketch(width=2**12)])
def test_golden_log_q(estimator: FrequencyEstimator) -> None:
    estimator.update(ids(3, 3, 5, 9))
    estimator.update(ids(3, 5, 5, 5))
    # eight ids in all: 3 three times, 5 four times, 9 once; 7 was not seen and counts as seen once
    expected = [math.log(3 / 8), math.log(4 / 8), math.log(1 / 8), math.log(1 / 8)]
    log_q = estimator.log_q(ids(3, 5, 9, 7))
    assert log_q.dtype == np.float32
    np.testing.assert_allclose(log_q, expected, rtol=1e-6)


@settings(deadline=None, max_examples=60)
@given(streams, st.sampled_from([1, 4, 16, 64]))
def test_sketch_never_underestimates(stream: list[list[int]], width: int) -> None:
    exact, sketch = ExactCounter(), CountMinSketch(depth=2, width=width)
    for batch in stream:
        exact.update(ids(*batch))
        sketch.update(ids(*batch))
    asked = np.arange(301, dtype=np.int64)
    assert (sketch.counts(asked) >= exact.counts(asked)).all()
    assert (sketch.log_q(asked) >= exact.log_q(asked)).all()


@settings(deadline=None, max_examples=40)
@given(streams)
def test_wide_sketch_is_exact(stream: list[list[int]]) -> None:
    exact, sketch = ExactCounter(), CountMinSketch(depth=2, width=2**20)
    for batch in stream:
        exact.update(ids(*batch))
        sketch.update(ids(*batch))
    seen = np.unique(ids(*[value for batch in stream for value in batch]))
    np.testing.assert_array_equal(sketch.counts(seen), exact.counts(seen))
    np.testing.assert_array_equal(sketch.log_q(seen), exact.log_q(seen))


@pytest.mark.parametrize("make", [ExactCounter, lambda: CountMinSketch(width=64)])
def test_state_goes_round(make: object) -> None:
    one, two = make(), make()  # type: ignore[operator]
    one.update(ids(1, 2, 2, 60))
    two.load_state_dict(one.state_dict())
    one.update(ids(2, 61))
    two.update(ids(2, 61))
    asked = np.arange(70, dtype=np.int64)
    np.testing.assert_array_equal(one.log_q(asked), two.log_q(asked))


def test_state_is_a_copy() -> None:
    counter = ExactCounter()
    counter.update(ids(1))
    state = counter.state_dict()
    counter.update(ids(1))
    assert state["counts"][1] == 1


def test_sketch_counts_any_int64() -> None:
    sketch = CountMinSketch(width=2**10)
    sketch.update(ids(-5, 2**62, -5))
    np.testing.assert_array_equal(sketch.counts(ids(-5, 2**62)), [2, 1])


def test_uniform_frequency_is_the_law_of_a_uniform_draw() -> None:
    uniform = UniformFrequency(250)
    uniform.update(ids(1, 1, 1))
    np.testing.assert_allclose(uniform.log_q(ids(1, 2)), [-math.log(250)] * 2, rtol=1e-6)


def test_wrong_settings() -> None:
    with pytest.raises(SettingError, match=r"'width' parameter of CountMinSketch must be a power of two\. Got 100"):
        CountMinSketch(width=100)
    with pytest.raises(SettingError, match="'depth' parameter"):
        CountMinSketch(depth=0)
    with pytest.raises(SettingError, match=r"must be row numbers from 0\. Got -1"):
        ExactCounter().update(ids(-1))
    with pytest.raises(SettingError, match="'size' parameter"):
        UniformFrequency(0)
    with pytest.raises(SettingError, match="resume with the settings the run was started with"):
        CountMinSketch(width=8).load_state_dict(CountMinSketch(width=16).state_dict())


def test_uncorrected_is_zero_for_every_id() -> None:
    estimator = Uncorrected()
    estimator.update(np.array([3, 3, 3, 1]))
    assert estimator.log_q(np.array([3, 1, 7])).tolist() == [0, 0, 0]
    estimator.load_state_dict(estimator.state_dict())
