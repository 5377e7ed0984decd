from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from omnifeat.engines import REFUSED, Engine, LocalEngine, RefusedRowError, blank_in_sql
from omnifeat.errors import DataError, OutputError, SettingError


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """Where the engine makes its temporary folders, to see that nothing stays."""
    folder = tmp_path / "room"
    folder.mkdir()
    return folder


@pytest.fixture
def engine(room: Path) -> Engine:
    return LocalEngine("100MB", threads=1, temporary=room)


def write(path: Path, **columns: list[object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def test_a_query_over_two_tables_of_several_files(engine: Engine, room: Path, tmp_path: Path) -> None:
    tables = {
        "a": [write(tmp_path / "1.parquet", k=[1, 2]), write(tmp_path / "2.parquet", k=[3])],
        "b": [write(tmp_path / "b.parquet", k=[3, 1], name=["three", "one"])],
    }
    out = tmp_path / "out.parquet"
    assert engine.write("SELECT name FROM a JOIN b USING (k)", tables, out) == 2
    assert sorted(pq.read_table(out)["name"].to_pylist()) == ["one", "three"]
    assert engine.rows("SELECT sum(k) FROM a", tables) == [(6,)]
    assert list(room.iterdir()) == []


def test_names_that_are_patterns_or_quotes_are_read_as_they_stand(engine: Engine, tmp_path: Path) -> None:
    write(tmp_path / "x.parquet", k=[1])
    odd = write(tmp_path / "it's [a-z]*" / "?.parquet", k=[7])
    assert engine.rows("SELECT k FROM t", {"t": [odd]}) == [(7,)]


def test_a_folder_with_an_equals_sign_adds_no_column(engine: Engine, tmp_path: Path) -> None:
    inside = write(tmp_path / "k=1" / "x.parquet", k=[7])
    assert engine.rows("SELECT k FROM t", {"t": [inside]}) == [(7,)]


def test_blank_texts_are_those_that_are_nothing_when_trimmed(engine: Engine, tmp_path: Path) -> None:
    """Of all characters but null, alone and after a letter."""
    signs = [chr(code) for code in range(1, 0x110000) if not 0xD800 <= code < 0xE000]
    table = pa.table({"x": ["", " \t", None, *signs, *(f"a{sign}" for sign in signs[:300])]})
    pq.write_table(table, tmp_path / "x.parquet")
    found = engine.rows(f"SELECT x FROM t WHERE {blank_in_sql('x')}", {"t": [tmp_path / "x.parquet"]})
    blank = table.filter(pc.equal(pc.utf8_trim_whitespace(table["x"]), ""))["x"].to_pylist()
    assert sorted(text for (text,) in found) == sorted(blank)
    assert len(blank) == 31


def test_batches_come_in_the_order_of_the_query_and_no_larger_than_asked(engine: Engine, room: Path) -> None:
    batches = list(engine.batches("SELECT 9999 - x AS x FROM range(10000) r(x) ORDER BY 1", {}, 999))
    assert max(batch.num_rows for batch in batches) <= 999
    assert pa.Table.from_batches(batches)["x"].to_pylist() == list(range(10_000))
    assert list(room.iterdir()) == []


def test_batches_left_half_read_leave_nothing(engine: Engine, room: Path) -> None:
    batches = engine.batches("SELECT x FROM range(1000000) r(x)", {}, 100)
    next(batches)
    assert len(list(room.iterdir())) == 1
    batches.close()
    assert list(room.iterdir()) == []


def test_it_spills_beyond_the_limit(room: Path) -> None:
    # 6 million groups of text take several times the limit
    sql = "SELECT count(*), sum(n) FROM (SELECT repeat('x', 30) || (x % 2000000) AS t, count(*) AS n FROM r GROUP BY t)"
    sql = f"WITH r AS (SELECT x FROM range(3000000) s(x)) {sql}"
    assert LocalEngine("100MB", threads=1, temporary=room).rows(sql, {}) == [(2_000_000, 3_000_000)]
    assert list(room.iterdir()) == []


@pytest.mark.parametrize("limit", ["512 elephants", "", "-1GB", "10MB"])
def test_a_bad_memory_limit_is_refused(limit: str) -> None:
    with pytest.raises(SettingError, match="memory limit must be"):
        LocalEngine(limit)


def test_no_threads_are_refused() -> None:
    with pytest.raises(SettingError, match="at least one thread, not 0"):
        LocalEngine(threads=0)


def test_a_limit_that_is_too_small_for_the_query(room: Path) -> None:
    engine = LocalEngine("64MB", threads=1, temporary=room)
    sql = "SELECT x % 3 AS k, list(x) AS l FROM range(30000000) r(x) GROUP BY k"  # lists of one group cannot spill
    with pytest.raises(SettingError, match="A memory limit of 64MB with 1 threads is too small"):
        engine.rows(sql, {})
    with pytest.raises(SettingError, match="too small"):
        list(engine.batches(sql, {}, 10))
    assert list(room.iterdir()) == []


def test_a_refused_row(engine: Engine, room: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    sql = f"SELECT CASE WHEN x < 5 THEN x ELSE error('{REFUSED}') END AS x FROM range(10) r(x)"
    with pytest.raises(RefusedRowError):
        engine.write(sql, {}, out)
    with pytest.raises(RefusedRowError):
        list(engine.batches(sql, {}, 10))
    assert list(tmp_path.iterdir()) == [room]


def test_corrupt_files_are_named(engine: Engine, tmp_path: Path) -> None:
    good = write(tmp_path / "good.parquet", k=[f"text number {i}" for i in range(5_000)])
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(good.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"cut\.parquet cannot be read: it is truncated or corrupt"):
        engine.rows("SELECT max(k) FROM t", {"t": [good, cut]})
    with pytest.raises(DataError, match=r"gone\.parquet cannot be read"):
        engine.rows("SELECT max(k) FROM t", {"t": [tmp_path / "gone.parquet"]})


def test_a_file_that_is_no_text_within(engine: Engine, tmp_path: Path) -> None:
    raw = pa.StringArray.from_buffers(1, pa.array([0, 2], pa.int32()).buffers()[1], pa.py_buffer(b"\xff\xfe"))
    pq.write_table(pa.table({"k": raw}), tmp_path / "bad.parquet")
    with pytest.raises(DataError, match=r"bad\.parquet cannot be read.*UTF8"):
        engine.rows("SELECT max(k) FROM t", {"t": [tmp_path / "bad.parquet"]})


def test_no_temporary_folder(tmp_path: Path) -> None:
    engine = LocalEngine("100MB", temporary=tmp_path / "missing")
    with pytest.raises(OutputError, match="No temporary folder can be made"):
        engine.rows("SELECT 1", {})


def test_a_mistake_in_the_sql_is_no_error_of_the_user(engine: Engine) -> None:
    with pytest.raises(duckdb.ParserException):
        engine.rows("SELEC 1", {})
    with pytest.raises(duckdb.CatalogException):
        engine.rows("SELECT * FROM nowhere", {})


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            duckdb.IOException("IO Error: Could not write file: No space left on device"),
            "has no room for what does not",
        ),
        (duckdb.OutOfMemoryException("failed to offload: 'max_temp_directory_size' reached"), "has no room for what"),
        (
            duckdb.IOException('IO Error: Cannot open file "x" for writing: denied'),
            "result cannot be written: IO Error",
        ),
    ],
)
def test_what_the_disk_refuses(room: Path, monkeypatch: pytest.MonkeyPatch, error: duckdb.Error, message: str) -> None:
    class Refusing:
        def execute(self, sql: str) -> None:
            raise error

        def close(self) -> None: ...

    monkeypatch.setattr(duckdb, "connect", lambda config: Refusing())
    with pytest.raises(OutputError, match=message):
        LocalEngine("64MB", threads=1, temporary=room).rows("SELECT 1", {})
    assert list(room.iterdir()) == []
