"""Pictures, and small models with random weights, saved as Hugging Face saves them."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from PIL import Image
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    BlipProcessor,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
)

from omnifeat.data.dataset import DatasetInfo, DatasetWriter
from omnifeat.data.splits import HashSplit, TimeSplit
from tests.data.small_world import tables
from tests.tiny_transformer import write_transformer

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]", "a", "red", "blue", "cup", "on", "table"]


@pytest.fixture(scope="session")
def blip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A BLIP of one layer; what it says of a picture is nonsense, but the same nonsense each time."""
    folder = tmp_path_factory.mktemp("models") / "blip"
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BlipConfig(
        text_config={
            **size, "vocab_size": len(WORDS), "encoder_hidden_size": 16, "max_position_embeddings": 32,
            "bos_token_id": 5, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0,
        },
        vision_config={**size, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )  # fmt: skip
    torch.manual_seed(0)
    model = BlipForConditionalGeneration(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # as they are drawn, the weights are too small to tell pictures apart
            if parameter.ndim > 1 and ("patch_embedding" in name or "crossattention" in name):
                parameter.mul_(100)
        model.text_decoder.cls.predictions.bias[:7] = -1e4  # words alone, so that no caption is empty
    model.save_pretrained(folder)
    tokenizer = BertTokenizer(vocab={word: place for place, word in enumerate(WORDS)}, bos_token="[DEC]")
    BlipProcessor(BlipImageProcessorPil(size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def vit(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A ViT of one layer and 16 dimensions."""
    folder = tmp_path_factory.mktemp("models") / "vit"
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8
    )
    ViTModel(config).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A text encoder of one layer, 8 dimensions and 16 places."""
    return str(write_transformer(tmp_path_factory.mktemp("models") / "text", ["passage", ":", "red", "shoe", "cat"]))


def picture(path: Path, color: object, size: tuple[int, int] = (40, 30), mode: str = "RGB") -> None:
    Image.new(mode, size, color).save(path)


@pytest.fixture
def gallery(tmp_path: Path) -> Callable[..., Path]:
    """A dataset with six pins: three pictures, one file that is none, one that is not there, one without a path."""

    def write(name: str = "gallery", **columns: pa.Array) -> Path:
        folder = tmp_path / name
        with DatasetWriter(folder, DatasetInfo(name="gallery")) as writer:
            images = writer.folder / "images"
            images.mkdir()
            picture(images / "red.png", (200, 30, 30))
            picture(images / "blue.jpg", (20, 40, 220))
            picture(images / "clear.png", (0, 0, 0, 0), mode="RGBA")
            (images / "text.png").write_text("no picture")
            names = ["red.png", "blue.jpg", "text.png", "gone.png", None, "clear.png"]
            paths = [name and f"images/{name}" for name in names]
            ids = [f"p{number}" for number in range(1, 7)]
            writer.write("pins", pa.table({"id": ids, "image_path": paths, "title": ids, **columns}))
            writer.write("boards", pa.table({"board_id": ["b1"], "title": ["x"]}))
        return folder

    return write


@pytest.fixture
def world(tmp_path: Path) -> Callable[..., Path]:
    """Write the small world with some tables changed; None leaves one out."""

    def write(split: HashSplit | TimeSplit | None = None, **changed: pa.Table | None) -> Path:
        folder = tmp_path / "world"
        with DatasetWriter(folder, DatasetInfo(name="small", split=split), overwrite=True) as writer:
            for name, table in (tables() | changed).items():
                if table is not None:
                    writer.write(name, table)
        return folder

    return write
