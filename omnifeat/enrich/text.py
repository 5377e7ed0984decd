"""`text_embedding`: vectors of the text of pins and products by a pretrained encoder that is not trained here."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from omnifeat.data.dataset import Dataset
from omnifeat.data.locations import PathLike, local_path
from omnifeat.data.locks import working_in
from omnifeat.data.provenance import Provenance, provenance_of
from omnifeat.data.unique_ids import refuse_duplicate_ids
from omnifeat.enrich.carry import enriched_dataset, refuse_state_in_output
from omnifeat.enrich.columns import filled_batches
from omnifeat.enrich.filling import check_out, entity_tables
from omnifeat.enrich.models import device_of
from omnifeat.enrich.running import Progress, silent
from omnifeat.enrich.text_fields import fields_by_table, texts_of
from omnifeat.enrich.text_vectors import PART_TEXTS, TextVectors
from omnifeat.errors import DataError, SettingError
from omnifeat.models.backbone import number_format
from omnifeat.pretrained import DTYPES, PretrainedEncoder

__all__ = ["TEXT_COLUMN", "TextCounts", "TextReport", "enrich_text"]

TEXT_COLUMN = "text_embedding"
_COMMAND = "omnifeat enrich text"
# settings of which vectors that differ in one share no space, or one that is not meant to be mixed
_SPACE = ("digest", "pooling", "prefix")

Float32 = npt.NDArray[np.float32]


@dataclass
class TextCounts:
    """What became of the rows of a table.

    Attributes
    ----------
    rows, filled
        All of its rows, and those with a vector.
    without_text
        Rows whose fields are all null or blank, and which have no vector therefore.
    without_vector
        Rows with a text for which the model gives no vector of unit length.
    absent_fields
        Fields that were asked for and that the table does not have.
    """

    rows: int = 0
    filled: int = 0
    without_text: int = 0
    without_vector: int = 0
    absent_fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class TextReport:
    """What was done.

    Attributes
    ----------
    path, column
        The dataset folder that was written, and the column of vectors.
    dim
        Width of the vectors.
    dtype
        Number format of the model's products, `float32` or `bfloat16`; the vectors are float32.
    model_digest
        Which model it is: SHA-256 in hex over weights, configuration and tokenizer.
    texts
        Distinct texts in all tables.
    encoded, resumed
        Those encoded in this run, and those that an earlier run had encoded.
    tables
        Table -> its counts.
    """

    path: Path
    column: str
    dim: int
    dtype: str
    model_digest: str
    texts: int
    encoded: int
    resumed: int
    tables: dict[str, TextCounts] = field(default_factory=dict)


def enrich_text(
    dataset: Dataset,
    out: PathLike,
    *,
    model: str,
    fields: Sequence[str] = ("title",),
    tables: Sequence[str] | None = None,
    column: str = TEXT_COLUMN,
    pooling: str = "mean",
    prefix: str = "",
    max_length: int | None = None,
    dtype: str = "auto",
    batch_size: int = 128,
    part_texts: int = PART_TEXTS,
    device: str = "auto",
    threads: int | None = None,
    state: PathLike | None = None,
    replace: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> TextReport:
    """Write a dataset folder in which pins and products have a vector of their text, float32 of unit length.

    Each distinct text is encoded once, `part_texts` at a time, sorted by length. Finished parts lie in `state`, or in
    `.OUT.text` beside `out` until the run ends, and a later run takes them.

    Parameters
    ----------
    model
        Folder or hub name of a Hugging Face text encoder.
    fields
        Columns of text, or of lists of text, that are joined by blanks in this order.
    tables
        `pins`, `products` or both; those that the dataset has if None.
    column
        Name of the column, which ends in `_embedding`.
    pooling, prefix, max_length
        See `PretrainedEncoder.load`.
    dtype
        `float32`, `bfloat16`, or `auto`: bfloat16 where the processor multiplies it by itself.
    part_texts
        Texts that are held in memory together, and lost at most if the run is killed.
    state
        Folder that keeps all vectors by their texts, for runs to come; none if None.
    replace
        Replace vectors that are there, all of them.

    Raises
    ------
    SettingError
        A setting is not what it must be, or the state lies in `out`.
    EncoderError
        The model cannot be loaded.
    DataError
        A table or field is missing or no text, no row has a text, or the column is there already.
    OutputError
        `out` stands there already, or it or the state cannot be written.
    """
    asked = fields_by_table(dataset, tables, fields)
    _check_settings(dtype, column, batch_size=batch_size, part_texts=part_texts)
    for table in asked:
        _refuse_taken_column(dataset, table, column, replace)
    check_out(out, overwrite)
    refuse_state_in_output(state, out, dataset)
    place = device_of(device)
    encoder = PretrainedEncoder.load(
        model, pooling=pooling, prefix=prefix, max_length=max_length, dtype=number_format(dtype, place), device=place,
        threads=threads,
    )  # fmt: skip
    settings: dict[str, str | int | float | None] = {
        "digest": encoder.model_digest,
        "pooling": pooling,
        "prefix": prefix,
        "max_length": encoder.max_length,
        "dtype": encoder.dtype,
    }
    _refuse_other_space(dataset, [name for name in entity_tables(dataset).values() if name not in asked], column,
                        model, settings)  # fmt: skip
    refuse_duplicate_ids(dataset, asked)
    target = local_path(out)
    work = target.with_name(f".{target.name}.text") if state is None else local_path(state)
    info = dataset.info.model_copy(update={"created_by": _COMMAND})
    with working_in(work, target if state is None else state, keep=state is not None):
        with enriched_dataset(dataset, out, info, replaced=set(asked), overwrite=overwrite) as writer:
            key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
            vectors = TextVectors(work, key, encoder.dim)
            known = vectors.stored
            counts, used = _numbered(dataset, asked, fields, vectors)
            _encode(dataset, asked, vectors, encoder, batch_size, part_texts, progress)
            for table, own in asked.items():
                made = Provenance(
                    made_by=_COMMAND, reads=own, settings={"model": model, "fields": ",".join(own), **settings}
                )
                filling = _Filling(vectors, own, counts[table], dataset.place(table))
                writer.write(table, filled_batches(dataset, table, [column], filling, made))
        if state is None:
            shutil.rmtree(work, ignore_errors=True)
    encoded = len(vectors) - known
    return TextReport(
        path=target, column=column, dim=encoder.dim, dtype=encoder.dtype, model_digest=encoder.model_digest, texts=used,
        encoded=encoded, resumed=used - encoded, tables=counts,
    )  # fmt: skip


def _check_settings(dtype: str, column: str, **numbers: int) -> None:
    if dtype not in ("auto", *DTYPES):
        raise SettingError(f"The number format must be auto, float32 or bfloat16, but is '{dtype}'.")
    for name, number in numbers.items():
        if number < 1:
            raise SettingError(f"The {name.replace('_', ' ')} must be at least 1, but is {number}.")
    plain = column.isprintable() and column == column.strip() and not column.startswith("f_")  # `f_*` are numbers
    if not plain or not column.removesuffix("_embedding") or not column.endswith("_embedding"):
        raise SettingError(
            f"The column {column!r} is no name of a column of vectors: give one that ends in _embedding, such as "
            f"{TEXT_COLUMN}."
        )
    if column == "image_embedding":
        raise SettingError(f"The column '{column}' is for vectors of pictures: give another, such as {TEXT_COLUMN}.")


def _refuse_taken_column(dataset: Dataset, table: str, column: str, replace: bool) -> None:
    """Refuse to mix vectors with those that are there: their texts may have changed since, whatever made them."""
    if not replace and _has_values(dataset, table, column):
        raise DataError(
            f"{dataset.place(table)} has vectors in '{column}' already: replace them all with --replace, or name "
            "another column with --column"
        )


def _has_values(dataset: Dataset, table: str, column: str) -> bool:
    if not dataset.has_column(table, column):
        return False
    return any(batch.column(0).null_count < batch.num_rows for batch in dataset.batches(table, [column]))


def _refuse_other_space(
    dataset: Dataset, tables: Sequence[str], column: str, model: str, settings: Mapping[str, str | int | float | None]
) -> None:
    """Refuse to give a table vectors of another space than the other table has in the same column."""
    for table in tables:
        if not _has_values(dataset, table, column):
            continue
        recorded = [made.settings for _, name, made in provenance_of(dataset, table) if name == column]
        alike = [all(made.get(name) == settings[name] for name in _SPACE) for made in recorded]
        if len(alike) == len(dataset.parts(table)) and all(alike):
            continue
        other = ", ".join(f"{name} {made.get(name)!r}" for made in recorded[:1] for name in ("model", *_SPACE[1:]))
        raise DataError(
            f"{dataset.place(table)} has vectors in '{column}' of another source ({other or 'which is not recorded'}) "
            f"than model '{model}', pooling '{settings['pooling']}', prefix '{settings['prefix']}', which share no "
            f"space: take both tables, with --replace, or name another column with --column"
        )


def _numbered(
    dataset: Dataset, asked: Mapping[str, tuple[str, ...]], fields: Sequence[str], vectors: TextVectors
) -> tuple[dict[str, TextCounts], int]:
    """Give each distinct text a number; counts of each table, and how many distinct texts there are.

    Raises
    ------
    DataError
        No row has a text.
    """
    counts: dict[str, TextCounts] = {}
    known = np.zeros(vectors.stored, dtype=np.bool_)
    for table, own in asked.items():
        counted = TextCounts(absent_fields=tuple(name for name in fields if name not in own))
        for batch in dataset.batches(table, own):
            numbers = vectors.number(texts_of(batch, own))
            counted.rows += len(numbers)
            counted.without_text += int((numbers < 0).sum())
            known[numbers[(numbers >= 0) & (numbers < len(known))]] = True
        counts[table] = counted
    used = int(known.sum()) + len(vectors) - vectors.stored
    if not used:
        raise DataError(
            f"{dataset.path}: no row of {' or '.join(asked)} has a text in {', '.join(fields)}: name others"
        )
    return counts, used


def _encode(
    dataset: Dataset, asked: Mapping[str, tuple[str, ...]], vectors: TextVectors, encoder: PretrainedEncoder,
    batch_size: int, part_texts: int, progress: Progress,
) -> None:  # fmt: skip
    """Encode the texts that have a number and no vector, in the order of their numbers."""
    total = len(vectors)
    if vectors.stored == total:
        return
    waiting: list[str] = []
    with progress("texts", total - vectors.stored) as advance:

        def flush() -> None:
            encoded = encoder.encode(waiting, batch_size=batch_size, on_batch=advance)
            encoded[~np.isfinite(encoded).all(axis=1)] = 0
            vectors.add(encoded)
            waiting.clear()

        for text in _new_texts(dataset, asked, vectors):
            waiting.append(text)
            if len(waiting) == part_texts:
                flush()
        if waiting:
            flush()
    if vectors.stored != total or len(vectors) != total:
        raise _changed(dataset.path)


def _new_texts(dataset: Dataset, asked: Mapping[str, tuple[str, ...]], vectors: TextVectors) -> Iterator[str]:
    """Texts without a vector in the order of their numbers, which is that of their first rows."""
    after = vectors.stored
    for table, own in asked.items():
        for batch in dataset.batches(table, own):
            texts = texts_of(batch, own)
            numbers, rows = np.unique(vectors.number(texts), return_index=True)
            for number, row in zip(numbers.tolist(), rows.tolist(), strict=True):
                if number >= after:
                    if number > after:
                        raise _changed(dataset.place(table))
                    after += 1
                    yield texts[row].as_py()


def _changed(name: str) -> DataError:
    return DataError(f"{name} changed while it was encoded: run the command again when it is whole")


@dataclass(frozen=True)
class _Filling:
    """Gives the vectors of a table's batches; what becomes of rows is counted."""

    vectors: TextVectors
    fields: tuple[str, ...]
    counts: TextCounts
    place: str

    def __call__(self, batch: pa.RecordBatch) -> pa.Array:
        numbers = self.vectors.number(texts_of(batch, self.fields))
        if len(self.vectors) != self.vectors.stored:
            raise _changed(self.place)
        there = numbers >= 0
        found: Float32 = self.vectors.take(numbers[there])
        unit = found.any(axis=1)
        there[there] = unit
        self.counts.filled += int(unit.sum())
        self.counts.without_vector += int((~unit).sum())
        width = found.shape[1]
        whole = np.zeros((len(numbers), width), dtype=np.float32)
        whole[there] = found[unit]
        return pa.FixedSizeListArray.from_arrays(
            pa.array(whole.reshape(-1)), type=pa.list_(pa.float32(), width), mask=pa.array(~there)
        )
