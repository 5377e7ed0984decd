"""The folder of a frozen encoder: written whole, read back with every file checked.

    config.json          settings, the query backbone's own, SHA-256 of each file, fingerprint, notes
    model.safetensors    all weights
    query_tokenizer/     the query tokenizer, as Hugging Face writes it; none where queries are n-grams
    text_tokenizer/      the tokenizer of the block of text, where there is one
    ngrams/              the n-gram vocabularies
    training_record.safetensors   hashes of the training queries and pairs, where they are recorded
    README.md            the model card; the one file that may be edited

Nothing else is needed to load it: no pretrained folder, no hub. Nothing in it is pickled.
"""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from omnifeat import __version__
from omnifeat.data.artefacts import LibraryCall, member, read_bytes, read_object, regular_file
from omnifeat.errors import EncoderError, SettingError
from omnifeat.models.config import NGRAMS, SCRATCH, EncoderConfig
from omnifeat.models.encoder_checks import (
    ENCODER_REMEDY,
    check_file,
    check_fit,
    check_names,
    check_sizes,
    encoder_config,
)
from omnifeat.models.model_card import model_card
from omnifeat.models.omni import OmniModel
from omnifeat.models.query import (
    QueryEncoder,
    QueryTokenizer,
    query_encoder_from_settings,
    text_encoder_from_settings,
)
from omnifeat.models.training_record import RECORD_FILE, TrainingRecord
from omnifeat.scratch import temporary_folder
from omnifeat.text import NgramTokenizer
from omnifeat.transformers_checks import (
    Tensors,
    bounded_by,
    check_finite,
    check_text_model,
    check_vocabulary,
    embedding_rows,
    tensors_of,
)

__all__ = ["EncoderParts", "fingerprint_of", "parts_of_model", "read_encoder", "write_encoder"]

FORMAT_VERSION = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "README.md"
TOKENIZER_FOLDER = "query_tokenizer"
TEXT_FOLDER = "text_tokenizer"
NGRAMS_FOLDER = "ngrams"
_LARGEST_FILE = 2**30
_LARGEST_CONFIG = 2**22


@dataclass(frozen=True, eq=False)
class EncoderParts:
    """A whole encoder in memory.

    Attributes
    ----------
    model
        The weights, in evaluation mode.
    query_tokenizer, ngrams
        The two tokenizers, loaded from `files`; no query tokenizer where queries are n-grams.
    files
        Tokenizer files by path within the folder, byte for byte as they are stored.
    settings
        What makes the model besides weights: `encoder`, `query_backbone`, `ngram_ids`.
    training, metrics
        What is told about how it was made, for people; no part of the fingerprint.
    fingerprint
        SHA-256 over weights, settings and tokenizer files, in hex.
    record
        The queries and pairs that it was trained on, no part of the fingerprint; None where they are not recorded.
    text_tokenizer
        Of the block of text, with the prefix of queries; None where there is none.
    """

    model: OmniModel
    query_tokenizer: QueryTokenizer | None
    ngrams: NgramTokenizer
    files: dict[str, bytes]
    settings: dict[str, Any]
    training: dict[str, Any]
    metrics: dict[str, Any]
    fingerprint: str
    record: TrainingRecord | None = None
    text_tokenizer: QueryTokenizer | None = None

    def with_notes(self, training: Mapping[str, Any], metrics: Mapping[str, Any]) -> "EncoderParts":
        """The same encoder with other notes.

        Raises
        ------
        SettingError
            They hold something that JSON does not.
        """
        try:
            json.dumps([training, metrics], allow_nan=False)
        except (TypeError, ValueError) as error:
            raise SettingError(f"Notes on training and metrics must be plain JSON values ({error}).") from error
        return dataclasses.replace(self, training=dict(training), metrics=dict(metrics))


def fingerprint_of(weights: Mapping[str, torch.Tensor], settings: Mapping[str, Any], files: Mapping[str, bytes]) -> str:
    """SHA-256 in hex over weights (name, dtype, shape, bytes), settings and files, each in sorted order."""
    digest = hashlib.sha256(f"omnifeat encoder {FORMAT_VERSION}\n".encode())
    digest.update(_canonical(settings))
    for name in sorted(weights):
        array = weights[name].detach().cpu().contiguous().numpy()
        little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"\n{name} {array.dtype.name} {list(array.shape)}\n".encode())
        digest.update(np.ascontiguousarray(little_endian).reshape(-1).view(np.uint8).data)
    for path in sorted(files):
        digest.update(f"\n{path} {len(files[path])}\n".encode())
        digest.update(files[path])
    return digest.hexdigest()


def parts_of_model(
    model: OmniModel,
    query_tokenizer: QueryTokenizer | None,
    ngrams: NgramTokenizer,
    *,
    training: Mapping[str, Any],
    metrics: Mapping[str, Any],
    record: TrainingRecord | None = None,
    text_tokenizer: QueryTokenizer | None = None,
) -> EncoderParts:
    """Parts of a trained model. The tokenizers are written out and read back, so that a later load finds the same.

    The weights are copied, in float32: training can go on.

    Raises
    ------
    SettingError
        `training` or `metrics` hold something that JSON does not.
    """
    values = model.config.to_dict()
    for side in ("query", "text"):
        # where the folder lay on the machine that trained it is nobody's concern
        name = values[side]["model"]
        if name not in ("", SCRATCH, NGRAMS) and Path(name).exists():
            values[side]["model"] = Path(name).resolve().name
    config = EncoderConfig.from_dict(values)
    with temporary_folder() as folder:
        if query_tokenizer is not None:
            query_tokenizer.save(folder / TOKENIZER_FOLDER)
        if text_tokenizer is not None:
            text_tokenizer.save(folder / TEXT_FOLDER)
        ngrams.save(folder / NGRAMS_FOLDER)
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        loaded_tokenizer, loaded_text, loaded_ngrams = _load_tokenizers(folder, config)
    settings: dict[str, Any] = {
        "encoder": config.to_dict(),
        "query_backbone": model.query.backbone_settings() if isinstance(model.query, QueryEncoder) else {},
        "text_backbone": {} if model.text is None else model.text.backbone_settings(),
        "ngram_ids": ngrams.size,
    }
    weights = model.state_dict()
    copy = _empty_model(settings, {name: ("F32", tuple(value.shape)) for name, value in weights.items()})
    copy.load_state_dict(weights)
    parts = EncoderParts(
        model=copy,
        query_tokenizer=loaded_tokenizer,
        ngrams=loaded_ngrams,
        files=files,
        settings=settings,
        training={},
        metrics={},
        fingerprint=fingerprint_of(copy.state_dict(), settings, files),
        record=record,
        text_tokenizer=loaded_text,
    )
    return parts.with_notes(training, metrics)


def write_encoder(parts: EncoderParts, folder: Path) -> None:
    """Write all files into `folder`, which must exist and should be one that is renamed when whole."""
    for relative, content in parts.files.items():
        path = folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    # one copy of each tensor: safetensors refuses weights that share memory
    weights = {name: tensor.cpu().contiguous().clone() for name, tensor in parts.model.state_dict().items()}
    save_file(weights, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    hashes = {relative: hashlib.sha256(content).hexdigest() for relative, content in parts.files.items()}
    hashes[WEIGHTS_FILE] = _file_hash(folder / WEIGHTS_FILE)
    if parts.record is not None:
        parts.record.save(folder / RECORD_FILE)
        hashes[RECORD_FILE] = _file_hash(folder / RECORD_FILE)
    config: dict[str, Any] = {
        "library_name": "omnifeat",
        "format_version": FORMAT_VERSION,
        "omnifeat_version": __version__,
        "fingerprint": parts.fingerprint,
        "settings": parts.settings,
        "files": dict(sorted(hashes.items())),
        "training": parts.training,
        "metrics": parts.metrics,
    }
    config["checksum"] = hashlib.sha256(_canonical(config)).hexdigest()
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    # safetensors lets the owner alone read what it writes
    for name in (WEIGHTS_FILE, RECORD_FILE):
        if name in hashes:
            shutil.copymode(folder / CONFIG_FILE, folder / name)
    config_of_model = EncoderConfig.from_dict(parts.settings["encoder"])
    recorded = None if parts.record is None else parts.record.described
    card = model_card(config_of_model, parts.fingerprint, parts.training, parts.metrics, recorded)
    (folder / CARD_FILE).write_text(card, encoding="utf-8")


def read_encoder(folder: Path) -> EncoderParts:
    """Read and check an encoder folder.

    Raises
    ------
    EncoderError
        It is no encoder folder, it was written by a newer omnifeat, or a file of it is missing, was changed after it
        was saved, or holds what no encoder has; the message names the file.
    """
    config = _read_config(folder)
    check_names(folder, config["files"])
    settings: dict[str, Any] = config["settings"]
    files: dict[str, bytes] = {}
    for relative, expected in config["files"].items():
        path = folder / relative
        if not path.exists():
            raise EncoderError(f"The encoder '{folder}' lacks the file '{relative}'; fetch the encoder again.")
        if relative == WEIGHTS_FILE:
            tensors = _tensors(path, folder)
            found = _file_hash(path)
        elif relative == RECORD_FILE:  # large, and read by itself
            regular_file(path, error=EncoderError, remedy=ENCODER_REMEDY)
            found = _file_hash(path)
        else:
            files[relative] = read_bytes(path, limit=_LARGEST_FILE, error=EncoderError, remedy=ENCODER_REMEDY)
            found = hashlib.sha256(files[relative]).hexdigest()
        if found != expected:
            raise _changed(folder, relative)
    weights = folder / WEIGHTS_FILE
    encoder = encoder_config(settings, folder / CONFIG_FILE)
    check_sizes(settings, encoder, tensors, weights)
    query_tokenizer, text_tokenizer, ngrams = _load_tokenizers(folder, encoder)
    failed = f"The encoder '{folder}' cannot be built"
    with bounded_by(tensors, failed, remedy=ENCODER_REMEDY), torch.device("meta"):
        check_fit(_empty_model(settings, tensors), tensors, weights)
    model = _empty_model(settings, tensors)
    with LibraryCall(f"The weights '{weights}' cannot be read", error=EncoderError, remedy=ENCODER_REMEDY):
        model.load_state_dict(load_file(weights))
    check_finite(model, f"The weights '{weights}' cannot be used")
    if isinstance(model.query, QueryEncoder) and query_tokenizer is not None:
        check_text_model(model.query.backbone, failed)
        check_vocabulary(query_tokenizer.tokenizer, embedding_rows(model.query.backbone), str(folder))
    if model.text is not None and text_tokenizer is not None:
        check_text_model(model.text.backbone, failed)
        check_vocabulary(text_tokenizer.tokenizer, embedding_rows(model.text.backbone), str(folder))
    if ngrams.size != settings["ngram_ids"]:
        raise EncoderError(
            f"The n-gram vocabularies of the encoder '{folder}' have {ngrams.size} ids, and its '{CONFIG_FILE}' says "
            f"{settings['ngram_ids']}; fetch the encoder again."
        )
    fingerprint = fingerprint_of(model.state_dict(), settings, files)
    if fingerprint != config["fingerprint"]:
        raise EncoderError(
            f"The encoder '{folder}' has the fingerprint {fingerprint[:12]}, and its '{CONFIG_FILE}' says "
            f"{str(config['fingerprint'])[:12]}; fetch the encoder again."
        )
    return EncoderParts(
        model=model,
        query_tokenizer=query_tokenizer,
        ngrams=ngrams,
        files=files,
        settings=settings,
        training=config["training"],
        metrics=config["metrics"],
        fingerprint=fingerprint,
        record=TrainingRecord.load(folder / RECORD_FILE) if RECORD_FILE in config["files"] else None,
        text_tokenizer=text_tokenizer,
    )


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG_FILE
    if not path.exists():
        raise EncoderError(
            f"'{folder}' is no encoder folder: it has no file '{CONFIG_FILE}'; "
            "give the folder that `omnifeat train` wrote."
        )
    member(folder, CONFIG_FILE, error=EncoderError, remedy=ENCODER_REMEDY)
    config = read_object(path, limit=_LARGEST_CONFIG, error=EncoderError, remedy="fetch or train the encoder again")
    if "format_version" not in config or "checksum" not in config:
        raise EncoderError(
            f"'{folder}' is no encoder folder: its '{CONFIG_FILE}' is not one that omnifeat wrote, or was changed; "
            "give the folder that `omnifeat train` wrote."
        )
    checksum = config.pop("checksum")
    if checksum != hashlib.sha256(_canonical(config)).hexdigest():
        raise _changed(folder, CONFIG_FILE)
    if config["format_version"] != FORMAT_VERSION:
        version, writer = str(config["format_version"])[:20], str(config.get("omnifeat_version"))[:40]
        raise EncoderError(
            f"The encoder '{folder}' has format version {version}, and this omnifeat ({__version__}) reads version "
            f"{FORMAT_VERSION}; install the omnifeat that wrote it ({writer})."
        )
    check_file(config, path)
    return config


def _changed(folder: Path, relative: str) -> EncoderError:
    return EncoderError(
        f"The file '{relative}' of the encoder '{folder}' was changed after it was saved; "
        "fetch or train the encoder again."
    )


def _tensors(path: Path, folder: Path) -> Tensors:
    """What the weights hold by their header; a damaged header is a changed file as any other."""
    regular_file(path, error=EncoderError, remedy=ENCODER_REMEDY)
    return tensors_of(path, remedy=f"fetch or train the encoder '{folder}' again")


def _empty_model(settings: Mapping[str, Any], tensors: Tensors) -> OmniModel:
    """A model of these settings whose weights mean nothing yet, in evaluation mode; random state is left alone."""
    config = EncoderConfig.from_dict(settings["encoder"])
    with torch.random.fork_rng(devices=[]):
        query = None
        if config.query.model != NGRAMS:
            query = query_encoder_from_settings(config.query, config.dim, settings["query_backbone"], tensors)
        text = None
        if config.text.model:
            text = text_encoder_from_settings(config.text, settings.get("text_backbone", {}), tensors)
        model = OmniModel(config, query, int(settings["ngram_ids"]), text)
    return model.eval().requires_grad_(False)


def _load_tokenizers(
    folder: Path, config: EncoderConfig
) -> tuple[QueryTokenizer | None, QueryTokenizer | None, NgramTokenizer]:
    query = text = None
    if config.query.model != NGRAMS:
        place = folder / TOKENIZER_FOLDER
        query = QueryTokenizer.load(place, max_length=config.query.max_length, prefix=config.query.prefix)
    if config.text.model:
        place = folder / TEXT_FOLDER
        text = QueryTokenizer.load(place, max_length=config.text.max_length, prefix=config.text.query_prefix)
    return query, text, NgramTokenizer.load(folder / NGRAMS_FOLDER)


def _canonical(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
