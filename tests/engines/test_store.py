from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnifeat.engines import REFUSED, RefusedRowError, Store
from omnifeat.errors import DataError, OutputError, SettingError

NUMBERS = pa.schema([("x", pa.int64())])


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """Where the stores make their temporary folders, to see that nothing stays."""
    folder = tmp_path / "room"
    folder.mkdir()
    return folder


def numbers(*batches: list[int]) -> Iterator[pa.RecordBatch]:
    return (pa.record_batch([pa.array(batch, pa.int64())], schema=NUMBERS) for batch in batches)


def test_steps_read_what_the_last_one_made(room: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1, 2], "name": ["one", "two"]}), tmp_path / "names.parquet")
    with Store.open("100MB", 1, room) as store:
        store.attach({"names": [tmp_path / "names.parquet"]})
        store.read(
            "incoming",
            NUMBERS,
            numbers([1, 2], [2]),
            "CREATE TABLE n AS SELECT x, count(*) AS n FROM incoming GROUP BY x",
        )
        assert store.run("SELECT name, n FROM n JOIN names USING (x) WHERE n >= ? ORDER BY name", 1) == [
            ("one", 1),
            ("two", 2),
        ]
        found = pa.Table.from_batches(store.batches("SELECT range AS x FROM range(100000) ORDER BY x DESC"))
        assert found["x"].to_pylist() == list(range(99_999, -1, -1))
    assert list(room.iterdir()) == []


def test_tables_beyond_the_limit_go_to_disk(room: Path) -> None:
    with Store.open("64MB", 1, room) as store:
        for name in ("a", "b"):
            store.run(f"CREATE TABLE {name} AS SELECT x, md5(x::VARCHAR) AS text FROM range(1500000) r(x)")
        # 3 million rows of 40 bytes: 120 MB, of which 64 MB may stay in memory. How far the other 56 MB are compressed
        # DuckDB decides by how fast the disk took the last block; text of hexadecimal digits goes down to half.
        assert store.run("SELECT sum(memory_usage_bytes) <= 64e6 FROM duckdb_memory()") == [(True,)]
        assert sum(file.stat().st_size for file in room.rglob("*") if file.is_file()) > 16e6
        assert store.run("SELECT count(*) FROM a JOIN b USING (x) WHERE a.text = b.text") == [(1_500_000,)]
    assert list(room.iterdir()) == []


def test_what_the_batches_raise_is_raised_as_it_is(room: Path) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield from numbers([1])
        raise DataError("row 2 is wrong")

    with Store.open("100MB", 1, room) as store:
        with pytest.raises(DataError, match="row 2 is wrong"):
            store.read("incoming", NUMBERS, broken(), "CREATE TABLE n AS SELECT * FROM incoming")
        # and the store goes on
        store.read("incoming", NUMBERS, numbers([5]), "CREATE TABLE n AS SELECT * FROM incoming")
        assert store.run("SELECT * FROM n") == [(5,)]


def test_errors_are_those_of_the_engine(room: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no more")
    lists = "SELECT x % 3 AS k, list(x) AS l FROM range(30000000) r(x) GROUP BY k"  # lists of one group cannot spill
    broken = pytest.raises(DataError, match=r"cut\.parquet cannot be read: it is truncated or corrupt")
    with Store.open("64MB", 1, room) as store, broken:
        store.attach({"cut": [tmp_path / "cut.parquet"]})
    with Store.open("64MB", 1, room) as store:
        with pytest.raises(SettingError, match="A memory limit of 64MB with 1 threads is too small"):
            store.run(f"CREATE TABLE t AS {lists}")
        with pytest.raises(SettingError, match="too small"):
            list(store.batches(lists))
        with pytest.raises(RefusedRowError):
            store.run(f"SELECT CASE WHEN x > 3 THEN error('{REFUSED}') END FROM range(10) r(x)")
        with pytest.raises(duckdb.ParserException):  # a mistake of the program
            store.run("SELEC 1")
    assert list(room.iterdir()) == []


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ('IO Error: Could not write "{}/x.tmp": No space left on device', "has no room for what does not"),
        ('IO Error: Could not write "{}/x.tmp": Input/output error', "does not fit in memory cannot go to"),
    ],
)  # fmt: skip
def test_what_the_disk_refuses(room: Path, monkeypatch: pytest.MonkeyPatch, message: str, expected: str) -> None:
    class Refusing:
        def execute(self, sql: str, values: object = None) -> None:
            if not sql.startswith("SET "):
                raise duckdb.IOException(message.format(next(room.iterdir())))

        def close(self) -> None: ...

    monkeypatch.setattr(duckdb, "connect", lambda config: Refusing())
    with Store.open("64MB", 1, room) as store, pytest.raises(OutputError, match=expected):
        store.run("CREATE TABLE t AS SELECT 1")
    assert list(room.iterdir()) == []


def test_bad_settings(tmp_path: Path) -> None:
    for limit, threads, message in (("10MB", 1, "at least 64MB"), ("1GB", 0, "at least one thread")):
        with pytest.raises(SettingError, match=message), Store.open(limit, threads):
            pass
    with pytest.raises(OutputError, match="No temporary folder can be made"), Store.open(temporary=tmp_path / "no"):
        pass
