"""Checks on Transformers models of strangers: sizes before anything is built, orders in files that are not followed.

A configuration may name code to run, kernels to fetch, or ten million layers; all it may say here is what a model is
made of, and no more of that than its weights hold.
"""

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from omnifeat.data.artefacts import LibraryCall, refuse_lfs_pointer
from omnifeat.errors import EncoderError, OmnifeatError

__all__ = [
    "Tensors",
    "bounded_by",
    "check_finite",
    "check_text_model",
    "check_vocabulary",
    "config_of",
    "embedding_rows",
    "quiet_transformers",
    "tensors_of",
]

Tensors = dict[str, tuple[str, tuple[int, ...]]]
"""Tensor name -> its dtype as safetensors names it, and its shape."""

# Settings that say how or by whose code a model is to run, or where it lay; the program says that itself.
_NOT_PASSED_ON = frozenset(
    ("auto_map", "_name_or_path", "name_or_path", "dtype", "torch_dtype", "custom_pipelines", "transformers_version")
)
_IMPLEMENTATION = re.compile(r"_?(attn|attention|experts)_implementation(_internal)?|use_kernels?|kernel_config")
# Settings that need what is not in the folder, or weights in a form that is not read.
_REFUSED = ("quantization_config", "compression_config", "use_pretrained_backbone")
# Settings that say how often a part is repeated: far more of them than tensors are no model of these weights.
_REPEATS = re.compile(r"(layers?|depths?|blocks?|experts|stages|heads|repeats|labels)$")
_LAYERS = re.compile(r"(num_hidden|n|num|encoder)_layers?")
_LEAST_LIMIT = 1024


def config_of(
    values: Mapping[str, Any],
    tensors: Tensors,
    failed: str,
    *,
    error: type[OmnifeatError] = EncoderError,
    remedy: str,
) -> Any:
    """A configuration of Transformers from JSON values, without what a file has no say in.

    Raises
    ------
    error
        The installed Transformers has no such type of model, the values are not what it takes, they ask for what is not
        in the folder, or for more parts than there are tensors.
    """
    from transformers import CONFIG_MAPPING

    kind = values.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        own = "and its own code is not run, " if "auto_map" in values else ""
        raise error(
            f"{failed}: the installed transformers has no model of type {str(kind)[:60]!r}, {own}which its "
            f"configuration names; {remedy}."
        )
    cleaned = _without_orders(values, failed, error, max(_LEAST_LIMIT, 8 * len(tensors)))
    with LibraryCall(failed, error=error, remedy=remedy), quiet_transformers():
        return CONFIG_MAPPING[kind].from_dict(cleaned)


def _without_orders(values: Mapping[str, Any], failed: str, error: type[OmnifeatError], limit: int) -> dict[str, Any]:
    kept: dict[Any, Any] = {}
    for name, value in values.items():
        key = str(name)  # labels have numbers for keys, in memory
        if key in _NOT_PASSED_ON or _IMPLEMENTATION.fullmatch(key):
            continue
        if key in _REFUSED and value:
            raise error(f"{failed}: its configuration has '{key}', which is not followed; give the model without it.")
        counts = value if isinstance(value, list) else [value]
        for count in counts if _REPEATS.search(key) else []:
            none = _LAYERS.fullmatch(key) is not None and count in (0, False)
            if isinstance(count, int | float) and (count < 0 or count > limit or none):
                raise error(
                    f"{failed}: '{key}' of its configuration is {count}, which is not what its weights hold; fetch it "
                    "again."
                )
        kept[name] = _without_orders(value, failed, error, limit) if isinstance(value, Mapping) else value
    return kept


def tensors_of(path: Path, *, error: type[OmnifeatError] = EncoderError, remedy: str) -> Tensors:
    """Names, dtypes and shapes of a safetensors file, checked by the library against its size; nothing is loaded.

    Raises
    ------
    error
        There is no such file, it is a Git LFS pointer, or is not what it must be.
    """
    refuse_lfs_pointer(path, error=error, remedy=remedy)
    found: Tensors = {}
    call = LibraryCall(f"The weights '{path}' cannot be read", error=error, remedy=remedy)
    with call, safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 - no mapping
            part = file.get_slice(name)
            found[name] = (part.get_dtype(), tuple(part.get_shape()))
    return found


@contextmanager
def bounded_by(
    tensors: Tensors, failed: str, *, error: type[OmnifeatError] = EncoderError, remedy: str
) -> Iterator[None]:
    """Within, building a module on this thread ends as soon as it has far more parameters than these tensors.

    A configuration of ten million layers would else be built layer by layer. Some room is left for what is tied, or
    dropped after building.

    Raises
    ------
    error
        The module has more.
    """
    most_parts = 2 * len(tensors) + 64
    most_numbers = 4 * sum(_numbers(shape) for _, shape in tensors.values()) + 2**20
    parts = numbers = 0
    thread = threading.get_ident()

    def registered(_module: Any, _name: str, parameter: Any) -> None:
        nonlocal parts, numbers
        if parameter is None or threading.get_ident() != thread:
            return
        parts, numbers = parts + 1, numbers + parameter.numel()
        if parts > most_parts or numbers > most_numbers:
            raise error(f"{failed}: its configuration describes a far larger model than its weights hold; {remedy}.")

    handle = torch.nn.modules.module.register_module_parameter_registration_hook(registered)
    try:
        yield
    finally:
        handle.remove()


def _numbers(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def check_finite(model: torch.nn.Module, failed: str, *, error: type[OmnifeatError] = EncoderError) -> None:
    """Refuse weights with NaN or infinity: every vector would be NaN. Raises `error`."""
    for name, weight in model.named_parameters():
        if not bool(torch.isfinite(weight).all()):
            raise error(f"{failed}: its weight '{name}' has NaN or infinity; fetch or train it again.")


def check_text_model(model: Any, failed: str, *, remedy: str = "give a folder that holds an encoder of texts") -> None:
    """Try a model, in evaluation mode, on two word pieces: what it needs beside them is found here, and not amid a run.

    Raises
    ------
    EncoderError
        It does not give a vector of its hidden width for each.
    """
    training = model.training
    with LibraryCall(failed, error=EncoderError, remedy=remedy), torch.inference_mode():
        ids = torch.zeros((1, 2), dtype=torch.long)
        shape = tuple(model.eval()(input_ids=ids, attention_mask=ids + 1).last_hidden_state.shape)
        width = int(model.config.hidden_size)
    model.train(training)
    if shape != (1, 2, width):
        raise EncoderError(f"{failed}: it gives no vector for each word piece, and is no encoder of texts; {remedy}.")


def check_vocabulary(tokenizer: Any, rows: int, name: str) -> None:
    """Refuse a tokenizer whose vocabulary hardly fits the rows of its model's table of word pieces.

    Raises
    ------
    EncoderError
        It has ids that the model has no row for, or fewer than half as many ids as there are rows.
    """
    ids = len(tokenizer)
    if ids > rows or 2 * ids < rows:
        raise EncoderError(
            f"The tokenizer of '{name}' has {ids} word pieces, and its model rows for {rows}: they do not belong "
            "together; give a folder whose tokenizer files are those of the model."
        )


def embedding_rows(model: Any) -> int:
    """How many word pieces a model has rows for."""
    return int(model.get_input_embeddings().num_embeddings)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without the library's progress bar, and without its reports on weights, which are read from what it returns."""
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
