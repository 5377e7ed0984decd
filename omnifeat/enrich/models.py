"""Hugging Face models over pictures: captions (section 3.2.1 of the paper) and vectors.

Each loader gives a function from a list of RGB pictures of PIL to as many values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from omnifeat.data.artefacts import LibraryCall
from omnifeat.data.identity import content_of_path
from omnifeat.errors import SettingError
from omnifeat.transformers_files import TransformersFolder

__all__ = ["CAPTION_MODEL", "device_of", "load_captioner", "load_vision", "model_identity"]

CAPTION_MODEL = "Salesforce/blip-image-captioning-base"
Pooling = Literal["cls", "mean"]


def device_of(name: str) -> torch.device:
    """`auto` takes a GPU where there is one. Raises `SettingError` for a device that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise SettingError("There is no GPU for --device cuda: take auto or cpu.")
    if name not in ("cpu", "cuda"):
        raise SettingError(f"The device must be auto, cpu or cuda, but is '{name}'.")
    return torch.device(name)


def model_identity(name: str) -> str:
    """What tells one model from another: the hub name, or a folder's name with the content of its files.

    A model that was trained anew into the same folder is another one, and results of the old are not taken for it.
    """
    return f"{name} {content_of_path(name)}" if Path(name).is_dir() else name


def _open(what: str, name: str) -> TransformersFolder:
    return TransformersFolder.open(
        name,
        what=what,
        failed=f"No {what} can be loaded from",
        remedy="give the folder or the hub name of one",
        error=SettingError,
    )


def _tried_picture() -> Any:
    """A small picture that a model is tried on: what its settings are wrong in is found before a run begins."""
    from PIL import Image

    return Image.new("RGB", (40, 30), "red")


def load_captioner(
    name: str = CAPTION_MODEL, *, device: str = "auto", max_tokens: int = 30, beams: int = 1, prompt: str = ""
) -> Callable[[Sequence[Any]], list[str | None]]:
    """An image-to-text model of the BLIP or BLIP-2 family; deterministic, by greedy or beam search.

    Parameters
    ----------
    name
        Folder or hub name.
    prompt
        How each caption begins, such as "a photograph of"; empty for none.

    Raises
    ------
    SettingError
        Nothing that writes captions can be loaded, the device is not there, or prompt and caption are longer than the
        model reads.
    """
    from transformers import AutoModelForImageTextToText, AutoProcessor

    place = device_of(device)
    folder = _open("captioning model", name)
    processor = folder.processor(AutoProcessor)
    model = folder.model(AutoModelForImageTextToText).to(place)
    _check_length(processor, model, name, prompt, max_tokens)

    def caption(pictures: Sequence[Any], most: int = max_tokens) -> list[str | None]:
        text = {"text": [prompt] * len(pictures), "padding": True} if prompt else {}
        inputs = processor(images=list(pictures), return_tensors="pt", **text).to(place)
        with torch.inference_mode():
            tokens = model.generate(**inputs, max_new_tokens=most, num_beams=beams, do_sample=False)
        texts = processor.batch_decode(tokens, skip_special_tokens=True)
        return [" ".join(text.split()) or None for text in texts]

    with LibraryCall(folder.failed, error=SettingError, remedy=folder.remedy):
        caption([_tried_picture()], 1)
    return caption


def _check_length(processor: Any, model: Any, name: str, prompt: str, max_tokens: int) -> None:
    """Refuse a caption that may be longer than the model has places for, which would end it amid the pictures."""
    places = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    begun = len(processor.tokenizer(prompt)["input_ids"]) if prompt else 1
    begun += getattr(model.config, "num_query_tokens", 0)  # BLIP-2 has the picture before the text
    # the last token is written and not read
    if places is not None and begun + max_tokens - 1 > places:
        raise SettingError(
            f"The model '{name}' reads at most {places} tokens, too few for {begun} to begin with and {max_tokens} "
            "more: give a smaller --max-tokens or a shorter --prompt."
        )


def load_vision(name: str, *, device: str = "auto", pooling: Pooling = "cls") -> Callable[[Sequence[Any]], list[Any]]:
    """A vision model; its last hidden layer pooled and scaled to unit length, float32.

    `cls` takes the first token, `mean` the mean over all tokens, or over all places of a convolutional network. Of a
    model of pictures and text the vision half is taken.

    Raises
    ------
    SettingError
        No vision model can be loaded, the device is not there, or the model has no first token.
    """
    from transformers import AutoImageProcessor, AutoModel

    place = device_of(device)
    folder = _open("vision model", name)
    processor = folder.processor(AutoImageProcessor)
    model = folder.model(AutoModel)
    model = getattr(model, "vision_model", model).to(place)

    def encode(pictures: Sequence[Any]) -> list[Any]:
        inputs = processor(images=list(pictures), return_tensors="pt").to(place)
        with torch.inference_mode():
            hidden = model(pixel_values=inputs["pixel_values"]).last_hidden_state
            if hidden.ndim == 4:  # (pictures, channels, height, width)
                if pooling == "cls":
                    raise SettingError(f"The model '{name}' has no first token: pool by the mean.")
                pooled = hidden.flatten(2).mean(dim=2)
            else:
                pooled = hidden[:, 0] if pooling == "cls" else hidden.mean(dim=1)
            vectors = torch.nn.functional.normalize(pooled.float(), dim=1).cpu()
        finite = torch.isfinite(vectors).all(dim=1).tolist()
        return [row if sound else None for row, sound in zip(vectors.numpy(), finite, strict=True)]

    with LibraryCall(folder.failed, error=SettingError, remedy=folder.remedy):
        encode([_tried_picture()])
    return encode
