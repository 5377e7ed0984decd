"""A new dataset folder beside an old one: what an enrichment changes is written, everything else is carried over."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from omnifeat.data.dataset import INFO_FILE, Dataset, DatasetInfo, DatasetWriter
from omnifeat.data.locations import PathLike, local_path, locate, table_stem
from omnifeat.data.writing import output_error
from omnifeat.errors import OutputError

__all__ = ["enriched_dataset"]


@contextmanager
def enriched_dataset(
    dataset: Dataset,
    out: PathLike,
    info: DatasetInfo,
    *,
    replaced: Collection[str],
    renamed: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> Iterator[DatasetWriter]:
    """A writer of the folder `out`; on clean exit it holds what was written and everything else of `dataset`.

    Files are carried over as hard links where the file system allows it, else copied: tables in whatever format, and
    all else that lies in the folder, such as images. Names that begin with a dot stay behind. Of a dataset on another
    file system only the tables are carried, rewritten as Parquet.

    Parameters
    ----------
    replaced
        Names of tables and files that are not carried over.
    renamed
        Table -> the name under which it is carried over.

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
        if source.local:
            _link_all(Path(source.path), writer.folder, set(replaced), renamed or {}, out)
        else:
            for table in dataset.tables():
                name = (renamed or {}).get(table, table)
                if table not in replaced and name not in writer.counts:
                    writer.write(name, dataset.batches(table))


def _link_all(source: Path, folder: Path, replaced: set[str], renamed: Mapping[str, str], out: PathLike) -> None:
    try:
        for entry in sorted(source.iterdir()):
            stem = table_stem(entry.name) or entry.name
            if entry.name.startswith(".") or entry.name == INFO_FILE or replaced & {stem, entry.name}:
                continue
            target = folder / (renamed[stem] + entry.name[len(stem) :] if stem in renamed else entry.name)
            if target.exists():
                continue  # written anew
            if entry.is_dir():
                shutil.copytree(entry, target, copy_function=_link)
            else:
                _link(entry, target)
    except shutil.Error as error:
        raise OutputError(f"{out} cannot be written: {error.args[0][0][2]}") from error
    except OSError as error:
        raise output_error(out, error) from error


def _link(source: PathLike, target: PathLike) -> None:
    real = os.path.realpath(source)
    with contextlib.suppress(OSError):  # another device, or a file system without links
        os.link(real, target)
        return
    shutil.copy2(real, target)
