"""Vectors of text: what they are made of, that none is made twice, and what is refused."""

import inspect
import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import torch
from transformers import BertModel

from omnifeat.commands.enrich_text import main as enrich_text_command
from omnifeat.data.dataset import Dataset, DatasetInfo, DatasetWriter
from omnifeat.data.files import TableWriter, read_table
from omnifeat.data.locks import working_in
from omnifeat.data.provenance import provenance_of
from omnifeat.data.validate import validate
from omnifeat.enrich.text import enrich_text
from omnifeat.enrich.text_fields import texts_of
from omnifeat.errors import DataError, OutputError, SettingError
from omnifeat.models.config import fitted_to, preset
from omnifeat.models.overrides import with_overrides
from omnifeat.pretrained import PretrainedEncoder
from tests.commands import omnifeat, refused

PINS = {
    "id": ["p1", "p2", "p3", "p4", "p5"],
    "title": ["red shoe", "cat", None, " ", "red shoe"],
    "description": [None, "red", "shoe", "", "  "],
    "board_titles": pa.array([["cat", None, "red"], [], None, [" "], ["shoe"]], pa.list_(pa.string())),
}
PRODUCTS = {"id": ["q1", "q2"], "title": ["cat", "shoe shoe"], "brand": ["red", None], "price": [1.0, 2.0]}
VECTORS = pa.list_(pa.float32(), 2)
Write = Callable[..., Path]


@pytest.fixture
def shop(tmp_path: Path) -> Write:
    """Write a dataset of five pins and two products, some columns of them changed."""

    def write(name: str = "shop", pins: dict[str, Any] | None = None, products: dict[str, Any] | None = None) -> Path:
        with DatasetWriter(tmp_path / name, DatasetInfo(name="shop")) as writer:
            writer.write("pins", pa.table({**PINS, **(pins or {})}))
            writer.write("products", pa.table({**PRODUCTS, **(products or {})}))
            writer.write("boards", pa.table({"board_id": ["b1"], "title": ["x"]}))
        return tmp_path / name

    return write


def vectors_of(folder: Path, table: str, column: str = "text_embedding") -> list[Any]:
    found: list[Any] = Dataset.open(folder).read(table)[column].to_pylist()
    return found


def test_vectors_are_what_the_model_gives(shop: Write, text_model: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = omnifeat(
        "enrich",
        "text",
        shop(),
        "-o",
        out,
        "--model",
        text_model,
        "--prefix",
        "passage: ",
        "--dtype",
        "float32",
        "--json",
    )
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["texts"], told["encoded"], told["resumed"], told["dim"]) == (3, 3, 0, 8)
    assert told["tables"]["pins"] == {
        "rows": 5, "filled": 3, "without_text": 2, "without_vector": 0, "absent_fields": [],
    }  # fmt: skip
    model = BertModel.from_pretrained(text_model).eval()
    with torch.inference_mode():  # [CLS] passage : red shoe [SEP]
        mean = model(torch.tensor([[2, 4, 5, 6, 7, 3]])).last_hidden_state[0].mean(0)
    pins = vectors_of(out, "pins")
    np.testing.assert_allclose(pins[0], (mean / mean.norm()).numpy(), atol=1e-5)
    assert pins[4] == pins[0]
    assert [vector is None for vector in pins] == [False, False, True, True, False]
    assert vectors_of(out, "products")[0] == pins[1]  # one text, one vector, in whatever table
    assert Dataset.open(out).schema("pins").field("text_embedding").type == pa.list_(pa.float32(), 8)
    assert (out / "boards.parquet").samefile(tmp_path / "shop" / "boards.parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "shop"]
    assert validate(out).ok


def test_the_column_says_what_made_it(shop: Write, text_model: str, tmp_path: Path) -> None:
    fields = ["title", "brand"]
    report = enrich_text(Dataset.open(shop()), tmp_path / "out", model=text_model, fields=fields, dtype="bfloat16")
    (_, name, made), *_ = provenance_of(Dataset.open(tmp_path / "out"), "products")
    assert (name, made.made_by, made.reads) == ("text_embedding", "omnifeat enrich text", ("title", "brand"))
    assert made.settings == {
        "model": text_model, "digest": report.model_digest, "fields": "title,brand", "pooling": "mean", "prefix": "",
        "max_length": 16, "dtype": "bfloat16",
    }  # fmt: skip
    assert report.tables["pins"].absent_fields == ("brand",)  # told, and the others taken
    assert report.model_digest == PretrainedEncoder.load(text_model, prefix="x").model_digest


def test_fields_are_joined_in_their_order() -> None:
    batch = pa.table(PINS).to_batches()[0]
    joined = texts_of(batch, ["description", "board_titles", "title"]).to_pylist()
    assert joined == ["cat red red shoe", "red cat", "shoe", None, "shoe red shoe"]
    assert texts_of(batch.slice(1, 2), ["title", "description"]).to_pylist() == ["cat red", "shoe"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_vectors_are_of_unit_length_and_near_in_both_formats(
    shop: Write, text_model: str, tmp_path: Path, dtype: str
) -> None:
    report = enrich_text(Dataset.open(shop()), tmp_path / "out", model=text_model, dtype=dtype, batch_size=1)
    assert report.dtype == dtype
    vectors = np.array([vector for vector in vectors_of(tmp_path / "out", "pins") if vector is not None], np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    exact = PretrainedEncoder.load(text_model).encode(["red shoe", "cat", "red shoe"])
    np.testing.assert_allclose((vectors * exact).sum(1), 1, atol=1e-4)


class Killed(BaseException):
    """What stands for the end of the process."""


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The texts that are encoded, part by part; a third part ends the process where `die` stands first."""
    calls: list[list[str]] = []
    whole = PretrainedEncoder.encode

    def encode(self: PretrainedEncoder, texts: Sequence[str], **options: Any) -> npt.NDArray[np.float32]:
        if calls and calls[0] == ["die"] and len(calls) == 3:
            raise Killed
        calls.append(list(texts))
        return whole(self, texts, **options)

    monkeypatch.setattr(PretrainedEncoder, "encode", encode)
    return calls


MANY = {"id": [f"p{row}" for row in range(9)], "title": ["a", "b c", "d", "a", "e e e", "f", "g", None, "b c"],
        "description": [None] * 9, "board_titles": pa.nulls(9, pa.list_(pa.string()))}  # fmt: skip


def test_each_text_is_encoded_once(shop: Write, text_model: str, tmp_path: Path, encoded: list[list[str]]) -> None:
    enrich_text(Dataset.open(shop(pins=MANY)), tmp_path / "out", model=text_model, part_texts=2)
    assert encoded == [["a", "b c"], ["d", "e e e"], ["f", "g"], ["cat", "shoe shoe"]]


def test_a_killed_run_goes_on(shop: Write, text_model: str, tmp_path: Path, encoded: list[list[str]]) -> None:
    data, out = Dataset.open(shop(pins=MANY)), tmp_path / "out"
    encoded.append(["die"])
    with pytest.raises(Killed):
        enrich_text(data, out, model=text_model, part_texts=2)
    assert not out.exists()
    assert len(list((tmp_path / ".out.text").iterdir())) == 2
    encoded.clear()
    report = enrich_text(data, out, model=text_model, part_texts=2)
    assert encoded == [["f", "g"], ["cat", "shoe shoe"]]
    assert (report.texts, report.resumed, report.encoded) == (8, 4, 4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "shop"]
    # a run that was never killed writes the same bytes
    enrich_text(data, tmp_path / "whole", model=text_model)
    for table in ("pins", "products"):
        assert (tmp_path / "whole" / f"{table}.parquet").read_bytes() == (out / f"{table}.parquet").read_bytes()


def test_one_run_at_a_time(shop: Write, text_model: str, tmp_path: Path) -> None:
    data, out, state = Dataset.open(shop()), tmp_path / "out", tmp_path / "state"
    with working_in(tmp_path / ".out.text"), pytest.raises(OutputError, match=r"is working in .*/out: wait for it"):
        enrich_text(data, out, model=text_model)
    with working_in(state), pytest.raises(OutputError, match=r"is working in .*/state: wait for it"):
        enrich_text(data, out, model=text_model, state=state)
    assert not out.exists()


@pytest.mark.parametrize(
    "changed", [{"prefix": "passage: "}, {"pooling": "cls"}, {"max_length": 7}, {"dtype": "bfloat16"}]
)
def test_parts_of_other_settings_are_not_taken(
    shop: Write, text_model: str, tmp_path: Path, encoded: list[list[str]], changed: dict[str, Any]
) -> None:
    data, state = Dataset.open(shop()), tmp_path / "state"
    enrich_text(data, tmp_path / "one", model=text_model, dtype="float32", state=state)
    report = enrich_text(data, tmp_path / "two", model=text_model, state=state, **{"dtype": "float32", **changed})
    assert (report.encoded, report.resumed) == (3, 0)
    again = enrich_text(data, tmp_path / "three", model=text_model, dtype="float32", state=state)
    assert (again.encoded, again.resumed) == (0, 3)


def test_parts_of_other_weights_are_not_taken(shop: Write, text_model: str, tmp_path: Path) -> None:
    folder, state, data = shutil.copytree(text_model, tmp_path / "model"), tmp_path / "state", Dataset.open(shop())
    enrich_text(data, tmp_path / "one", model=str(folder), state=state)
    moved = folder.rename(tmp_path / "moved")  # the same model
    assert enrich_text(data, tmp_path / "two", model=str(moved), state=state).encoded == 0
    model = BertModel.from_pretrained(moved)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight[6] += 1
    model.save_pretrained(moved)
    assert enrich_text(data, tmp_path / "three", model=str(moved), state=state).encoded == 3


def test_a_state_encodes_what_is_new(shop: Write, text_model: str, tmp_path: Path, encoded: list[list[str]]) -> None:
    state = tmp_path / "state"
    enrich_text(Dataset.open(shop()), tmp_path / "out", model=text_model, state=state)
    data = Dataset.open(shop("later", pins={"title": ["cat", "red shoe", "new", "red", None]}))
    encoded.clear()
    report = enrich_text(data, tmp_path / "out", model=text_model, state=state, overwrite=True)
    assert encoded == [["new", "red"]]
    assert (report.texts, report.resumed, report.encoded) == (5, 3, 2)
    expected = PretrainedEncoder.load(text_model, dtype=report.dtype).encode(["cat", "red shoe", "new", "red"])
    np.testing.assert_allclose(vectors_of(tmp_path / "out", "pins")[:4], expected, atol=1e-2)


@pytest.mark.parametrize("damage", ["cut", "emptied", "numbers", "names", "text"])
def test_a_damaged_part_is_made_again(
    shop: Write, text_model: str, tmp_path: Path, encoded: list[list[str]], damage: str
) -> None:
    data, state = Dataset.open(shop()), tmp_path / "state"
    enrich_text(data, tmp_path / "out", model=text_model, dtype="float32", state=state, part_texts=2)
    path, other = sorted(state.glob("*.arrow"))
    content = path.read_bytes()
    if damage == "numbers":
        first = read_table(path)["vector"][0].as_py()
        place = content.index(np.array(first, np.float32).tobytes())
        content = content[:place] + np.float32(3e9).tobytes() + content[place + 4 :]
    changed = {"cut": content[: len(content) // 2], "emptied": b"", "numbers": content, "text": b"x" * 500}
    path.write_bytes(changed.get(damage, other.read_bytes()))  # the names of the other part, twice
    encoded.clear()
    report = enrich_text(data, tmp_path / "again", model=text_model, dtype="float32", state=state)
    assert report.encoded in (1, 2)
    for table in ("pins", "products"):
        assert vectors_of(tmp_path / "again", table) == vectors_of(tmp_path / "out", table)
    assert enrich_text(data, tmp_path / "more", model=text_model, dtype="float32", state=state).encoded == 0


def test_a_text_without_a_vector_is_null_and_counted(
    shop: Write, text_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode(self: PretrainedEncoder, texts: Sequence[str], **options: Any) -> npt.NDArray[np.float32]:
        rows = {"cat": np.zeros(8), "red shoe": np.full(8, np.nan)}
        return np.array([rows.get(text, np.eye(8)[0]) for text in texts], np.float32)

    monkeypatch.setattr(PretrainedEncoder, "encode", encode)
    report = enrich_text(Dataset.open(shop()), tmp_path / "out", model=text_model)
    assert vectors_of(tmp_path / "out", "pins") == [None] * 5
    assert vectors_of(tmp_path / "out", "products") == [None, [1.0] + [0.0] * 7]
    assert (report.tables["pins"].without_vector, report.tables["products"].without_vector) == (3, 1)


def test_rows_that_change_meanwhile_are_refused(
    shop: Write, text_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, whole = shop(), PretrainedEncoder.encode
    later = shop("later", pins={"title": ["one", "two", "three", "four", "five"]})

    def encode(self: PretrainedEncoder, texts: Sequence[str], **options: Any) -> npt.NDArray[np.float32]:
        shutil.copy(later / "pins.parquet", folder / "pins.parquet")
        return whole(self, texts, **options)

    monkeypatch.setattr(PretrainedEncoder, "encode", encode)
    with pytest.raises(DataError, match=r"pins\.parquet changed while it was encoded"):
        enrich_text(Dataset.open(folder), tmp_path / "out", model=text_model)
    assert not (tmp_path / "out").exists()


def test_vectors_that_are_there_are_replaced_when_it_is_asked_for(shop: Write, text_model: str, tmp_path: Path) -> None:
    own = pa.array([[1.0, 2.0]] + [None] * 4, pa.list_(pa.float32(), 2))
    data = Dataset.open(shop(pins={"text_embedding": own}))
    refused(
        omnifeat("enrich", "text", data.path, "-o", tmp_path / "out", "--model", text_model),
        "pins.parquet has vectors in 'text_embedding' already: replace them all with --replace",
    )
    report = enrich_text(data, tmp_path / "out", model=text_model, replace=True)
    assert (report.dim, report.tables["pins"].filled) == (8, 3)
    assert vectors_of(tmp_path / "out", "pins")[3] is None
    named = enrich_text(data, tmp_path / "named", model=text_model, column="e5_embedding")
    assert named.column == "e5_embedding"
    assert Dataset.open(tmp_path / "named").schema("pins").field("e5_embedding").type == pa.list_(pa.float32(), 8)
    assert vectors_of(tmp_path / "named", "pins")[0] == [1.0, 2.0]


def test_a_column_of_nulls_is_filled(shop: Write, text_model: str, tmp_path: Path) -> None:
    data = shop(pins={"text_embedding": pa.nulls(5, pa.list_(pa.float32(), 8))})
    assert enrich_text(Dataset.open(data), tmp_path / "out", model=text_model).tables["pins"].filled == 3


def test_two_tables_have_one_space(shop: Write, text_model: str, tmp_path: Path) -> None:
    enrich_text(Dataset.open(shop()), tmp_path / "pins", model=text_model, tables=["pins"])
    half = Dataset.open(tmp_path / "pins")
    with pytest.raises(DataError, match="in 'text_embedding' of another source .*pooling 'mean'.* share no space"):
        enrich_text(half, tmp_path / "out", model=text_model, tables=["products"], pooling="cls")
    enrich_text(half, tmp_path / "out", model=text_model, tables=["products"])
    assert vectors_of(tmp_path / "out", "products")[0] == vectors_of(tmp_path / "out", "pins")[1]


def test_in_place(shop: Write, text_model: str, tmp_path: Path) -> None:
    data = shop()
    with pytest.raises(OutputError):
        enrich_text(Dataset.open(data), data, model=text_model)
    enrich_text(Dataset.open(data), data, model=text_model, overwrite=True, state=data / "state")
    assert vectors_of(data, "pins")[0] is not None
    assert list((data / "state").glob("*.arrow"))
    other = tmp_path / "other"
    with pytest.raises(SettingError, match="lies in .*other, which is written anew"):
        enrich_text(Dataset.open(data), other, model=text_model, replace=True, state=other / "state")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--fields", "titel"), "has no column 'titel' in pins or products"),
        (("--fields", "titel"), "did you mean 'title'?"),
        (("--fields", "price"), "products.parquet, column 'price' is double and no text"),
        (("--fields", ""), "name at least one"),
        (("--fields", "title,title"), "The field 'title' is named twice"),
        (("--fields", "engaged_queries"), "'engaged_queries' cannot go into a vector"),
        (("--fields", "brand"), "pins.parquet has no column 'brand': name one of title, description, board_titles"),
        (("--fields", "brand"), "or leave the table out with --tables products"),
        (("--tables", "boards"), "belong to pins and products, not to 'boards'"),
        (("--column", "title"), "'title' is no name of a column of vectors"),
        (("--column", "f_x_embedding"), "'f_x_embedding' is no name of a column of vectors"),
        (("--column", "image_embedding"), "is for vectors of pictures"),
        (("--batch-size", 0), "The batch size must be at least 1"),
        (("--part-texts", 0), "The part texts must be at least 1"),
        (("--device", "tpu"), "must be auto, cpu or cuda, but is 'tpu'"),
        (("--max-length", 17), "does not read 17 word pieces at once, but at most 16: give a smaller number"),
        (("--max-length", 2), "nothing of the text is left"),
        (("--max-length", 4, "--prefix", "passage: "), "are 4, of which prefix and special ones take 4"),
    ],
)
def test_settings_that_cannot_be(
    shop: Write, text_model: str, tmp_path: Path, options: tuple[object, ...], said: str
) -> None:
    refused(omnifeat("enrich", "text", shop(), "-o", tmp_path / "out", "--model", text_model, *options), said)
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def test_bad_input(shop: Write, text_model: str, vit: str, tmp_path: Path) -> None:
    data, out = shop(), tmp_path / "out"
    for model, said in [
        (tmp_path / "none", "No pretrained encoder can be loaded from"),
        ("nobody/none", "No pretrained encoder can be loaded from 'nobody/none'"),
        (vit, "No"),
    ]:
        refused(omnifeat("enrich", "text", data, "-o", out, "--model", model), said)
    refused(omnifeat("enrich", "text", data, "-o", data, "--model", text_model), "exists and is not empty")
    refused(omnifeat("enrich", "text", data, "-o", data / "in", "--model", text_model), "lies inside")
    blank = shop("blank", pins={"title": [None, " ", "", None, None]}, products={"title": [None, "  "]})
    refused(
        omnifeat("enrich", "text", blank, "-o", out, "--model", text_model), "no row of pins or products has a text"
    )
    twice = shop("twice", pins={"title": ["a"] * 5})
    ids = read_table(twice / "pins.parquet").set_column(0, "id", pa.array(["p1", "p2", "p3", "p1", "p5"]))
    (twice / "pins.parquet").unlink()
    (twice / "pins.jsonl").write_text("\n".join(json.dumps(row) for row in ids.to_pylist()))
    refused(
        omnifeat("enrich", "text", twice, "-o", out, "--model", text_model), "'p1' stands in row 1 and again in row 4"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blank", "shop", "twice"]


PAGE = (Path(__file__).parents[2] / "docs" / "commands" / "enrich_models.md").read_text(encoding="utf-8")


def test_the_page(
    shop: Write, text_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its example runs, and its table has every option with its default."""
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    shop("data")
    monkeypatch.chdir(tmp_path)
    exec(compile(example.replace("sentence-transformers/all-MiniLM-L6-v2", text_model), "example", "exec"), {})
    assert capsys.readouterr().out.endswith("3 distinct texts, 2 pins without a text\n")
    section = PAGE.split("## omnifeat enrich text")[1].split("\n## ")[0]
    parameters = inspect.signature(enrich_text_command).parameters
    for name in parameters.keys() - {"data", "out", "as_json"}:
        assert f"`--{name.replace('_', '-')}`" in section
    assert f"{parameters['part_texts'].default:,}" in section


def test_training_takes_the_column_where_it_is_named() -> None:
    schemas = {"pins": pa.schema([("text_embedding", pa.list_(pa.float32(), 8))])}
    config = with_overrides(preset("tiny"), ['entity.continuous={"text_embedding": 8}'])
    assert fitted_to(config, schemas).entity.continuous == {"text_embedding": 8}


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_columns_of_vectors_by_their_name(tmp_path: Path, suffix: str) -> None:
    """Text formats carry no types: a name that ends in _embedding says that the numbers are a vector."""
    with TableWriter(
        tmp_path / f"pins.{suffix}", pa.schema([("id", pa.string()), ("own_embedding", VECTORS)])
    ) as writer:
        writer.write(pa.table({"id": ["a", "b"], "own_embedding": pa.array([None, [1.0, 2.0]], VECTORS)}))
    (tmp_path / "dataset.json").write_text('{"name": "x"}')
    pins = Dataset.open(tmp_path).read("pins")
    assert pins.schema.field("own_embedding").type == VECTORS
    assert pins["own_embedding"].to_pylist() == [None, [1.0, 2.0]]
