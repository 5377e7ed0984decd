from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnifeat.errors import DataError, OutputError, SettingError
from omnifeat.importers.delimited import DelimitedTable
from omnifeat.importers.staging import Staging

Row = tuple[str | None, str | None]
cells = st.one_of(st.none(), st.sampled_from(["a", "b", "1:a", "", "-", "a1:b"]))


def batches(rows: list[Row], sizes: list[int]) -> Iterator[pa.RecordBatch]:
    start = 0
    for size in [*sizes, len(rows)]:
        part = rows[start : start + size]
        start += size
        yield pa.RecordBatch.from_pydict(
            {
                "key": pa.array([row[0] for row in part], pa.string()),
                "other": pa.array([row[1] for row in part], pa.string()),
            }
        )


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(cells, cells), max_size=40), st.lists(st.integers(0, 9), max_size=5))
def test_repeated_rows_are_those_of_a_plain_scan(rows: list[Row], sizes: list[int]) -> None:
    seen: set[Row] = set()
    kept = [row for row in rows if not (row in seen or seen.add(row))]  # type: ignore[func-returns-value]
    unkeyed = [row for row in kept if row[0] is not None]
    with Staging.open("64MB") as staging:
        assert staging.load("t", batches(rows, sizes), ["key"], ["key", "other"]) == len(rows)
        assert staging.reject_repeated("t") == len(rows) - len(kept)
        assert staging.reject("t", "t.key IS NULL") == len(kept) - len(unkeyed)
        assert staging.reject("t", "t.key IS NULL") == 0
        conflict = staging.first_conflict("t", "key")
        keys = [row[0] for row in unkeyed]
        twice = [key for key in keys if keys.count(key) > 1]
        if twice:
            places = [place for place, row in enumerate(rows, start=1) if row[0] == twice[0]]
            firsts = list(dict.fromkeys(rows[place - 1] for place in places))
            assert conflict == (twice[0], rows.index(firsts[0]) + 1, rows.index(firsts[1]) + 1)
        else:
            assert conflict is None
        # other batches the second time: rows count, not batches
        found = [
            tuple(row.values()) for batch in staging.kept("t", batches(rows, sizes[::-1])) for row in batch.to_pylist()
        ]
    assert found == unkeyed


def test_results_in_order_and_several_at_once() -> None:
    rows: list[Row] = [(str(number % 7), str(number)) for number in range(200_000)]
    with Staging.open("64MB") as staging:
        staging.load("t", batches(rows, [50_000]), ["key", "other"])
        forth = staging.batches("SELECT row FROM t ORDER BY row")
        back = staging.batches("SELECT row FROM t ORDER BY row DESC")
        first, last = next(forth), next(back)
        assert first.column(0)[0].as_py() == 1
        assert last.column(0)[0].as_py() == 200_000
        rest = [number for batch in [first, *forth] for number in batch.column(0).to_pylist()]
        assert rest == list(range(1, 200_001))
        assert max(batch.num_rows for batch in [last, *back]) <= 65_536


def test_a_memory_limit_that_is_no_size() -> None:
    with pytest.raises(SettingError, match="memory limit"), Staging.open("much"):
        raise AssertionError


def test_an_error_of_the_source_passes_through_and_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def source() -> Iterator[pa.RecordBatch]:
        yield from batches([("a", "b")], [])
        assert list(tmp_path.iterdir())
        raise FileNotFoundError(2, "gone", "source.csv")

    with pytest.raises(FileNotFoundError, match="gone"), Staging.open() as staging:
        staging.load("t", source(), ["key"])
    assert not list(tmp_path.iterdir())


def test_the_limits_are_told_in_a_sentence() -> None:
    with pytest.raises(OutputError, match="raise it with --memory-limit"), Staging.open("8MB") as staging:
        staging.rows("SELECT list(range) FROM range(10000000)")


def test_rows_are_told_as_they_are_read() -> None:
    told: list[int] = []
    with Staging.open(advance=told.append) as staging:
        staging.load("t", batches([("a", "b")] * 3, [2]), ["key"], ["key"])
        staging.reject_repeated("t")
        assert len(list(staging.kept("t", batches([("a", "b")] * 3, [])))) == 1
    assert sum(told) == 6


def test_no_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(OutputError, match="set TMPDIR"), Staging.open():
        raise AssertionError


def test_parts_quotes_and_line_ends(tmp_path: Path) -> None:
    (tmp_path / "t0").write_bytes(
        b'a\tb\tc\n1\t"two\nlines"\t"with ""quotes"""\r\n2\t 24" wide \t\n\n3\t"tab\there"\t \n'
    )
    (tmp_path / "t1").write_bytes(b"\xef\xbb\xbfb\ta\tx\r\nz\t4\t5")
    table = DelimitedTable([tmp_path / "t0", tmp_path / "t1"], ["a", "b"], ["c"])
    rows = [tuple(row.values()) for batch in table.batches() for row in batch.to_pylist()]
    assert rows == [
        ("1", "two\nlines", 'with "quotes"'), ("2", '24" wide', None), ("3", "tab\there", None), ("4", "z", None)
    ]  # fmt: skip
    assert table.place(3) == f"{tmp_path / 't0'}, row 3"
    assert table.place(4) == f"{tmp_path / 't1'}, row 1"
    assert table.has("c")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"a\tb\n", "has no rows"),
        (b"a\tx\n1\t2\n", "has no column 'b'"),
        (b"a\tb\tb\n1\t2\t3\n", "two columns named 'b'"),
        (b"a\tb\n1\t2\n3\n", "line 3 has 1 columns"),
        (b"a\tb\n1\t2\n3\t4\t5\n", "line 3 has 3 columns"),
        (b"a\tb\n1\t2\n3\t\xff\n", "row 2, column 'b' is not UTF-8"),
        (b'a\tb\n1\t2\n3\t"open\n4\t5\n', "a quote that is never closed"),
    ],
)
def test_bad_tables(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(DataError, match=said):
        list(DelimitedTable([tmp_path / "t"], ["a", "b"]).batches())


def test_no_bar_on_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    setting = "current_setting('enable_progress_bar')"
    with Staging.open() as staging:
        assert staging.rows(f"SELECT {setting}") == [(False,)]
        (batch,) = staging.batches(f"SELECT {setting}")
        assert batch.column(0).to_pylist() == [False]
    assert capfd.readouterr().out == ""
