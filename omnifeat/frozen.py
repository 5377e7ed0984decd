"""The frozen encoder: load, encode, save.

Follows the conventions of `huggingface_hub`: `from_pretrained(folder or hub name, revision=..., token=..., ...)`,
`save_pretrained(folder)` and `push_to_hub(repo_id)`, a `config.json` and a `README.md` with the front matter that the
hub reads. It does not derive from `huggingface_hub.ModelHubMixin`: the mixin writes `config.json` and the card itself,
file by file into the target, while here the configuration carries the check sums of all other files and the folder
appears only when it is whole.

Shape legend: n rows, dim embedding width.
"""

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from omnifeat.cores import thread_count
from omnifeat.data.files import as_table, replace_when_whole
from omnifeat.data.text_lists import text_list
from omnifeat.entity_sources import entity_sources
from omnifeat.errors import DataError, OutputError, SettingError
from omnifeat.models.config import EncoderConfig
from omnifeat.models.encoder_folder import EncoderParts, parts_of_model, read_encoder, write_encoder
from omnifeat.models.encoding import entity_blocks, query_blocks
from omnifeat.models.entity_features import EntityTable
from omnifeat.models.hub import encoder_folder_of, upload_encoder
from omnifeat.models.omni import OmniModel
from omnifeat.models.query import QueryTokenizer
from omnifeat.models.query_table import QueryTable
from omnifeat.models.training_record import TrainingRecord
from omnifeat.models.vectors import vector_column
from omnifeat.pair_features import FeatureOptions, featurize_table
from omnifeat.scratch import temporary_folder
from omnifeat.text import NgramTokenizer

__all__ = ["FrozenEncoder"]

Float32 = npt.NDArray[np.float32]
# Batches of queries that are sorted by length together: enough to have little padding, few enough to hold.
_SORTED_BATCHES = 64
_PAIRS_AT_ONCE = 65_536
_TABLE_NAMES = {"pin": "pins", "product": "products"}


class FrozenEncoder:
    """An encoder whose weights no longer change, as a producer of embeddings.

    Get one from `FrozenEncoder.from_pretrained` or `FrozenEncoder.from_model`.

    Embeddings are float32. The same input, batch size, thread count and device give the same bits; another batch size
    moves values by 1e-5 at most on CPU, since matrix products are then cut up differently.

    Attributes
    ----------
    config
        Settings of the encoder.
    fingerprint
        SHA-256 in hex over weights, settings and tokenizers. Embeddings of encoders whose fingerprints differ must
        not be mixed.
    training, metrics
        What was noted when it was saved.
    record
        Hashes of the queries and pairs that it was trained on; None where nothing is recorded, so that nobody knows.
    """

    def __init__(self, parts: EncoderParts, *, device: str | None = None, threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise SettingError(f"The 'threads' setting must be 1 or more; got {threads} instead.")
        self._parts = parts
        self._threads = threads
        self.device = _device(device)
        self._model = parts.model.to(self.device)
        self.config: EncoderConfig = self._model.config
        self.fingerprint = parts.fingerprint
        self.training = parts.training
        self.metrics = parts.metrics
        self.record: TrainingRecord | None = parts.record

    @classmethod
    def from_model(
        cls,
        model: OmniModel,
        query_tokenizer: QueryTokenizer | None,
        ngrams: NgramTokenizer,
        *,
        training: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Any] | None = None,
        record: TrainingRecord | None = None,
        text_tokenizer: QueryTokenizer | None = None,
        device: str | None = None,
        threads: int | None = None,
    ) -> Self:
        """Freeze a copy of a model, with the record of its training pairs; training of the original may go on.

        Raises
        ------
        SettingError
            `training` or `metrics` hold something that JSON does not, or `threads` is below 1.
        """
        parts = parts_of_model(
            model,
            query_tokenizer,
            ngrams,
            training=training or {},
            metrics=metrics or {},
            record=record,
            text_tokenizer=text_tokenizer,
        )
        return cls(parts, device=device, threads=threads)

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        *,
        device: str | None = None,
        threads: int | None = None,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
    ) -> Self:
        """Load an encoder from a folder, or from the hub, and check every file of it.

        Parameters
        ----------
        path_or_id
            A folder, or `owner/name` on the hub.
        device
            Where to run, as torch names it; a GPU if there is one, else the CPU, if None.
        threads
            CPU threads of torch while encoding; torch's own setting if None.
        revision, cache_dir, token, local_files_only
            Passed to `huggingface_hub.snapshot_download`.

        Raises
        ------
        EncoderError
            There is no such encoder, or a file of it is missing or was changed; the message names the file.
        SettingError
            There is no such device, or `threads` is below 1.
        """
        folder = encoder_folder_of(
            path_or_id, revision=revision, cache_dir=cache_dir, token=token, local_files_only=local_files_only
        )
        return cls(read_encoder(folder), device=device, threads=threads)

    def save_pretrained(
        self,
        path: str | Path,
        *,
        training: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Any] | None = None,
        record: bool = True,
    ) -> Path:
        """Write the encoder folder; it appears when whole, and replaces one that is there.

        Parameters
        ----------
        path
            The folder.
        training, metrics
            JSON values for the model card and `config.json`, in place of those noted before; no part of the
            fingerprint.
        record
            Whether the record of training queries and pairs goes with it. Whoever has it can tell whether a query that
            they think of was in the log.

        Raises
        ------
        OutputError
            The folder cannot be written, or holds something else than an encoder.
        SettingError
            `training` or `metrics` hold something that JSON does not.
        """
        target = Path(path)
        if target.exists() and not _may_replace(target):
            raise OutputError(f"'{target}' exists and is no encoder folder; give a new folder.")
        if training is not None:
            self.training = dict(training)
        if metrics is not None:
            self.metrics = dict(metrics)
        parts = replace(self._parts.with_notes(self.training, self.metrics), record=self.record if record else None)
        with replace_when_whole(target) as partial:
            partial.mkdir(parents=True, exist_ok=True)
            write_encoder(parts, partial)
        return target

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | bool | None = None,
        commit_message: str = "Upload encoder",
        branch: str | None = None,
        record: bool = True,
    ) -> str:
        """Upload the encoder folder to the hub, making the repository if need be; its address is returned.

        `record` is that of `save_pretrained`.

        Raises
        ------
        OutputError
            The hub cannot be reached or refuses.
        """
        with temporary_folder() as temporary:
            folder = self.save_pretrained(temporary / "encoder", record=record)
            return upload_encoder(
                folder, repo_id, private=private, token=token, commit_message=commit_message, branch=branch
            )

    @property
    def model(self) -> OmniModel:
        """The torch module, in evaluation mode; its weights are not to be changed."""
        return self._model

    @property
    def query_tokenizer(self) -> QueryTokenizer | None:
        """What makes word pieces of queries; None where queries are n-grams."""
        return self._parts.query_tokenizer

    @property
    def ngrams(self) -> NgramTokenizer:
        """What makes n-grams of entities, and of queries."""
        return self._parts.ngrams

    @property
    def dim(self) -> int:
        """Width of the embeddings, all blocks together."""
        return self.config.width

    @property
    def blocks(self) -> dict[str, int]:
        """Blocks of the embeddings and their widths, in their order; see `EncoderConfig`."""
        return self.config.blocks

    @property
    def matryoshka(self) -> tuple[int, ...]:
        """Prefix widths that were trained, below `dim`, rising."""
        return tuple(sorted(width for width in self.config.matryoshka if width < self.config.dim))

    def encode_queries(self, texts: Iterable[str] | pa.Array | pa.ChunkedArray, batch_size: int = 256) -> Float32:
        """Embeddings of query texts.

        Parameters
        ----------
        texts
            A list, a NumPy, pandas, Polars or Arrow column of text, n long.
        batch_size
            Queries encoded at once. Queries of like length are put together; the order of the result is the input's.

        Returns
        -------
        float32 `(n, dim)`, rows of unit length.

        Raises
        ------
        DataError
            A query is null, empty or no text; the message names the row.
        """
        _check_batch_size(batch_size)
        queries = text_list(texts)
        embeddings = np.empty((len(queries), self.dim), np.float32)
        window = batch_size * _SORTED_BATCHES
        with self._running():
            for start in range(0, len(queries), window):
                table = QueryTable.prepare(
                    queries[start : start + window],
                    self._parts.ngrams,
                    self._parts.query_tokenizer,
                    self._parts.text_tokenizer,
                )
                for rows in table.batches(batch_size):
                    blocks = query_blocks(self._model, table, rows, self.device)
                    embeddings[start + rows] = self._model.published(blocks).float().cpu().numpy()
        return embeddings

    def encode_entities(self, table: Any, entity_type: str | None = None, batch_size: int = 1024) -> Float32:
        """Embeddings of pins or products.

        Parameters
        ----------
        table
            A pandas, Polars or Arrow table, a dictionary of columns, or the path of a table: `id` and any of the
            columns of pins and products.
        entity_type
            `"pin"` or `"product"`, to name the table in messages; one encoder serves both (section 3.4.2).
        batch_size
            Entities encoded at once.

        Returns
        -------
        float32 `(n, dim)` in the order of the rows, of unit length. An entity without one known token and without
        vectors has nothing to be told by, and gets the zero vector.

        Raises
        ------
        DataError
            An id is null, empty or twice there, or a column is not what it must be; see `EntityTable.prepare`.
        """
        _check_batch_size(batch_size)
        prepared = self.prepare_entities(table, entity_type)
        embeddings = np.empty((len(prepared), self.dim), np.float32)
        with self._running():
            for start in range(0, len(prepared), batch_size):
                rows = np.arange(start, min(start + batch_size, len(prepared)))
                blocks = entity_blocks(self._model, prepared, rows, self.device)
                embeddings[rows] = self._model.published(blocks).float().cpu().numpy()
        return embeddings

    def prepare_entities(self, table: Any, entity_type: str | None = None) -> EntityTable:
        """The table checked and tokenised, as `encode_entities` reads it; the same arguments and errors."""
        text = self._parts.text_tokenizer
        return EntityTable.prepare(
            as_table(table),
            self._parts.ngrams,
            self.config,
            name=_table_name(entity_type),
            text_tokenizer=None if text is None else text.with_prefix(self.config.text.entity_prefix),
        )

    def encode_compatibility(
        self, table: Any, column: str, entity_type: str | None = None, batch_size: int = 65_536
    ) -> tuple[Float32, npt.NDArray[np.bool_]]:
        """Existing embeddings of entities, brought to the width of the queries (section 3.4.3).

        Parameters
        ----------
        table, entity_type, batch_size
            As in `encode_entities`.
        column
            `"pinsage"` or `"itemsage"`: one that the encoder was trained to be compatible with.

        Returns
        -------
        float32 `(n, dim)`, unit length or zero, and bool `(n,)`: which entities have such an embedding, not zero. It
        lies in the learned block, the first `config.dim` numbers; the others are zero.

        Raises
        ------
        SettingError
            The encoder was not trained with that column.
        DataError
            The table lacks the column, or a vector is not finite or has another width.
        """
        _check_batch_size(batch_size)
        widths = self.config.compatibility_widths
        if column not in widths:
            known = ", ".join(widths) or "no existing embedding"
            raise SettingError(f"This encoder is not compatible with '{column}'; it was trained with {known}.")
        arrow = as_table(table)
        name = _table_name(entity_type)
        for needed in ("id", column):
            if needed not in arrow.column_names:
                raise DataError(
                    f"Table '{name}' has no column '{needed}'; it has {', '.join(arrow.column_names) or 'no columns'}."
                )
        vectors = vector_column(arrow, column, widths[column], name=name, ids=arrow.column("id").combine_chunks())
        embeddings = np.zeros((len(vectors), self.dim), np.float32)
        with self._running():
            for start in range(0, len(vectors), batch_size):
                rows = np.arange(start, min(start + batch_size, len(vectors)))
                batch = torch.from_numpy(vectors.rows(rows)).to(self.device)
                embeddings[rows, : self.config.dim] = self._model.compatibility[column](batch).cpu().numpy()
        return embeddings, (embeddings != 0).any(axis=1)

    def featurize(
        self,
        pairs: Any,
        entities: Any,
        *,
        entity_type: str | None = None,
        leave_out_own_query: bool = True,
        column_prefix: str = "",
        strict: bool = False,
    ) -> Any:
        """Pairs with cosine features, each distinct query and entity encoded once. All in memory.

        `omnifeat.featurize.featurize` and the command `omnifeat featurize` give the same columns for files of any
        size, and look embeddings up in tables.

        Parameters
        ----------
        pairs
            A pandas, Polars or Arrow table, a dictionary of columns, or a path: `query`, `entity_id`, and `entity_type`
            if ids alone don't tell entities apart. Pairs of type `query` are of two queries.
        entities
            A table of pins or products as in `encode_entities`, the path of a dataset folder (then its pins and
            products), or a list of these.
        entity_type
            `"pin"` or `"product"`, if all entities are of one type and the table doesn't say it.
        leave_out_own_query
            Leave a pair's own query out of the entity's engaged queries: for pairs that come from the logs that the
            engaged queries come from too, it would give the answer away.
        column_prefix
            Put before the names of the new columns.
        strict
            Refuse pairs that cannot be scored.

        Returns
        -------
        The pairs in their order, in the library that they came in, with float32 columns within [-1, 1]: `cosine`;
        `cosine_<w>` for each trained prefix width; `cosine_pinsage`, `cosine_itemsage` where the entities have them;
        `max_cosine_engaged_queries` and `mean_cosine_engaged_queries` where the entities have engaged queries; and
        `trained_on`, where the encoder has a record: `pair`, `query` or `neither`, whichever it was trained on; and
        `unscored`: null, or why the pair has no cosine.

        Raises
        ------
        DataError
            A column is missing, there already or not what it must be, an id is twice there, or is of entities of
            several types and the pairs don't say which, or (`strict`) a pair cannot be scored.
        """
        options = FeatureOptions(
            encoder=self,
            encoder_name="this encoder",
            sources=entity_sources(entities, entity_type),
            tables=[],
            leave_out_own_query=leave_out_own_query,
            column_prefix=column_prefix,
            strict=strict,
            batch_size=_PAIRS_AT_ONCE,
            memory_limit=sys.maxsize,
            threads=thread_count(self._threads),
        )
        return featurize_table(pairs, options)

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """Without gradients, on the chosen number of threads; torch's own setting is put back."""
        before = torch.get_num_threads()
        if self._threads is not None:
            torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                yield
        finally:
            torch.set_num_threads(before)

    def __repr__(self) -> str:
        return f"FrozenEncoder(dim={self.dim}, fingerprint='{self.fingerprint[:12]}…', device='{self.device}')"


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SettingError(f"There is no device {name!r} here; give 'cpu', or a device that torch can use.") from error
    return device


def _may_replace(target: Path) -> bool:
    return target.is_dir() and ((target / "config.json").is_file() or not any(target.iterdir()))


def _table_name(entity_type: str | None) -> str:
    if entity_type is None:
        return "entities"
    if entity_type not in _TABLE_NAMES:
        raise SettingError(f"The 'entity_type' must be one of {', '.join(_TABLE_NAMES)}; got {entity_type!r} instead.")
    return _TABLE_NAMES[entity_type]


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise SettingError(f"The 'batch_size' must be 1 or more; got {batch_size} instead.")
