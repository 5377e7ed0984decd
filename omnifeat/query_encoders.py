"""Encoders of queries by the folder they lie in: frozen ones, Transformers models, and several side by side."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from omnifeat.data.text_lists import text_list
from omnifeat.embedding_table import EmbeddingTable
from omnifeat.errors import EncoderError, FingerprintError, SettingError
from omnifeat.frozen import FrozenEncoder
from omnifeat.known_queries import KnownQueries
from omnifeat.pretrained import PretrainedEncoder

__all__ = ["QueryEncoder", "StackedEncoder", "open_query_encoder"]


class QueryEncoder(Protocol):
    """What embeds queries: a `FrozenEncoder`, or anything with these."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def dim(self) -> int: ...

    def encode_queries(self, texts: Sequence[str]) -> npt.NDArray[np.float32]: ...


class StackedEncoder:
    """Several encoders whose vectors stand side by side in one row, each of unit length.

    A row's length is the square root of their number, so that the cosine of two rows is the mean of the encoders'
    cosines. Another order of the encoders is another space; the fingerprint is theirs in order, joined by "+".
    """

    def __init__(self, encoders: Sequence[QueryEncoder]) -> None:
        if not encoders:
            raise SettingError("No encoder was given; name at least one.")
        self.encoders = tuple(encoders)

    @property
    def fingerprint(self) -> str:
        """The encoders' fingerprints, in order, with "+" between."""
        return "+".join(encoder.fingerprint for encoder in self.encoders)

    @property
    def dim(self) -> int:
        """Sum of the encoders' widths."""
        return sum(encoder.dim for encoder in self.encoders)

    def encode_queries(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embeddings float32 (len(texts), dim); raises what the encoders raise."""
        texts = text_list(texts)  # once, where they are a generator
        return np.hstack([encoder.encode_queries(texts) for encoder in self.encoders])


def open_query_encoder(
    places: Sequence[str | Path],
    *,
    tables: Sequence[str] = (),
    prefix: str = "",
    pooling: str = "mean",
    threads: int | None = None,
) -> QueryEncoder:
    """The encoder of a folder, or those of several side by side.

    Parameters
    ----------
    places
        Folders of frozen encoders or their names on the hub, and folders of Transformers models.
    tables
        Tables of query embeddings, as `omnifeat embed --queries` writes them, of the frozen ones among the encoders:
        queries that they hold are not encoded again.
    prefix, pooling
        Of the Transformers models, see `PretrainedEncoder`.
    threads
        Torch's; its own setting if None.

    Raises
    ------
    EncoderError
        There is no such encoder.
    SettingError
        No place, one named twice, or no such pooling.
    DataError
        A table is not one of query embeddings.
    FingerprintError
        A table is of none of the encoders.
    """
    named = [str(place) for place in places]
    for place in named:
        if named.count(place) > 1:
            raise SettingError(f"Encoder {place} is named twice; name it once.")
    encoders: list[QueryEncoder] = []
    opened = {path: EmbeddingTable.open(path).fingerprint for path in tables}
    for place in named:
        if _holds_transformer(place):
            encoders.append(PretrainedEncoder.load(place, prefix=prefix, pooling=pooling, threads=threads))
            continue
        frozen = FrozenEncoder.from_pretrained(place, threads=threads)
        own = [path for path, fingerprint in opened.items() if fingerprint == frozen.fingerprint]
        encoders.append(KnownQueries(frozen, own, place) if own else frozen)
    known = {encoder.fingerprint for encoder in encoders}
    for path, fingerprint in opened.items():
        if fingerprint not in known:
            raise FingerprintError(
                f"{path} was made by the encoder {fingerprint[:12]}…, which is none of {', '.join(named)}; "
                "give the encoder that made it, or leave the table out."
            )
    return encoders[0] if len(encoders) == 1 else StackedEncoder(encoders)


def _holds_transformer(place: str) -> bool:
    """Whether a folder's configuration is one of Transformers; a frozen encoder's is read by its own loader."""
    path = Path(place) / "config.json"
    if not path.is_file():
        return False
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EncoderError(f"{path} cannot be read ({error}); give the folder of an encoder.") from error
    return isinstance(config, dict) and "model_type" in config and config.get("library_name") != "omnifeat"
