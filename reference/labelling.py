"""Labels from a process of its own: the DFT code is GPL, so it is run and never imported.

The process reads one JSON object from its standard input, writes an `.npz` to the path that is its only argument, and
exits with 0; or it writes {"code": …, "message": …} as the last line of its standard error and exits with another.
"""

import json
import os
import subprocess
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reference.errors import DiskFull, MissingPackage
from reference.record import RawLabels
from reference.structure import ReferenceStructure, refusal

ROOT = Path(__file__).parent.parent

OF_THE_MACHINE = {"no-gpaw": MissingPackage, "disk-full": DiskFull}
"""Reasons that are no fault of the structure: they stop the maker, and no failure is logged."""

LONGEST_RUN = 4 * 3600.0
"""Seconds after which a labelling process is ended."""


class LabellingFailed(Exception):
    """A structure got no labels.

    Attributes:
        code: A short name of the reason.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Labeller:
    """Runs one fresh process per structure: a process that labels many grows to gigabytes.

    Attributes:
        command: What to run; the path to write follows.
        longest_run: Seconds.
    """

    command: tuple[str, ...]
    longest_run: float = LONGEST_RUN

    @classmethod
    def for_gpaw(cls, python: str) -> "Labeller":
        """The labeller that runs GPAW in the interpreter of that name."""
        return cls((python, "-m", "reference.gpaw_label"))

    def labels(self, structure: ReferenceStructure) -> RawLabels:
        """Labels of a structure.

        Raises:
            LabellingFailed: With the reason; also if the structure is not worth starting.
            MissingPackage: If the interpreter or its GPAW is not there.
            DiskFull: If the labels do not fit on the disk.
        """
        if reason := refusal(structure):
            raise LabellingFailed(*reason)
        with tempfile.TemporaryDirectory(prefix="rhocast-label-") as folder:
            path = Path(folder, "labels.npz")
            self._run(structure, path)
            labels = read_labels(path)
        if labels.attributes.get("settings_hash") != structure.settings.hash:
            raise LabellingFailed(
                "foreign-settings",
                f"found labels made with settings {labels.attributes.get('settings_hash')}; "
                f"expected {structure.settings.hash}",
            )
        return labels

    def _run(self, structure: ReferenceStructure, path: Path) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        try:
            # A session of its own: Ctrl-C stops the maker after the structures in hand, not these.
            run = subprocess.run(
                [*self.command, str(path)],
                input=json.dumps(question(structure)),
                capture_output=True,
                text=True,
                timeout=self.longest_run,
                cwd=ROOT,
                env=environment,
                start_new_session=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise LabellingFailed("too-long", f"found no labels after {self.longest_run:g} s") from None
        except OSError as error:
            raise MissingPackage(f"found no {self.command[0]} to run: {error}") from None
        if run.returncode:
            reason = failure(run.returncode, run.stderr)
            if reason.code in OF_THE_MACHINE:
                raise OF_THE_MACHINE[reason.code](str(reason))
            raise reason


def question(structure: ReferenceStructure) -> dict[str, object]:
    """What the labelling process is told."""
    return {
        "name": structure.name,
        "numbers": structure.numbers.tolist(),
        "positions": structure.positions.tolist(),
        "cell": structure.cell.tolist(),
        "is_periodic": structure.is_periodic,
        "settings": json.loads(structure.settings.text),
        "settings_hash": structure.settings.hash,
    }


def failure(exit_status: int, stderr: str) -> LabellingFailed:
    """The reason that a labelling process gave, or its last words."""
    last = stderr.strip().splitlines()[-1:] or ["no message"]
    try:
        reason = json.loads(last[0])
        return LabellingFailed(reason["code"], reason["message"])
    except (ValueError, KeyError, TypeError):
        return LabellingFailed("crashed", f"found exit status {exit_status}: {last[0]}")


def read_labels(path: Path) -> RawLabels:
    """Labels from the file that the process wrote.

    Raises:
        LabellingFailed: If the file is missing, cut short or no archive of arrays.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        attributes = json.loads(str(arrays.pop("attributes")))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise LabellingFailed("half-written", f"found labels missing or half-written: {error}") from None
    return RawLabels(arrays, attributes)
