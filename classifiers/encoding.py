"""Queries as embeddings, or as text for an encoder, and whether they come from the encoder that was trained on."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import NotFittedError

from classifiers.inputs import read_embeddings, read_texts
from classifiers.tree import InterestTree
from omnifeat.errors import FingerprintError, SettingError

__all__ = ["EncodedQueries"]


class EncodedQueries:
    """The part of a classifier that reads queries; see `InterestClassifier` for its settings."""

    encoder: Any
    encoder_fingerprint: str | None
    threads: int | None
    tree_: InterestTree
    encoder_fingerprint_: str | None
    n_features_in_: int

    def check_encoder(self, fingerprint: str) -> None:
        """Raise `FingerprintError` if the classifier was trained on embeddings of another encoder than this one."""
        self._fitted()
        own = self.encoder_fingerprint_
        if own is not None and own != fingerprint:
            raise FingerprintError(
                f"The classifier takes embeddings of encoder {own}, but these are of encoder {fingerprint}; "
                "use the same encoder, or train the classifier anew."
            )

    def __sklearn_is_fitted__(self) -> bool:
        """Whether `fit` or `load` has been called."""
        return hasattr(self, "tree_")

    def _fitted(self) -> InterestTree:
        if not self.__sklearn_is_fitted__():
            raise NotFittedError("This InterestClassifier is not fitted yet; call fit, or load a saved one.")
        return self.tree_

    def __getstate__(self) -> dict[str, Any]:
        # What was opened from a path is opened again from it; it would make every copy as large as the encoder.
        state: dict[str, Any] = super().__getstate__()  # type: ignore[assignment]
        return {name: value for name, value in state.items() if name != "_opened"}

    def _encoder(self) -> Any:
        """The encoder that is set; what is named by a path is opened once, not at each call."""
        several = tuple(self.encoder) if isinstance(self.encoder, list | tuple) else (self.encoder,)
        if len(several) == 1 and not isinstance(several[0], str | Path):
            return several[0]
        setting = (several, self.threads)
        opened: tuple[Any, Any] | None = vars(self).get("_opened")
        if opened is None or opened[0] != setting:
            opened = self._opened = (setting, self._open(several))
        return opened[1]

    def _open(self, several: tuple[Any, ...]) -> Any:
        from omnifeat.query_encoders import StackedEncoder, open_query_encoder

        if all(isinstance(one, str | Path) for one in several):
            return open_query_encoder(several, threads=self.threads)
        return StackedEncoder(
            [open_query_encoder([one], threads=self.threads) if isinstance(one, str | Path) else one for one in several]
        )

    def _own_fingerprint(self) -> str | None:
        """Of the encoder that `fit` gets embeddings from; raises `FingerprintError` if two are named."""
        if self.encoder is None:
            return self.encoder_fingerprint
        vars(self).pop("_opened", None)  # what lies at the path may be another encoder than at the last fit
        found = str(self._encoder().fingerprint)
        if self.encoder_fingerprint is not None and self.encoder_fingerprint != found:
            raise FingerprintError(
                f"The 'encoder_fingerprint' setting is {self.encoder_fingerprint}, but the encoder given is {found}; "
                "leave out one of the two."
            )
        return found

    def _embedded(self, queries: Any, texts: list[str] | None, *, learning: bool = False) -> Any:
        if texts is None:
            return queries
        if self.encoder is None:
            raise SettingError(
                "Queries were given as text, but there is no encoder; give embeddings, or set 'encoder'."
            )
        encoder = self._encoder()
        if not learning:
            self.check_encoder(str(encoder.fingerprint))
        return encoder.encode_queries(texts)

    def _read(self, queries: Any, fingerprint: str | None) -> npt.NDArray[np.float32]:
        self._fitted()
        if fingerprint is not None:
            self.check_encoder(fingerprint)
        return read_embeddings(self._embedded(queries, read_texts(queries)), self.n_features_in_)
