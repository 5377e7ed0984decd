"""A new dataset folder beside an old one: what an enrichment changes is written, everything else is carried over."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow.fs as pafs

from omnifeat.data.dataset import INFO_FILE, Dataset, DatasetInfo, DatasetWriter
from omnifeat.data.locations import Location, PathLike, local_path, locate, table_stem
from omnifeat.data.writing import output_error
from omnifeat.errors import OutputError, SettingError

__all__ = ["enriched_dataset", "refuse_state_in_output"]


@contextmanager
def enriched_dataset(
    dataset: Dataset,
    out: PathLike,
    info: DatasetInfo,
    *,
    replaced: Collection[str],
    renamed: Mapping[str, str] | None = None,
    overwrite: bool = False,
    copy: bool = False,
) -> Iterator[DatasetWriter]:
    """A writer of the folder `out`; on clean exit it holds what was written and everything else of `dataset`.

    Files are carried over as hard links where the file system allows it, else copied: tables in whatever format, and
    all else that lies in the folder, such as images. Names that begin with a dot stay behind; of a dataset on another
    file system those that begin with an underscore do too.

    Parameters
    ----------
    replaced
        Names of tables and files that are not carried over.
    renamed
        Table -> the name under which it is carried over.
    copy
        Copy even what could be linked.

    Raises
    ------
    OutputError
        `out` stands there already, lies inside the dataset's folder, or cannot be written.
    """
    source = locate(dataset.path)
    if source.local:
        here, there = Path(source.path).resolve(), local_path(out).resolve()
        if here in there.parents:
            raise OutputError(f"{out} lies inside {dataset.path}, which is carried over to it: write it elsewhere")
    # the counts of tables that are written are filled in by the writer
    counts = {(renamed or {}).get(name, name): rows for name, rows in info.counts.items() if name not in replaced}
    with DatasetWriter(out, info.model_copy(update={"counts": counts}), overwrite=overwrite) as writer:
        yield writer
        _carry_all(source, writer.folder, set(replaced), renamed or {}, copy, out)


def _carry_all(
    source: Location, folder: Path, replaced: set[str], renamed: Mapping[str, str], copy: bool, out: PathLike
) -> None:
    try:
        names = sorted(os.listdir(source.path)) if source.local else source.names()
        for name in names:
            stem = table_stem(name) or name
            if name.startswith(".") or name == INFO_FILE or replaced & {stem, name}:
                continue
            target = folder / (renamed[stem] + name[len(stem) :] if stem in renamed else name)
            if target.exists():
                continue  # written anew
            if source.local:
                _carry_here(os.path.join(source.path, name), target, shutil.copy2 if copy else _link)
            else:
                _fetch(source.child(name), target)
    except shutil.Error as error:
        raise OutputError(f"{out} cannot be written: {error.args[0][0][2]}") from error
    except OSError as error:
        raise output_error(out, error) from error


def _carry_here(source: str, target: Path, carry: Callable[[PathLike, PathLike], object]) -> None:
    if os.path.isdir(source):
        shutil.copytree(source, target, copy_function=carry)
    else:
        carry(source, target)


def _link(source: PathLike, target: PathLike) -> None:
    real = os.path.realpath(source)
    with contextlib.suppress(OSError):  # another device, or a file system without links
        os.link(real, target)
        return
    shutil.copy2(real, target)


def _fetch(source: Location, target: Path) -> None:
    """A file or folder of another file system."""
    if source.kind() == pafs.FileType.Directory:
        target.mkdir()
        for name in source.names():
            _fetch(source.child(name), target / name)
        return
    with source.open_stream() as stream, target.open("wb") as file:
        shutil.copyfileobj(stream, file, 1 << 22)


def refuse_state_in_output(state: PathLike | None, out: PathLike, dataset: Dataset) -> None:
    """Refuse a state inside a folder that is written anew; the dataset's own is carried over with all that it holds."""
    if state is None:
        return
    folder, source = local_path(out).resolve(), locate(dataset.path)
    if source.local and Path(source.path).resolve() == folder:
        return
    if folder in (local_path(state).resolve(), *local_path(state).resolve().parents):
        raise SettingError(f"The state {state} lies in {out}, which is written anew: put it elsewhere.")
