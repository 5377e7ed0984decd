import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, AutoModelForImageTextToText, AutoProcessor
from typer.testing import CliRunner

from omnifeat.cli import app
from omnifeat.data.dataset import Dataset
from omnifeat.data.files import read_table
from omnifeat.data.validate import validate
from omnifeat.enrich import pictures
from omnifeat.enrich.picture_columns import enrich_captions, enrich_images
from omnifeat.enrich.pictures import PictureColumn, fill_from_pictures, read_picture
from omnifeat.errors import DataError, OutputError, SettingError

Gallery = Callable[..., Path]


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["enrich", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_captions_are_what_the_model_says(gallery: Gallery, blip: str, tmp_path: Path) -> None:
    data, out = gallery(), tmp_path / "out"
    code, shown, _ = run("captions", data, "-o", out, "--model", blip, "--json", "--max-tokens", 8, "--batch-size", 2)
    assert code == 0
    counts = json.loads(shown)["tables"]["pins"]
    assert counts == {"encoded": 3, "resumed": 0, "kept": 0, "without": 1, "empty": 0, "broken": 2}
    processor, model = AutoProcessor.from_pretrained(blip), AutoModelForImageTextToText.from_pretrained(blip)
    expected: dict[str, str | None] = dict.fromkeys(["p3", "p4", "p5"])
    white = Image.new("RGB", (40, 30), (255, 255, 255))  # what a picture that is all transparent looks like
    files = {"p1": "images/red.png", "p2": "images/blue.jpg"}
    for pin, image in {**{pin: Image.open(data / path) for pin, path in files.items()}, "p6": white}.items():
        tokens = model.generate(
            **processor(images=[image], return_tensors="pt"), max_new_tokens=8, num_beams=1, do_sample=False
        )
        expected[pin] = " ".join(processor.decode(tokens[0], skip_special_tokens=True).split())
    pins = read_table(out / "pins.parquet")
    captions = dict(zip(pins["id"].to_pylist(), pins["caption"].to_pylist(), strict=True))
    assert captions == expected
    assert len({captions["p1"], captions["p2"], captions["p6"]}) > 1
    assert pins["title"].to_pylist() == [f"p{number}" for number in range(1, 7)]
    # the rest is carried over, the pictures too, and nothing is left beside
    assert os.path.samefile(data / "boards.parquet", out / "boards.parquet")
    assert (out / "images" / "red.png").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gallery", "out"]
    assert validate(out).ok


def test_broken_pictures_are_listed(gallery: Gallery, blip: str, tmp_path: Path) -> None:
    result = enrich_captions(Dataset.open(gallery()), tmp_path / "out", model=blip)
    assert result.broken_file == tmp_path / "out" / "captions.broken.csv"
    with result.broken_file.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["table"], row["id"], row["image_path"]) for row in rows] == [
        ("pins", "p3", "images/text.png"),
        ("pins", "p4", "images/gone.png"),
    ]
    assert rows[0]["problem"].endswith("images/text.png cannot be read: not a picture that pillow reads")
    assert "images/gone.png cannot be opened" in rows[1]["problem"]


def test_a_truncated_picture_is_broken(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.jpg")
    (tmp_path / "half.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:2000])
    with pytest.raises(DataError, match=r"half\.jpg cannot be read: image file is truncated"):
        read_picture(str(tmp_path / "half.jpg"))


@pytest.mark.filterwarnings("ignore")
def test_whatever_is_wrong_with_the_bytes_the_picture_is_broken(tmp_path: Path) -> None:
    """Pillow's readers raise what comes: of a DDS without a format NotImplementedError, of an AVIF RuntimeError."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (12, 9, 3), dtype=np.uint8))
    generator = np.random.default_rng(1)
    path = tmp_path / "picture"
    broken = 0
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "BMP", "DDS", "WEBP"):
        stream = io.BytesIO()
        noise.save(stream, kind)
        whole = np.frombuffer(stream.getvalue(), dtype=np.uint8)
        for _ in range(30):
            changed = whole.copy()
            changed[generator.integers(0, min(len(whole), 120), 4)] = generator.integers(0, 256, 4)
            path.write_bytes(changed.tobytes())
            try:
                assert read_picture(str(path)).mode == "RGB"
            except DataError:  # any other error fails the test
                broken += 1
    assert broken > 50


def test_pictures_are_upright_and_opaque(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 2))
    exif = image.getexif()
    exif[0x0112] = 6  # turned by a quarter
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert read_picture(str(tmp_path / "turned.jpg")).size == (2, 4)
    Image.new("RGBA", (1, 1), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert read_picture(str(tmp_path / "clear.png")).getpixel((0, 0)) == (255, 255, 255)
    levels = np.array([[0, 300, 65_535]], dtype=np.uint16)
    Image.fromarray(levels).save(tmp_path / "deep.png")  # 16 bits: 300 is nearly black
    assert np.asarray(read_picture(str(tmp_path / "deep.png")))[0].tolist() == [[0] * 3, [1] * 3, [255] * 3]
    Image.new("L", (1, 1), 7).save(tmp_path / "grey.png")
    assert read_picture(str(tmp_path / "grey.png")).getpixel((0, 0)) == (7, 7, 7)


def test_captions_that_are_there_stay(gallery: Gallery, blip: str, tmp_path: Path) -> None:
    given = pa.array(["mine", None, "of a broken one", None, "without a picture", " "])
    data = gallery(caption=given)
    result = enrich_captions(Dataset.open(data), tmp_path / "out", model=blip)
    captions = read_table(tmp_path / "out" / "pins.parquet")["caption"].to_pylist()
    assert captions[0] == "mine"
    assert captions[2:5] == ["of a broken one", None, "without a picture"]
    assert captions[1]
    assert captions[5].strip()
    assert (result.encoded["pins"], result.kept["pins"], result.without["pins"]) == (2, 3, 0)
    redone = enrich_captions(Dataset.open(data), tmp_path / "redone", model=blip, redo=True)
    captions = read_table(tmp_path / "redone" / "pins.parquet")["caption"].to_pylist()
    assert captions[0] != "mine"
    assert captions[2:5] == ["of a broken one", None, "without a picture"]  # nothing better came for it
    assert (redone.encoded["pins"], redone.kept["pins"]) == (3, 2)


def test_no_model_is_loaded_where_nothing_is_to_do(gallery: Gallery, tmp_path: Path) -> None:
    data = gallery(caption=pa.array(["x"] * 6))
    result = enrich_captions(Dataset.open(data), tmp_path / "out", model="no/such-model")
    assert (result.encoded["pins"], result.kept["pins"]) == (0, 6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--max-tokens", 33], "reads at most 32 tokens, too few for 1 to begin with and 33 more: give a smaller"),
        (["--max-tokens", 8, "--prompt", "a red " * 14], "too few for 30 to begin with and 8 more"),
    ],
)
def test_captions_that_the_model_cannot_end(
    gallery: Gallery, blip: str, tmp_path: Path, options: list[object], said: str
) -> None:
    code, shown, error = run("captions", gallery(), "-o", tmp_path / "out", "--model", blip, *options)
    assert (code, shown, error.count("\n")) == (2, "", 1)
    assert said in error
    assert not (tmp_path / "out").exists()


def test_the_longest_caption(gallery: Gallery, blip: str, tmp_path: Path) -> None:
    assert run("captions", gallery(), "-o", tmp_path / "out", "--model", blip, "--max-tokens", 32)[0] == 0


def test_a_prompt_begins_each_caption(gallery: Gallery, blip: str, tmp_path: Path) -> None:
    enrich_captions(Dataset.open(gallery()), tmp_path / "out", model=blip, prompt="a red", max_tokens=8)
    captions = read_table(tmp_path / "out" / "pins.parquet")["caption"].drop_null().to_pylist()
    assert len(captions) == 3
    assert all("a red" in caption for caption in captions)


class Killed(BaseException):
    """What stands for the end of the process."""


def numbered(calls: list[int], die_at: int | None = None) -> PictureColumn:
    """A column that holds the brightness of each picture's corner."""

    def load() -> Callable[[Any], list[str]]:
        def encode(images: Any) -> list[str]:
            if die_at is not None and len(calls) >= die_at:
                raise Killed
            calls.append(len(images))
            return [str(image.getpixel((0, 0))[0]) for image in images]

        return encode

    return PictureColumn(
        name="caption", type=pa.string(), command="test", settings={"model": "m"}, load=load, batch_size=2
    )


def test_pictures_without_a_value_are_counted(tmp_path: Path) -> None:
    column = PictureColumn(
        name="caption", type=pa.string(), command="test", settings={},
        load=lambda: lambda images: [None if image.getpixel((0, 0))[0] < 60 else "bright" for image in images],
    )  # fmt: skip
    result = fill_from_pictures(Dataset.open(many(tmp_path, 5)), tmp_path / "out", column, tables=["pins"])
    assert read_table(tmp_path / "out" / "pins.parquet")["caption"].to_pylist() == [None] * 3 + ["bright"] * 2
    assert (result.encoded["pins"], result.empty["pins"], result.without["pins"]) == (5, 3, 0)


def many(tmp_path: Path, number: int = 11) -> Path:
    folder = tmp_path / "many"
    (folder / "images").mkdir(parents=True)
    (folder / "dataset.json").write_text('{"name": "many"}')
    for row in range(number):
        Image.new("RGB", (2, 2), (row * 20, 0, 0)).save(folder / "images" / f"{row}.png")
    lines = [json.dumps({"id": f"p{row}", "image_path": f"images/{row}.png"}) for row in range(number)]
    (folder / "pins.jsonl").write_text("\n".join(lines))
    return folder


def test_a_killed_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "PART_ROWS", 4)
    data, out, calls = many(tmp_path), tmp_path / "out", list[int]()
    with pytest.raises(Killed):
        fill_from_pictures(Dataset.open(data), out, numbered(calls, die_at=3), tables=["pins"])
    assert calls == [2, 2, 2]  # the first part, and half of the second
    assert not out.exists()
    assert len(list((tmp_path / ".out.test").iterdir())) == 1
    again: list[int] = []
    result = fill_from_pictures(Dataset.open(data), out, numbered(again), tables=["pins"])
    assert again == [2, 2, 2, 1]
    assert (result.resumed["pins"], result.encoded["pins"]) == (4, 7)
    assert read_table(out / "pins.parquet")["caption"].to_pylist() == [str(row * 20) for row in range(11)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["many", "out"]
    # a run that was never killed writes the same bytes
    fill_from_pictures(Dataset.open(data), tmp_path / "whole", numbered([]), tables=["pins"])
    assert (tmp_path / "whole" / "pins.parquet").read_bytes() == (out / "pins.parquet").read_bytes()


def test_parts_of_changed_rows_or_settings_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "PART_ROWS", 4)
    data, out, calls = many(tmp_path), tmp_path / "out", list[int]()
    with pytest.raises(Killed):
        fill_from_pictures(Dataset.open(data), out, numbered(calls, die_at=3), tables=["pins"])
    rows = (data / "pins.jsonl").read_text().splitlines()
    (data / "pins.jsonl").write_text("\n".join(rows[1:]))
    result = fill_from_pictures(Dataset.open(data), out, numbered([]), tables=["pins"])
    assert (result.resumed["pins"], result.encoded["pins"]) == (0, 10)
    assert read_table(out / "pins.parquet")["caption"].to_pylist() == [str(row * 20) for row in range(1, 11)]


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_vectors_are_what_the_model_gives(gallery: Gallery, vit: str, tmp_path: Path, pooling: str) -> None:
    data, out = gallery(), tmp_path / "out"
    code, shown, _ = run("images", data, "-o", out, "--model", vit, "--pooling", pooling)
    assert code == 0
    assert "2 broken pictures are listed in" in shown
    pins = Dataset.open(out).read("pins")
    assert pins.schema.field("image_embedding").type == pa.list_(pa.float32(), 16)
    processor, model = AutoImageProcessor.from_pretrained(vit), AutoModel.from_pretrained(vit)
    inputs = processor(images=[Image.open(data / "images" / "red.png")], return_tensors="pt")
    with torch.no_grad():
        hidden = model(**inputs).last_hidden_state[0]
    expected = (hidden[0] if pooling == "cls" else hidden.mean(dim=0)).numpy()
    vectors = pins["image_embedding"].to_pylist()
    np.testing.assert_allclose(vectors[0], expected / np.linalg.norm(expected), atol=1e-5)
    assert [vector is None for vector in vectors] == [False, False, True, True, True, False]
    assert validate(out).ok


def test_vectors_of_two_models_are_not_mixed(gallery: Gallery, vit: str, tmp_path: Path) -> None:
    own = pa.array([[1.0, 2.0], None, [3.0, 4.0], None, None, None], pa.list_(pa.float32(), 2))
    data = gallery(image_embedding=own)
    code, _, error = run("images", data, "-o", tmp_path / "out", "--model", vit)
    assert code == 2
    assert "pins.parquet has vectors in 'image_embedding' of another source" in error
    assert error.count("\n") == 1
    enrich_images(Dataset.open(data), tmp_path / "out", model=vit, replace=True)
    vectors = Dataset.open(tmp_path / "out").read("pins")["image_embedding"]
    assert vectors[2].as_py() is None  # its picture is broken, and the old vector is of another space
    # its own vectors are kept, and only what is new is encoded
    result = enrich_images(Dataset.open(tmp_path / "out"), tmp_path / "more", model=vit)
    assert (result.encoded.get("pins", 0), result.kept["pins"]) == (0, 3)
    assert Dataset.open(tmp_path / "more").read("pins")["image_embedding"].equals(vectors)
    with pytest.raises(DataError, match="with the pooling mean"):
        enrich_images(Dataset.open(tmp_path / "out"), tmp_path / "mean", model=vit, pooling="mean")


def test_bad_input(gallery: Gallery, blip: str, vit: str, tmp_path: Path) -> None:
    data = gallery()
    out = tmp_path / "out"
    for arguments, expected in [
        (("captions", data, "-o", out, "--model", vit), "No captioning model can be loaded from"),
        (("captions", data, "-o", out, "--model", str(tmp_path / "none")), "No captioning model can be loaded from"),
        (("captions", data, "-o", out, "--model", blip, "--device", "tpu"), "must be auto, cpu or cuda, but is 'tpu'"),
        (("captions", data, "-o", out, "--model", blip, "--batch-size", 0), "The batch size must be at least 1"),
        (
            ("captions", data, "-o", out, "--tables", "queries"),
            "belong to pins and products, not to 'queries'",
        ),
        (("captions", data, "-o", out, "--tables", "products"), "has no column 'image_path' in products"),
        (("captions", data, "-o", out, "--images", tmp_path), "not one of 5 pictures could be read, such as"),
        (("captions", data, "-o", data / "inside", "--model", blip), "lies inside"),
        (("captions", tmp_path / "gone", "-o", out), "does not exist: give a dataset folder"),
        (("images", data, "-o", out, "--model", str(tmp_path)), "No vision model can be loaded from"),
        (("images", data, "-o", data, "--model", vit), "exists and is not empty"),
    ]:
        code, shown, error = run(*arguments)
        assert (code, shown) == (2, ""), arguments
        assert expected in error
        assert error.count("\n") == 1, error
        assert not out.exists()


def test_in_place(gallery: Gallery, blip: str) -> None:
    data = gallery()
    with pytest.raises(OutputError):
        enrich_captions(Dataset.open(data), data, model=blip)
    enrich_captions(Dataset.open(data), data, model=blip, overwrite=True)
    assert read_table(data / "pins.parquet")["caption"].null_count == 3
    assert (data / "images" / "red.png").is_file()


def test_no_gpu_is_said(gallery: Gallery, blip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingError, match="There is no GPU for --device cuda"):
        enrich_captions(Dataset.open(gallery()), tmp_path / "out", model=blip, device="cuda")
