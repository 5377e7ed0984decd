from collections import Counter

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from omnifeat.errors import SettingError
from omnifeat.text.counting import HashCounter


def counted(stream, max_tracked, cuts=()):
    counter = HashCounter(max_tracked)
    for part in np.split(np.array(stream, np.uint64), sorted(cuts)):
        counter.add(part)
    keys, counts = counter.items()
    return dict(zip(keys.tolist(), counts.tolist(), strict=True)), counter


def test_counts_are_exact_while_all_distinct_hashes_fit():
    stream = [7, 7, 2**64 - 1, 7, 5]
    assert counted(stream, 3)[0] == {7: 3, 5: 1, 2**64 - 1: 1}
    assert counted(stream, 3)[1].error == 0
    assert counted(stream, 3)[1].total == 5


def test_a_full_table_loses_its_median():
    # 1 1 1 2 2 3 fill three places with counts 3, 2, 1; 4 arrives: the median 2 comes off, leaving 1 with 1;
    # then 4 counts 1
    kept, counter = counted([1, 1, 1, 2, 2, 3, 4], 3)
    assert kept == {1: 1, 4: 1}
    assert counter.error == 2


STREAMS = st.lists(st.integers(1, 30), max_size=200)


@settings(deadline=None, max_examples=150)
@given(STREAMS, st.integers(1, 12), st.data())
def test_bound_of_the_error_and_independence_of_cuts(stream, max_tracked, data):
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=5))
    kept, counter = counted(stream, max_tracked, cuts)
    uncut, uncut_counter = counted(stream, max_tracked)
    assert (kept, counter.error) == (uncut, uncut_counter.error)
    assert len(kept) <= max_tracked
    assert counter.error <= 2 * len(stream) / max_tracked
    truth = Counter(stream)
    for key, count in truth.items():
        assert count - counter.error <= kept.get(key, 0) <= count


def test_grows_and_keeps_every_count():
    stream = np.random.default_rng(0).integers(1, 2**63, 60_000).astype(np.uint64)
    stream = np.concatenate([stream, stream[:20_000]])
    kept, counter = counted(stream, 100_000, cuts=[100, 30_000, 50_000])
    assert kept == Counter(stream.tolist())
    assert counter.error == 0


def test_frequent_hashes_survive_a_long_tail():
    rng = np.random.default_rng(1)
    tail = rng.integers(1_000, 2**62, 50_000)
    stream = rng.permutation(np.concatenate([tail, np.repeat(np.arange(1, 6), 2_000)])).astype(np.uint64)
    kept, counter = counted(stream, 1_000)
    assert 0 < counter.error <= 2 * len(stream) / 1_000
    assert sorted(kept, key=kept.get)[-5:] == sorted(range(1, 6), key=kept.get)
    assert all(2_000 - counter.error <= kept[key] <= 2_000 for key in range(1, 6))


def test_at_least_one_hash_is_tracked():
    with pytest.raises(SettingError, match=r"'max_tracked' setting must be at least 1\. Got 0 instead"):
        HashCounter(0)
