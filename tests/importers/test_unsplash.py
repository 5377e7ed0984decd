"""The published form: tab-separated, cells quoted where they must be, `t` and `f`, times without a zone, parts."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnifeat.data.dataset import Dataset

Imported = Callable[..., tuple[dict[str, Any], Dataset]]
Refused = Callable[..., str]

PHOTO_COLUMNS = [
    "photo_id",
    "photo_url",
    "photo_image_url",
    "photo_submitted_at",
    "photo_featured",
    "photo_width",
    "photo_height",
    "photo_aspect_ratio",
    "photo_description",
    "photographer_username",
    "photographer_first_name",
    "photographer_last_name",
    "exif_camera_make",
    "exif_camera_model",
    "exif_iso",
    "exif_aperture_value",
    "exif_focal_length",
    "exif_exposure_time",
    "photo_location_name",
    "photo_location_latitude",
    "photo_location_longitude",
    "photo_location_country",
    "photo_location_city",
    "stats_views",
    "stats_downloads",
    "ai_description",
    "ai_primary_landmark_name",
    "ai_primary_landmark_latitude",
    "ai_primary_landmark_longitude",
    "ai_primary_landmark_confidence",
    "blur_hash",
]


def photo(identifier: str, **cells: str) -> list[str]:
    given = {
        "photo_id": identifier,
        "photo_url": f"https://unsplash.example/photos/{identifier}",
        "photo_image_url": f"https://images.example/{identifier}",
        "photo_submitted_at": "2020-03-01 10:20:30.123456",
        "photo_featured": "t",
        "photo_width": "4000",
        "photographer_username": "ann",
        "stats_views": "12",
        **cells,
    }
    return [given.get(name, "") for name in PHOTO_COLUMNS]


def lines(*rows: list[str], end: str = "\n") -> str:
    def cell(text: str) -> str:
        special = any(character in text for character in '\t\n\r"')
        return '"' + text.replace('"', '""') + '"' if special else text

    return "".join("\t".join(map(cell, row)) + end for row in rows)


KEYWORDS = ["photo_id", "keyword", "ai_service_1_confidence", "ai_service_2_confidence", "suggested_by_user"]
COLLECTIONS = ["photo_id", "collection_id", "collection_title", "photo_collected_at"]
CONVERSIONS = [
    "converted_at", "conversion_type", "keyword", "photo_id", "anonymous_user_id", "conversion_country"
]  # fmt: skip

A = photo(
    "aaaaaaaaaaa", photo_description='A "quiet" lake\nin two lines', ai_description="lake under sky", blur_hash="00TI:j"
)
B = photo("-b_bbbbbbbb", photo_location_country="Chile", blur_hash="not a hash")
C = photo("ccccccccccc", ai_description="tab\there", ai_primary_landmark_name="Tower")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "unsplash"
    folder.mkdir()
    (folder / "photos.tsv000").write_text(lines(PHOTO_COLUMNS, A, B, end="\r\n"), newline="", encoding="utf-8")
    # a photo again, in the next part and among lines that end otherwise
    (folder / "photos.tsv001").write_text(lines(PHOTO_COLUMNS, C, A), newline="", encoding="utf-8")
    a, b, c = A[0], B[0], C[0]
    (folder / "keywords.tsv000").write_text(
        lines(
            KEYWORDS,
            [a, "sky", "20.5", "", "f"],
            [a, "lake", "", "90.1", "f"],
            [a, "my lake", "", "", "t"],
            [a, "searched for", "", "", "f"],
            [a, "lake", "", "90.1", "f"],
            [c, "tower", "50", "60", "t"],
            [c, "", "50", "60", "t"],
            ["gone", "sky", "50", "60", "t"],
        ),
        encoding="utf-8",
    )
    (folder / "collections.tsv000").write_text(
        lines(
            COLLECTIONS,
            [a, "162", "Water  \nand sky", "2016-03-15 17:02:41"],
            [b, "162", "Renamed", "2016-03-16 17:02:41"],
            [a, "163", "", "2016-03-15 17:02:41"],
            ["gone", "164", "Other", "2016-03-15 17:02:41"],
            [a, "163", "", "2016-03-15 17:02:41"],
        ),
        encoding="utf-8",
    )
    (folder / "conversions.tsv000").write_text(
        lines(
            CONVERSIONS,
            ["2022-05-01 00:00:01.5", "download", "quiet  lake", a, "user-1", "CL"],
            ["2022-05-01 00:00:01.5", "download", "quiet  lake", a, "user-1", "CL"],
            ["2022-05-02 00:00:00", "download", "tower", c, "user-2", ""],
            ["2022-05-02 00:00:00", "view", "tower", c, "user-2", "FR"],
            ["2022-05-02 00:00:00", "download", "", c, "user-2", "FR"],
            ["2022-05-02 00:00:00", "download", "sea", "gone", "user-2", "FR"],
            ["2022-05-03 12:00:00", "download", "quiet lake", b, "", "DE"],
        ),
        encoding="utf-8",
    )
    (folder / "colors.tsv000").write_text("photo_id\thex\n", encoding="utf-8")
    (folder / "DOCS.md").write_text("# Documentation")
    return folder


def test_pins(source: Path, imported: Imported) -> None:
    result, dataset = imported("unsplash", source)
    pins = dataset.read("pins").to_pylist()
    assert [pin["id"] for pin in pins] == ["aaaaaaaaaaa", "-b_bbbbbbbb", "ccccccccccc"]
    first, second, third = pins
    assert first["description"] == 'A "quiet" lake\nin two lines'
    assert (first["caption"], third["caption"]) == ("lake under sky", "tab\there")
    assert (second["caption"], second["description"], second["location_country"]) == (None, None, "Chile")
    assert third["landmark"] == "Tower"
    assert first["submitted_at"] == datetime(2020, 3, 1, 10, 20, 30, 123456, UTC)
    np.testing.assert_allclose(first["image_embedding"], [1, 0, 0] * 16)  # red, 4 x 4
    assert second["image_embedding"] is None
    assert first["ai_keywords"] == ["lake", "sky"]  # the surer one first; not what only searches gave
    assert first["user_keywords"] == ["my lake"]
    assert (second["ai_keywords"], second["user_keywords"]) == ([], [])
    assert (third["ai_keywords"], third["user_keywords"]) == ([], ["tower"])
    assert "stats_views" not in first
    notes = result["notes"]
    assert "1 photos that stand again, equal in all columns, were left out." in notes
    assert any("1 photos have no hash and 1 one that cannot be decoded" in note for note in notes)
    for count, what in ((1, "that stand again"), (1, "without a keyword"), (1, "that are not there"), (1, "neither")):
        assert any(note.startswith(f"{count} keyword rows") and what in note for note in notes), what


def test_boards_and_engagements(source: Path, imported: Imported) -> None:
    result, dataset = imported("unsplash", source, "--salt", "s")
    assert dataset.read("boards").to_pylist() == [
        {"board_id": "162", "title": "Water and sky"}, {"board_id": "163", "title": None}
    ]  # fmt: skip
    saves = [tuple(row.values()) for row in dataset.read("saves").to_pylist()]
    assert [row[:3] for row in saves] == [
        ("162", "aaaaaaaaaaa", "pin"), ("162", "-b_bbbbbbbb", "pin"), ("163", "aaaaaaaaaaa", "pin")
    ]  # fmt: skip
    assert saves[0][3] == datetime(2016, 3, 15, 17, 2, 41, tzinfo=UTC)
    assert dataset.read("queries")["query"].to_pylist() == ["quiet lake", "tower"]
    engagements = [tuple(row.values()) for row in dataset.read("engagements").to_pylist()]
    moment = datetime(2022, 5, 1, 0, 0, 1, 500_000, UTC)
    assert engagements[0] == ("quiet lake", "aaaaaaaaaaa", "pin", "save", moment, "CL", "user-1")
    assert [row[:2] for row in engagements[1:]] == [("tower", "ccccccccccc"), ("quiet lake", "-b_bbbbbbbb")]
    assert (engagements[1][5], engagements[2][6]) == (None, None)
    notes = result["notes"]
    assert "1 conversions that stand again, equal in all columns, were left out." in notes
    assert "1 conversions of a type other than download (view: 1) were left out." in notes
    assert "1 conversions without a keyword, a time or a photo were left out." in notes
    assert "1 conversions of photos that are not there were left out." in notes
    assert "1 collection rows of photos that are not there were left out." in notes
    assert "1 collections stand under several titles; the first one is their board's." in notes
    assert dataset.info.split is not None
    assert dataset.info.split.salt == "s"  # type: ignore[union-attr]


def test_the_newer_names_and_a_split_by_time(source: Path, imported: Imported) -> None:
    for path in source.glob("*.tsv*"):
        path.rename(source / path.name.replace(".tsv", ".csv"))
    options = ["--split", "time", "--development-from", "2022-05-02", "--test-from", "2022-05-03"]
    _, dataset = imported("unsplash", source, *options)
    assert dataset.info.split is not None
    assert dataset.info.split.assign(dataset.read("engagements")).to_pylist() == ["train", "development", "test"]


def test_photos_alone_of_an_older_release(source: Path, imported: Imported) -> None:
    for path in source.glob("*.tsv*"):
        path.unlink()
    (source / "photos.tsv").write_text(lines(PHOTO_COLUMNS[:-1], A[:-1]), encoding="utf-8")
    result, dataset = imported("unsplash", source)
    assert result["counts"] == {"pins": 1}
    assert "image_embedding" not in dataset.read("pins").schema.names
    assert "The source holds no keywords, collections, conversions, colors." in result["notes"]
    assert any("no column blur_hash" in note for note in result["notes"])


def test_html_in_descriptions_is_taken_out_and_counted(source: Path, imported: Imported) -> None:
    for path in source.glob("*.tsv*"):
        path.unlink()
    row = photo("aaaaaaaaaaa", photo_description="<b>Lake</b> &amp; sky", ai_description="I <3 lakes")
    (source / "photos.tsv").write_text(lines(PHOTO_COLUMNS, row), encoding="utf-8")
    result, dataset = imported("unsplash", source)
    pin = dataset.read("pins").to_pylist()[0]
    assert (pin["description"], pin["caption"]) == ("Lake & sky", "I <3 lakes")
    assert "HTML was taken out of 1 descriptions." in result["notes"]


def test_same_bytes_again(source: Path, imported: Imported, tmp_path: Path) -> None:
    imported("unsplash", source)
    imported("unsplash", source, "--memory-limit", "64MB", out="again")
    for path in (tmp_path / "out").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def _put(name: str, *rows: list[str]) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(lines(*rows), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: [path.unlink() for path in folder.glob("photos*")], "holds no photos.tsv000 or photos.csv000"),
        (lambda folder: (folder / "photos.tsv000").unlink(), "photos.tsv000 is missing between its parts"),
        (_put("photos.csv000", PHOTO_COLUMNS, A), "holds photos twice, as photos.csv000 and photos.tsv000"),
        (_put("photos.tsv000", PHOTO_COLUMNS[1:], A[1:]), "photos.tsv000 has no column 'photo_id'"),
        (_put("photos.tsv001", PHOTO_COLUMNS, photo("")), "photos.tsv001, row 1: there is no photo_id"),
        (
            _put("photos.tsv001", PHOTO_COLUMNS, C, photo("aaaaaaaaaaa", ai_description="another")),
            "photos.tsv001, row 2: the photo_id aaaaaaaaaaa stands, with other contents, in ",
        ),
        (
            _put("photos.tsv001", PHOTO_COLUMNS, C, photo("ddddddddddd", photo_submitted_at="soon")),
            "photos.tsv001, row 2, column 'photo_submitted_at': 'soon' is not a time",
        ),
        (_put("conversions.tsv000", CONVERSIONS), "conversions.tsv000 has no rows"),
        (_put("conversions.tsv000", CONVERSIONS[1:], ["x"] * 5), "has no column 'converted_at'"),
        (
            _put("conversions.tsv000", CONVERSIONS, ["yesterday", "download", "x", "aaaaaaaaaaa", "", ""]),
            "conversions.tsv000, row 1, column 'converted_at': 'yesterday' is not a time",
        ),
        (
            _put("keywords.tsv000", KEYWORDS, ["aaaaaaaaaaa", "sky", "high", "", "f"]),
            "keywords.tsv000, row 1, column 'ai_service_1_confidence': 'high' is not a number",
        ),
        (
            _put("keywords.tsv000", KEYWORDS, ["aaaaaaaaaaa", "a", "", "", "f"], ["aaaaaaaaaaa", "b", "", "nan", "f"]),
            "keywords.tsv000, row 2, column 'ai_service_2_confidence': 'nan' is not a number",
        ),
        (
            lambda folder: (folder / "collections.tsv000").write_bytes(
                "\t".join(COLLECTIONS).encode() + b"\n\xff\t1\t\t\n"
            ),
            "collections.tsv000, row 1, column 'photo_id' is not UTF-8",
        ),
        (
            lambda folder: (folder / "photos.tsv000").write_text(lines(PHOTO_COLUMNS, A) + "a\tb\n"),
            "has 2 columns, but the header has 31",
        ),
    ],
)  # fmt: skip
def test_bad_input(source: Path, refused: Refused, change: Callable[[Path], object], said: str) -> None:
    change(source)
    assert said in refused("unsplash", source)


def test_bad_settings(source: Path, refused: Refused) -> None:
    assert "does not exist" in refused("unsplash", source / "missing")
    assert "memory limit" in refused("unsplash", source, "--memory-limit", "much")
    assert "needs --development-from" in refused("unsplash", source, "--split", "time")
    assert "leave nothing to train on" in refused("unsplash", source, "--test", "0.6", "--development", "0.4")


MEASURE = """
import re, sys
import pyarrow as pa
from omnifeat.importers import import_unsplash
def peak():  # getrusage would count what the parent process held
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
before = peak()
import_unsplash(sys.argv[1], sys.argv[2], memory_limit="32MB")
print(pa.default_memory_pool().max_memory(), peak() - before)
"""


def _measured(source: Path, out: Path, size: int) -> tuple[int, int]:
    """Arrow's peak, and by how much the process grew, with a log of about `size` bytes; all in bytes."""
    rows = [
        ["2022-05-02 00:00:00", "download", f"query {number % 9_973} and {'words ' * 8}", A[0], f"user-{number}", "FR"]
        for number in range(10_000)
    ]
    block = lines(*rows)
    repeat = size // len(block)
    with (source / "conversions.tsv000").open("w") as stream:
        stream.write(lines(CONVERSIONS))
        for number in range(repeat):
            stream.write(block.replace("user-", f"user-{number}-"))
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(source), str(out)], capture_output=True, text=True, check=True
    )
    assert Dataset.open(out).count("engagements") == repeat * 10_000
    arrow, grown = map(int, done.stdout.split())
    return arrow, grown


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak")
def test_memory_is_bounded_whatever_the_size(source: Path, tmp_path: Path) -> None:
    small_arrow, small_grown = _measured(source, tmp_path / "small", 30_000_000)
    large_arrow, large_grown = _measured(source, tmp_path / "large", 80_000_000)
    # of 50 MB more: what Arrow holds at once, and the whole process, DuckDB's memory among it
    assert large_arrow < small_arrow + 4_000_000
    assert large_grown < small_grown + 40_000_000
