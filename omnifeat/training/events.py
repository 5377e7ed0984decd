"""TensorBoard events of a run, written by the first process alone."""

import shutil
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from omnifeat.errors import OutputError

__all__ = ["Events"]


class Events:
    """Scalars by step, in the run folder's `tensorboard`.

    Parameters
    ----------
    run_folder
        Folder of the run; made if it isn't there.
    enabled
        False writes nothing: in all processes but the first.
    anew
        Remove the events of an earlier run.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """

    def __init__(self, run_folder: Path, *, enabled: bool, anew: bool) -> None:
        self._run_folder = run_folder
        self._writer: SummaryWriter | None = None
        if not enabled:
            return
        folder = run_folder / "tensorboard"
        try:
            if anew and folder.is_dir():
                shutil.rmtree(folder)
            folder.mkdir(parents=True, exist_ok=True)
            self._writer = SummaryWriter(str(folder))
        except OSError as error:
            raise self._output_error(error) from error

    def add(self, values: dict[str, float], step: int) -> None:
        """Write one value for each name."""
        if self._writer is None:
            return
        try:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)
        except OSError as error:
            raise self._output_error(error) from error

    def close(self) -> None:
        """Write what is still held. Raises `OutputError` where that cannot be done."""
        if self._writer is not None:
            try:
                self._writer.close()
            except OSError as error:
                raise self._output_error(error) from error

    def _output_error(self, error: OSError) -> OutputError:
        return OutputError(
            f"The run folder '{self._run_folder}' cannot be written ({error.strerror or error}); make room or give "
            "another place with -o."
        )
