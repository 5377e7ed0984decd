from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnifeat.embed import embed_entities, embed_queries
from omnifeat.embedding_table import EmbeddingTable
from omnifeat.errors import DataError, FingerprintError, OutputError, SettingError
from omnifeat.frozen import FrozenEncoder


class Killed(BaseException):
    """What a test throws where a run would be killed."""


def vectors(path: Path) -> np.ndarray:
    table = pq.read_table(path)
    return table["vector"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)


def test_entities_and_the_encoders_name_are_written(
    encoder: FrozenEncoder, pins: pa.Table, pins_path: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new folder" / "vectors.parquet"
    report = embed_entities(pins_path, out, encoder=encoder, part_rows=2)
    table = pq.read_table(out)
    assert table["id"].to_pylist() == ["a", "b", "c", "d", "unused"]
    assert table["entity_type"].to_pylist() == ["pin"] * 5  # the file is named pins
    np.testing.assert_allclose(vectors(out), encoder.encode_entities(pins), atol=1e-5)
    opened = EmbeddingTable.open(str(out))
    assert (opened.kind, opened.fingerprint, opened.dim) == ("entities", encoder.fingerprint, 16)
    assert pq.read_schema(out).metadata[b"omnifeat.kind"] == b"entities"
    assert (report.rows, report.resumed_rows, report.zero_vectors) == (5, 0, 0)
    assert [path.name for path in out.parent.iterdir()] == ["vectors.parquet"]


def test_each_query_is_written_once_in_order(encoder: FrozenEncoder, tmp_path: Path) -> None:
    texts = ["hat", None, "red shoes", "hat", " ", "Hat"]
    pq.write_table(pa.table({"query": texts}), tmp_path / "log.parquet")
    report = embed_queries(tmp_path / "log.parquet", tmp_path / "q.parquet", encoder=encoder, part_rows=2)
    assert pq.read_table(tmp_path / "q.parquet")["query"].to_pylist() == ["hat", "red shoes", "Hat"]
    assert (report.rows, report.skipped) == (3, 2)
    expected = encoder.encode_queries(["hat", "red shoes", "Hat"])
    np.testing.assert_allclose(vectors(tmp_path / "q.parquet"), expected, atol=1e-5)


def kill_at(encoder: FrozenEncoder, call: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let encode_entities fail at a call; the list holds the rows of the calls that were made."""
    calls: list[int] = []
    encode = FrozenEncoder.encode_entities

    def stopped(table: pa.Table, **options: object) -> np.ndarray:
        if len(calls) == call:
            raise Killed
        calls.append(table.num_rows)
        return encode(encoder, table, **options)

    monkeypatch.setattr(encoder, "encode_entities", stopped)
    return calls


def test_a_killed_run_goes_on_where_it_stopped(
    encoder: FrozenEncoder, pins_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = tmp_path / "whole.parquet", tmp_path / "out.parquet"
    embed_entities(pins_path, whole, encoder=encoder, part_rows=2)
    kill_at(encoder, 2, monkeypatch)
    with pytest.raises(Killed):
        embed_entities(pins_path, out, encoder=encoder, part_rows=2)
    assert not out.exists()
    calls = kill_at(encoder, 99, monkeypatch)
    report = embed_entities(pins_path, out, encoder=encoder, part_rows=2)
    assert calls == [1]  # parts of 2, 2 and 1 rows; the first two were there
    assert report.resumed_rows == 4
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.parquet", "pins.parquet", "whole.parquet"]


@pytest.mark.parametrize("change", ["input", "encoder"])
def test_parts_of_another_input_or_encoder_are_not_used(
    encoder: FrozenEncoder,
    other_encoder: FrozenEncoder,
    pins: pa.Table,
    pins_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    out = tmp_path / "out.parquet"
    with monkeypatch.context() as patch:
        kill_at(encoder, 2, patch)
        with pytest.raises(Killed):
            embed_entities(pins_path, out, encoder=encoder, part_rows=2)
    if change == "input":
        pins = pins.set_column(1, "title", pa.array(["hat"] * 5))
        pq.write_table(pins, pins_path)
    used = encoder if change == "input" else other_encoder
    assert embed_entities(pins_path, out, encoder=used, part_rows=2).resumed_rows == 0
    np.testing.assert_allclose(vectors(out), used.encode_entities(pins), atol=1e-5)


def test_two_runs_into_one_output_never_mix_two_encoders(
    encoder: FrozenEncoder,
    other_encoder: FrozenEncoder,
    pins_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, encode = tmp_path / "out.parquet", encoder.encode_entities
    said: list[str] = []

    def meanwhile(table: pa.Table, **options: Any) -> Any:
        with pytest.raises(OutputError) as refused:
            embed_entities(pins_path, out, encoder=other_encoder, part_rows=2)
        said.append(str(refused.value))
        return encode(table, **options)

    monkeypatch.setattr(encoder, "encode_entities", meanwhile)
    embed_entities(pins_path, out, encoder=encoder, part_rows=2)
    assert len(said) == 3
    assert all("another run (process " in line and "is working in" in line for line in said)
    monkeypatch.undo()
    embed_entities(pins_path, tmp_path / "alone.parquet", encoder=encoder, part_rows=2)
    assert out.read_bytes() == (tmp_path / "alone.parquet").read_bytes()


@pytest.mark.parametrize("damage", ["another encoder's", "cut short"])
def test_a_part_that_is_not_whole_or_of_another_encoder_is_made_anew(
    encoder: FrozenEncoder,
    other_encoder: FrozenEncoder,
    pins: pa.Table,
    pins_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: str,
) -> None:
    out, part = tmp_path / "out.parquet", tmp_path / ".out.parquet.parts" / "part-000000.parquet"
    with monkeypatch.context() as patch:
        kill_at(encoder, 2, patch)
        with pytest.raises(Killed):
            embed_entities(pins_path, out, encoder=encoder, part_rows=2)
    if damage == "cut short":
        part.write_bytes(part.read_bytes()[:-20])
    else:
        embed_entities(pins_path, tmp_path / "other.parquet", encoder=other_encoder)
        (tmp_path / "other.parquet").replace(part)
    assert embed_entities(pins_path, out, encoder=encoder, part_rows=2).resumed_rows == 2
    np.testing.assert_allclose(vectors(out), encoder.encode_entities(pins), atol=1e-5)


def test_an_input_that_changes_while_it_is_encoded_is_refused(
    encoder: FrozenEncoder, pins: pa.Table, pins_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = encoder.encode_entities

    def meanwhile(table: pa.Table, **options: Any) -> Any:
        pq.write_table(pins.set_column(1, "title", pa.array(["hat"] * 5)), pins_path)
        return encode(table, **options)

    monkeypatch.setattr(encoder, "encode_entities", meanwhile)
    with pytest.raises(DataError, match=r"pins\.parquet changed while it was encoded"):
        embed_entities(pins_path, tmp_path / "out.parquet", encoder=encoder)
    assert [path.name for path in tmp_path.iterdir()] == ["pins.parquet"]


def test_a_table_of_another_encoder_is_refused_with_both_named(
    encoder: FrozenEncoder, other_encoder: FrozenEncoder, pins_path: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    embed_entities(pins_path, out, encoder=encoder)
    with pytest.raises(FingerprintError) as caught:
        EmbeddingTable.open(str(out)).check_encoder("second", other_encoder.fingerprint, 16)
    for part in (str(out), encoder.fingerprint, "second", other_encoder.fingerprint):
        assert part in str(caught.value)


def test_duplicate_ids_are_named_with_their_rows(encoder: FrozenEncoder, tmp_path: Path) -> None:
    path = tmp_path / "pins.parquet"
    pq.write_table(pa.table({"id": ["a", "b", "c", "b"], "title": ["hat"] * 4}), path)
    with pytest.raises(DataError, match=r"pins.parquet: the id 'b' stands in row 2 and again in row 4"):
        embed_entities(path, tmp_path / "out.parquet", encoder=encoder)
    assert [path.name for path in tmp_path.iterdir()] == ["pins.parquet"]


def test_a_target_that_is_there_or_no_parquet_is_refused(
    encoder: FrozenEncoder, pins_path: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingError, match=r"ends in \.parquet, not .*out\.csv"):
        embed_entities(pins_path, tmp_path / "out.csv", encoder=encoder)
    out = tmp_path / "out.parquet"
    embed_entities(pins_path, out, encoder=encoder)
    before = out.stat().st_mtime_ns
    with pytest.raises(OutputError, match="exists already"):
        embed_entities(pins_path, out, encoder=encoder)
    assert out.stat().st_mtime_ns == before
    embed_entities(pins_path, out, encoder=encoder, overwrite=True)
    assert out.stat().st_mtime_ns > before


def test_vectors_of_the_wrong_width_are_refused_by_the_files_name_and_leave_nothing(
    encoder: FrozenEncoder, pins: pa.Table, tmp_path: Path
) -> None:
    table = tmp_path / "pins.parquet"
    width = pins.schema.field("pinsage").type.list_size
    wrong = pa.array([[0.5] * (width + 1)] * len(pins), pa.list_(pa.float32(), width + 1))
    place = pins.column_names.index("pinsage")
    pq.write_table(pins.set_column(place, "pinsage", wrong), table)
    with pytest.raises(DataError, match=rf"pins\.parquet: Column 'pinsage' .* {width + 1} wide .* needs {width}"):
        embed_entities(table, tmp_path / "out.parquet", encoder=encoder)
    assert [path.name for path in tmp_path.iterdir()] == ["pins.parquet"]


def test_what_a_full_disk_left_is_named_and_gone_on_from(
    encoder: FrozenEncoder, pins_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, parts = tmp_path / "out.parquet", tmp_path / ".out.parquet.parts"
    encode, calls = encoder.encode_entities, []

    def full(table: pa.Table, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == at:
            raise OutputError("part cannot be written: no space is left on the disk")
        return encode(table, **options)

    monkeypatch.setattr(encoder, "encode_entities", full)
    at = 1
    with pytest.raises(OutputError, match="no space is left on the disk$"):
        embed_entities(pins_path, out, encoder=encoder, part_rows=2)
    assert not list(parts.glob("*"))
    at = 3
    with pytest.raises(
        OutputError, match=rf"no space .*; the parts that are done stay in {parts}: run the same command"
    ):
        embed_entities(pins_path, out, encoder=encoder, part_rows=2)
    assert embed_entities(pins_path, out, encoder=encoder, part_rows=2).resumed_rows == 2
    assert not parts.exists()
