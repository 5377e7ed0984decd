"""`caption` and `image_embedding` from the pictures of pins and products."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa

from omnifeat.data.dataset import Dataset
from omnifeat.data.locations import PathLike
from omnifeat.data.provenance import provenance_of
from omnifeat.enrich.models import CAPTION_MODEL, Pooling, device_of, load_captioner, load_vision, model_identity
from omnifeat.enrich.pictures import PictureColumn, PicturesResult, fill_from_pictures
from omnifeat.errors import DataError, SettingError

__all__ = ["enrich_captions", "enrich_images"]

TABLES = ("pins", "products")


def enrich_captions(
    dataset: Dataset,
    out: PathLike,
    *,
    model: str = CAPTION_MODEL,
    tables: Sequence[str] = TABLES,
    images: PathLike | None = None,
    batch_size: int = 16,
    max_tokens: int = 30,
    beams: int = 1,
    prompt: str = "",
    device: str = "auto",
    redo: bool = False,
    overwrite: bool = False,
    advance: Callable[[int], None] | None = None,
) -> PicturesResult:
    """Write a dataset folder in which entities with a picture and no caption have one (section 3.2.1 of the paper).

    Parameters
    ----------
    redo
        Write captions of entities that have one too; those whose picture cannot be read keep theirs.

    Raises
    ------
    DataError, OutputError
        See `fill_from_pictures`.
    SettingError
        The model cannot be loaded, the device is not there, or a number is too small.
    """
    _check(tables, batch_size=batch_size, max_tokens=max_tokens, beams=beams)
    device_of(device)
    column = PictureColumn(
        name="caption",
        type=pa.string(),
        command="captions",
        settings={"model": model_identity(model), "max_tokens": max_tokens, "beams": beams, "prompt": prompt},
        load=lambda: load_captioner(model, device=device, max_tokens=max_tokens, beams=beams, prompt=prompt),
        batch_size=batch_size,
    )
    return fill_from_pictures(
        dataset, out, column, tables=tables, images=images, redo=redo, overwrite=overwrite, advance=advance
    )


def enrich_images(
    dataset: Dataset,
    out: PathLike,
    *,
    model: str,
    pooling: Pooling = "cls",
    tables: Sequence[str] = TABLES,
    images: PathLike | None = None,
    batch_size: int = 16,
    device: str = "auto",
    replace: bool = False,
    overwrite: bool = False,
    advance: Callable[[int], None] | None = None,
) -> PicturesResult:
    """Write a dataset folder in which entities with a picture have an `image_embedding` of a vision model.

    Vectors that this model and pooling made before are kept, and only new entities are encoded.

    Parameters
    ----------
    replace
        Replace all vectors that are there, also by none where the picture cannot be read: those of two models share
        no space.

    Raises
    ------
    DataError
        Vectors of another source are there already; and see `fill_from_pictures`.
    SettingError
        The model cannot be loaded, the device is not there, or the model has no first token to pool.
    """
    _check(tables, batch_size=batch_size)
    if pooling not in ("cls", "mean"):
        raise SettingError(f"The pooling must be cls or mean, but is '{pooling}'.")
    device_of(device)
    settings = {"model": model_identity(model), "pooling": pooling}
    column = PictureColumn(
        name="image_embedding",
        type=pa.list_(pa.float32()),
        command="images",
        settings=settings,
        load=lambda: load_vision(model, device=device, pooling=pooling),
        mixable=False,
        batch_size=batch_size,
    )
    if not replace:
        for table in tables:
            _refuse_other_vectors(dataset, table, column)
    return fill_from_pictures(
        dataset, out, column, tables=tables, images=images, redo=replace, overwrite=overwrite, advance=advance
    )


def _check(tables: Sequence[str], **numbers: int) -> None:
    wrong = next((table for table in tables if table not in TABLES), None)
    if wrong is not None or not tables:
        raise SettingError(f"Pictures belong to {' and '.join(TABLES)}, not to '{wrong or ''}'.")
    for name, number in numbers.items():
        if number < 1:
            raise SettingError(f"The {name.replace('_', ' ')} must be at least 1, but is {number}.")


def _refuse_other_vectors(dataset: Dataset, table: str, column: PictureColumn) -> None:
    if not dataset.has_column(table, column.name):
        return
    if all(batch.column(0).null_count == batch.num_rows for batch in dataset.batches(table, [column.name])):
        return
    recorded = [made for _, name, made in provenance_of(dataset, table) if name == column.name]
    if len(recorded) != len(dataset.parts(table)) or any(made.settings != column.settings for made in recorded):
        raise DataError(
            f"{dataset.place(table)} has vectors in '{column.name}' of another source than {column.settings['model']} "
            f"with the pooling {column.settings['pooling']}, which share no space with it: replace them all with "
            "--replace, or leave them as they are"
        )
