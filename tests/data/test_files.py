import gzip
import json
from pathlib import Path
from uuid import UUID

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnifeat.data import csv_files, json_lines
from omnifeat.data.files import TableWriter, count_rows, iter_batches, read_schema, read_table
from omnifeat.errors import DataError, MissingDependencyError, SettingError

SUFFIXES = ["parquet", "csv", "csv.gz", "tsv", "jsonl", "jsonl.gz", "ndjson", "arrow", "feather"]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def write(path: Path | str, table: pa.Table) -> None:
    with TableWriter(path, table.schema) as writer:
        writer.write(table)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_gives_back_what_was_written(tmp_path: Path, every_type: pa.Table, suffix: str) -> None:
    path = tmp_path / f"table.{suffix}"
    if suffix.startswith(("csv", "tsv")):  # CSV keeps whole seconds: see test_times_in_csv
        every_type = every_type.drop_columns("timestamp")
    write(path, every_type)
    assert read_table(path).equals(every_type)
    assert read_schema(path).equals(every_type.schema)
    assert count_rows(path) == 3
    assert read_table(path, ["whole", "id"]).equals(every_type.select(["whole", "id"]))
    assert [batch.num_rows for batch in iter_batches(path, batch_size=2)] == [2, 1]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "arrow", "parquet"])
@settings(deadline=None, max_examples=30)
@given(
    rows=st.lists(
        st.tuples(
            TEXT, st.none() | TEXT, st.none() | st.lists(TEXT, max_size=3), st.none() | st.integers(-(2**60), 2**60)
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, suffix: str, rows: list[tuple]) -> None:
    ids, titles, lists, numbers = (list(column) for column in zip(*rows, strict=True))
    if not any(number is not None for number in numbers):
        numbers[0] = 1  # a column without a value has no type in CSV
    columns = {"id": ids, "title": titles, "engaged_queries": pa.array(lists, pa.list_(pa.string())), "n": numbers}
    table = pa.table(columns).cast(
        pa.schema([("id", "string"), ("title", "string"), ("engaged_queries", pa.list_(pa.string())), ("n", "int64")])
    )
    path = tmp_path_factory.mktemp("any") / f"t.{suffix}"
    write(path, table)
    assert read_table(path).to_pylist() == table.to_pylist()


def test_many_formats_by_url(every_type: pa.Table) -> None:
    write("memory://bucket/deep/table.parquet", every_type)
    assert read_table("memory://bucket/deep/table.parquet").equals(every_type)
    with pytest.raises(DataError, match="memory://bucket/deep/tabel.parquet does not exist; did you mean 'table.parq"):
        read_table("memory://bucket/deep/tabel.parquet")
    with pytest.raises(SettingError, match="no file system is known for nowhere://"):
        read_table("nowhere://x/table.parquet")


def test_a_url_that_needs_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    with pytest.raises(MissingDependencyError, match="Install s3fs"):
        read_table("oddstore://bucket/pins.parquet")


def test_a_folder_of_parts_is_one_table(tmp_path: Path) -> None:
    folder = tmp_path / "pins"
    for name, ids in (("part-1", ["c"]), ("part-0", ["a", "b"]), ("_hidden", ["x"]), (".partial", ["y"])):
        write(folder / f"{name}.parquet", pa.table({"id": ids}))
    assert read_table(folder)["id"].to_pylist() == ["a", "b", "c"]
    assert count_rows(folder) == 3


def test_parts_settle_on_one_type(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "0.csv").write_text("id,n,pinsage\na,1,\n")
    (tmp_path / "t" / "1.csv").write_text('id,n,pinsage\nb,2.5,"[1,2]"\n')
    assert read_table(tmp_path / "t").to_pylist() == [
        {"id": "a", "n": 1.0, "pinsage": None},
        {"id": "b", "n": 2.5, "pinsage": [1.0, 2.0]},
    ]


def test_parts_that_do_not_fit(tmp_path: Path) -> None:
    write(tmp_path / "t" / "0.parquet", pa.table({"id": ["a"], "n": [1]}))
    write(tmp_path / "t" / "1.parquet", pa.table({"id": ["a"], "n": ["x"]}))
    with pytest.raises(DataError, match=r"1\.parquet, column 'n' is string, but in .*0\.parquet it is int64"):
        read_table(tmp_path / "t")
    write(tmp_path / "t" / "1.parquet", pa.table({"n": [1]}))
    with pytest.raises(DataError, match=r"1\.parquet has no column 'id': it has n"):
        read_table(tmp_path / "t")
    (tmp_path / "t" / "2.csv").write_text("id,n\n")
    with pytest.raises(DataError, match="mixes part files of the formats csv, parquet"):
        read_table(tmp_path / "t")


def test_wrong_paths(tmp_path: Path) -> None:
    write(tmp_path / "pins.parquet", pa.table({"id": ["a"], "title": ["b"]}))
    with pytest.raises(DataError, match=r"pin\.parquet does not exist; did you mean 'pins\.parquet'\?"):
        read_table(tmp_path / "pin.parquet")
    with pytest.raises(DataError, match="nothing/like/it does not exist: check the path"):
        read_table(tmp_path / "nothing/like/it")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="is a folder without a part of a table"):
        read_table(tmp_path / "empty")
    (tmp_path / "pins.xlsx").write_text("")
    with pytest.raises(DataError, match=r"pins\.xlsx has a suffix that is not known: .*\.parquet, \.csv"):
        read_table(tmp_path / "pins.xlsx")
    with pytest.raises(DataError, match=r"has no column 'titel': it has id, title; did you mean 'title'\?"):
        read_table(tmp_path / "pins.parquet", ["id", "titel"])
    with pytest.raises(SettingError, match="name at least one"):
        read_table(tmp_path / "pins.parquet", [])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_cut_and_empty_files(tmp_path: Path, every_type: pa.Table, suffix: str) -> None:
    path = tmp_path / f"table.{suffix}"
    write(path, every_type)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert f"table.{suffix}" in str(caught.value)
    assert "\n" not in str(caught.value)
    path.write_bytes(b"")
    with pytest.raises(DataError, match=rf"table\.{suffix}"):
        read_table(path)


@pytest.mark.parametrize("suffix", ["parquet", "csv", "arrow"])
def test_a_table_without_rows(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"table.{suffix}"
    write(path, pa.table({"id": pa.array([], pa.string())}))
    with pytest.raises(DataError, match="has no rows"):
        read_table(path)
    assert read_table(path, allow_empty=True).num_rows == 0
    assert count_rows(path) == 0


def test_text_that_is_not_utf8_is_named_with_its_row(tmp_path: Path) -> None:
    raw = pa.array([b"good", b"b\xe9d"], pa.binary())
    bad = pa.StringArray.from_buffers(2, raw.buffers()[1], raw.buffers()[2])
    pq.write_table(pa.table({"id": ["a", "b"], "title": bad}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"t\.parquet, column 'title', row 2 is not UTF-8 text \(b'b\\xe9d'\)"):
        read_table(tmp_path / "t.parquet")
    lists = pa.ListArray.from_arrays(pa.array([0, 0, 2], pa.int32()), bad)
    pq.write_table(pa.table({"id": ["a", "b"], "engaged_queries": lists}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="column 'engaged_queries', row 2 is not UTF-8"):
        read_table(tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_bytes(b"id,title\na,good\nb,b\xe9d\n")
    with pytest.raises(DataError, match=r"t\.csv, row 2, column 'title' is not UTF-8 text \(b'b\\xe9d'\)"):
        read_table(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_bytes(b"id,t\xe9\na,good\n")
    with pytest.raises(DataError, match="the header is not UTF-8"):
        read_table(tmp_path / "t.csv")
    (tmp_path / "t.jsonl").write_bytes(b'{"id":"a"}\n\n{"id":"b\xe9d"}\n')
    with pytest.raises(DataError, match=r"t\.jsonl, line 3 is not UTF-8"):
        read_table(tmp_path / "t.jsonl")


def test_vectors_of_other_libraries_become_fixed_size_float32(tmp_path: Path) -> None:
    double = pa.array([[1, 2], None, [3, 4]], pa.large_list(pa.float64()))
    pq.write_table(pa.table({"id": ["a", "b", "c"], "pinsage": double}), tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert table.schema.field("pinsage").type == pa.list_(pa.float32(), 2)
    assert table["pinsage"].to_pylist() == [[1, 2], None, [3, 4]]
    pl.DataFrame({"id": ["a"], "title": ["x"], "pinsage": [[1.0, 2.0]]}).write_parquet(tmp_path / "p.parquet")
    assert read_schema(tmp_path / "p.parquet").types == [pa.string(), pa.string(), pa.list_(pa.float32(), 2)]


def test_null_fixed_size_lists_that_arrow_cannot_read_back(tmp_path: Path) -> None:
    vectors = pa.array([[1, 2], None, [3, 4]], pa.list_(pa.float32(), 2))
    pq.write_table(pa.table({"id": ["a", "b", "c"], "pinsage": vectors}), tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet")["pinsage"].to_pylist() == [[1, 2], None, [3, 4]]


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv"])
def test_wrong_vectors_are_named_with_their_row(tmp_path: Path, suffix: str) -> None:
    def save(vectors: list[list[float]]) -> Path:
        path = tmp_path / f"t.{suffix}"
        write(path, pa.table({"id": ["a", "b"], "pinsage": pa.array(vectors, pa.list_(pa.float64()))}))
        return path

    with pytest.raises(DataError, match=r"(row 2.*(3 numbers|it has 3))"):
        read_table(save([[1.0, 2.0], [1.0, 2.0, 3.0]]))
    for wrong in (float("nan"), float("inf"), 1e300):
        with pytest.raises(DataError, match="row 2: the vector holds a number that is NaN or infinite"):
            read_table(save([[1.0, 2.0], [1.0, wrong]]))


def test_blocks_smaller_than_a_record(tmp_path: Path, every_type: pa.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", 16)
    monkeypatch.setattr(json_lines, "BLOCK_BYTES", 16)
    table = pa.concat_tables([every_type.drop_columns("timestamp")] * 5)
    for suffix in ("csv", "csv.gz", "jsonl"):
        write(tmp_path / f"t.{suffix}", table)
        assert read_table(tmp_path / f"t.{suffix}").combine_chunks().equals(table.combine_chunks())


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_memory_is_bounded_by_the_block(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", 1 << 18)
    monkeypatch.setattr(json_lines, "BLOCK_BYTES", 1 << 18)
    path = tmp_path / f"t.{suffix}"
    rows = pa.table({"id": [f"{n:08}" for n in range(20_000)], "text": ["words " * 10] * 20_000, "n": range(20_000)})
    with TableWriter(path, rows.schema) as writer:
        for _ in range(15):
            writer.write(rows)  # 25 MB in all
    before, largest, seen = pa.total_allocated_bytes(), 0, 0
    for batch in iter_batches(path, batch_size=8_192):
        assert batch.num_rows <= 8_192
        seen += batch.num_rows
        largest = max(largest, pa.total_allocated_bytes() - before)
    assert seen == 300_000
    # CSV and JSONL hold up to some 30 blocks of 256 KiB, Parquet one row group of 65,536 rows (5 MB)
    assert largest < 14e6


def test_a_gzip_file_read_as_lines(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl.gz").write_bytes(gzip.compress(json.dumps({"id": "a", "n": 1}).encode()))
    assert read_table(tmp_path / "t.jsonl.gz").to_pylist() == [{"id": "a", "n": 1}]
    (tmp_path / "t.csv.gz").write_text("id,n\na,1\n")
    with pytest.raises(DataError, match=r"t\.csv\.gz"):
        read_table(tmp_path / "t.csv.gz")


def test_damaged_bytes_never_end_in_another_error(tmp_path: Path, every_type: pa.Table) -> None:
    for suffix in ("parquet", "arrow", "csv", "jsonl"):
        path = tmp_path / f"t.{suffix}"
        write(path, every_type)
        whole = path.read_bytes()
        refused = 0
        for place in range(0, len(whole), max(len(whole) // 60, 1)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
            try:
                read_table(path)
            except DataError:
                refused += 1
        assert refused > 5


def test_uuids_are_text(tmp_path: Path) -> None:
    text = "17aa211a-5c78-4cda-90bf-77ed871d2199"
    column = pa.array([UUID(text).bytes, None], pa.uuid())
    pq.write_table(pa.table({"id": column, "other": column}), tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").to_pylist() == [{"id": text, "other": text}, {"id": None, "other": None}]
