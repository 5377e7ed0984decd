import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from omnifeat.errors import SettingError
from omnifeat.text import TokenBags, gather_bags


def bags_of(lists):
    flat = [token for ids in lists for token in ids]
    return TokenBags(
        ids=np.array(flat, np.int32), offsets=np.cumsum([0, *(len(ids) for ids in lists)]).astype(np.int64)
    )


def lists_of(bags):
    return [bags.ids[a:b].tolist() for a, b in zip(bags.offsets, bags.offsets[1:], strict=False)]


def integers(values):
    return np.array(values, np.int64)


def test_length_and_lengths():
    bags = bags_of([[5, 6], [], [7]])
    assert len(bags) == 3
    assert bags.lengths.tolist() == [2, 0, 1]


def test_joins_bags_of_two_sources_by_owner():
    titles = bags_of([[1, 2], [3], []])
    queries = bags_of([[10], [11, 12]])
    # owner 0: title 1 then query 1; owner 1: nothing; owner 2: title 0 then queries 0 and 1
    joined = gather_bags(
        [(titles, integers([1, 0]), integers([0, 2])), (queries, integers([0, 1, 1]), integers([2, 2, 0]))], 3
    )
    assert lists_of(joined) == [[3, 11, 12], [], [1, 2, 10, 11, 12]]
    assert joined.ids.dtype == np.int32
    assert joined.offsets.dtype == np.int64


ID_LISTS = st.lists(st.lists(st.integers(0, 99), max_size=4), min_size=1, max_size=5)


@settings(deadline=None, max_examples=60)
@given(st.data(), st.lists(ID_LISTS, max_size=3), st.integers(1, 4))
def test_gathering_equals_a_loop(data, sources, n):
    parts, expected = [], [[] for _ in range(n)]
    for source in sources:
        picks = data.draw(st.lists(st.tuples(st.integers(0, len(source) - 1), st.integers(0, n - 1)), max_size=6))
        parts.append((bags_of(source), integers([row for row, _ in picks]), integers([to for _, to in picks])))
        for row, to in picks:
            expected[to] += source[row]
    assert lists_of(gather_bags(parts, n)) == expected


def test_nothing_to_gather():
    assert lists_of(gather_bags([], 2)) == [[], []]
    assert len(gather_bags([], 0)) == 0
    assert lists_of(gather_bags([(bags_of([]), integers([]), integers([]))], 1)) == [[]]


def test_take_and_concatenate():
    bags = bags_of([[1], [2, 3], []])
    assert lists_of(bags.take(integers([1, 2, 1]))) == [[2, 3], [], [2, 3]]
    assert lists_of(TokenBags.concatenate([bags, bags_of([[9]])])) == [[1], [2, 3], [], [9]]
    assert lists_of(TokenBags.concatenate([])) == []
    assert TokenBags.concatenate([bags]).ids.dtype == np.int32


@pytest.mark.parametrize(
    ("rows", "owner", "message"),
    [
        ([0, 3], [0, 0], "has row 3; it must lie between 0 and 2"),
        ([-1], [0], "has row -1; it must lie between 0 and 2"),
        ([0], [2], "has owner 2; it must lie between 0 and 1"),
        ([0], [-1], "has owner -1; it must lie between 0 and 1"),
        ([0, 1], [0], "has 2 rows and 1 owners; give one owner per row"),
    ],
)
def test_rows_and_owners_are_checked(rows, owner, message):
    with pytest.raises(SettingError, match=message):
        gather_bags([(bags_of([[1], [2], [3]]), integers(rows), integers(owner))], 2)
