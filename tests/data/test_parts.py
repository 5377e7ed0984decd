"""Tables of several part files, as tools that write in parallel leave them."""

import gzip
import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnifeat.data.files import count_rows, iter_batches, read_schema, read_table
from omnifeat.errors import DataError


def texts(folder: Path, **parts: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in parts.items():
        suffix = "csv" if not text.startswith("{") else "jsonl"
        (folder / f"{name}.{suffix}").write_text(text, encoding="utf-8")
    return folder


def tables(folder: Path, *parts: pa.Table) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(parts):
        pq.write_table(part, folder / f"part-{number}.parquet")
    return folder


def test_a_column_that_the_first_part_lacks_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    both = [{"id": "a", "n": None}, {"id": "b", "n": 2}]
    with caplog.at_level(logging.WARNING):
        assert read_table(texts(tmp_path / "csv", p0="id\na\n", p1="n,id\n2,b\n")).to_pylist() == both
        assert (
            read_table(tables(tmp_path / "pq", pa.table({"id": ["a"]}), pa.table({"n": [2], "id": ["b"]}))).to_pylist()
            == both
        )
    assert "p0.csv has no column 'n', as other parts have: its rows are null there" in caplog.text
    # also where that column alone is asked for
    for name in ("csv", "pq"):
        assert [row for batch in iter_batches(tmp_path / name, ["n"]) for row in batch["n"].to_pylist()] == [None, 2]
    assert read_table(texts(tmp_path / "js", p0='{"id": "a"}\n', p1='{"id": "b", "n": 2}\n'), ["n"])[
        "n"
    ].to_pylist() == [None, 2]


def test_a_part_without_an_id_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"p1\.csv has no column 'query': it has Query"):
        read_table(texts(tmp_path / "csv", p0="query,entity_id\na,1\n", p1="Query,entity_id\nb,2\n"))


def test_parts_without_a_byte_are_left_out(tmp_path: Path) -> None:
    for suffix in ("csv", "jsonl", "csv.gz", "jsonl.gz"):
        folder = tmp_path / suffix
        folder.mkdir()
        text = b"id\na\n" if suffix.startswith("csv") else b'{"id": "a"}\n'
        press = gzip.compress if suffix.endswith("gz") else bytes
        (folder / f"part-0.{suffix}").write_bytes(press(b"") if suffix.endswith("gz") else b"")
        (folder / f"part-1.{suffix}").write_bytes(press(text))
        (folder / f"part-2.{suffix}").write_bytes(b"")
        assert read_table(folder)["id"].to_pylist() == ["a"]
        assert count_rows(folder) == 1
    (tmp_path / "csv" / "part-1.csv").unlink()
    with pytest.raises(DataError, match="is empty"):
        read_table(tmp_path / "csv")


def test_columns_without_a_value_in_one_part(tmp_path: Path) -> None:
    one = pa.table({"id": ["a"], "title": pa.array([None], pa.null()), "other": pa.array([float("nan")])})
    nan = pa.table({"id": ["b"], "title": pa.array([float("nan")]), "other": pa.array([None], pa.float64())})
    text = pa.table({"id": ["c"], "title": ["Cup"], "other": ["x"]})
    for number, parts in enumerate([(one, nan, text), (text, nan, one), (nan, one, text)]):
        table = read_table(tables(tmp_path / str(number), *parts))
        assert table["title"].to_pylist() == [None if part is not text else "Cup" for part in parts]
        assert table["other"].to_pylist() == [None if part is not text else "x" for part in parts]
    numbers = pa.table({"id": ["d"], "title": ["x"], "other": [1.0]})
    with pytest.raises(DataError, match=r"column 'other' is .*write all parts with the same types"):
        read_table(tables(tmp_path / "mixed", numbers, text))


def test_partition_folders_are_columns(tmp_path: Path) -> None:
    texts(tmp_path / "log" / "dt=2024-03-01" / "country=DE", p0="query\na\nb\n")
    texts(tmp_path / "log" / "dt=2024-03-02" / "country=__HIVE_DEFAULT_PARTITION__", p0="query\nc\n")
    texts(tmp_path / "log" / "dt=2024-03-03" / "country=a%2Fb", p0="query\nd\n")
    (tmp_path / "log" / "_SUCCESS").touch()
    (tmp_path / "log" / ".part.crc").touch()
    table = read_table(tmp_path / "log")
    assert table["query"].to_pylist() == ["a", "b", "c", "d"]
    assert table["dt"].to_pylist() == ["2024-03-01", "2024-03-01", "2024-03-02", "2024-03-03"]
    assert table["country"].to_pylist() == ["DE", "DE", None, "a/b"]
    assert read_table(tmp_path / "log", ["dt"]).num_rows == 4
    assert count_rows(tmp_path / "log") == 4


def test_partition_columns_have_the_schemas_types(tmp_path: Path) -> None:
    tables(tmp_path / "log" / "timestamp=2024-03-01" / "entity_id=007", pa.table({"query": ["a"]}))
    row = read_table(tmp_path / "log").to_pylist()[0]
    assert (row["entity_id"], row["timestamp"].isoformat()) == ("007", "2024-03-01T00:00:00+00:00")
    assert read_schema(tmp_path / "log", by_name=False).field("timestamp").type == pa.string()
    tables(tmp_path / "wrong" / "timestamp=soon", pa.table({"query": ["a"]}))
    with pytest.raises(DataError, match="column 'timestamp' of the folder's name: 'soon' is not a time"):
        read_table(tmp_path / "wrong")


def test_files_of_a_folder_that_are_not_read_are_said(tmp_path: Path) -> None:
    texts(tmp_path / "log", **{"part-0": "query\na\n"})
    (tmp_path / "log" / "part-1").write_text("query\nb\n")
    with pytest.raises(DataError, match="part-1 looks like a part of the table, but its suffix is not known"):
        read_table(tmp_path / "log")
    (tmp_path / "log" / "part-1").unlink()
    texts(tmp_path / "log" / "dt=1", **{"part-0": "query\na\n"})
    with pytest.raises(DataError, match=r"holds part files \(part-0.csv\) beside folders of a partition \(dt=1\)"):
        read_table(tmp_path / "log")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json", "tsv"])
def test_zstd_and_gzip_of_every_text_format(tmp_path: Path, suffix: str) -> None:
    text = (
        b'{"id": "a", "n": 1}\n'
        if suffix.startswith("json")
        else b"id\tn\na\t1\n".replace(b"\t", b"," if suffix == "csv" else b"\t")
    )
    (tmp_path / f"t.{suffix}.gz").write_bytes(gzip.compress(text[:5]) + gzip.compress(text[5:]))
    (tmp_path / f"t.{suffix}.zst").write_bytes(pa.Codec("zstd").compress(text, asbytes=True))
    for name in ("gz", "zst"):
        assert read_table(tmp_path / f"t.{suffix}.{name}").to_pylist() == [{"id": "a", "n": 1}]
    (tmp_path / f"t.{suffix}.zst").write_bytes(pa.Codec("zstd").compress(text * 1000, asbytes=True)[:-20])
    with pytest.raises(DataError, match="truncated or corrupt|cannot be read"):
        read_table(tmp_path / f"t.{suffix}.zst")
