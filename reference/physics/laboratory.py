"""Labels of a structure from a labelling process, kept in a folder so that nothing is computed twice."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reference.labelling import Labeller, read_labels
from reference.record import RawLabels
from reference.structure import ReferenceStructure


@dataclass(frozen=True)
class Laboratory:
    """Runs `reference.gpaw_physics`, one process at a time.

    Attributes:
        command: What to run; options and the path to write follow.
        folder: Where labels are kept.
        report: Takes a line for people after every run.
    """

    command: tuple[str, ...]
    folder: Path
    report: Callable[[str], None]

    @classmethod
    def for_gpaw(cls, python: str, folder: Path, report: Callable[[str], None]) -> "Laboratory":
        """The laboratory that runs GPAW in the interpreter of that name."""
        return cls((python, "-m", "reference.gpaw_physics"), folder, report)

    def labels(self, structure: ReferenceStructure, n_k: int = 0) -> RawLabels:
        """Labels with everything that `reference.gpaw_physics` adds.

        Args:
            structure: What to label.
            n_k: Points of the k-mesh along each reciprocal vector; 0 takes them from the settings.

        Raises:
            LabellingFailed: With the reason.
            MissingPackage: If the interpreter or its GPAW is not there.
        """
        path = self.folder / f"{structure.content_hash}-{n_k}.npz"
        if path.exists():
            return read_labels(path)
        mesh = (str(n_k),) if n_k else ()
        found = Labeller((*self.command, *mesh)).labels(structure)
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part.npz")
        np.savez(
            unfinished, allow_pickle=False, **found.arrays, attributes=np.array(json.dumps(dict(found.attributes)))
        )
        unfinished.replace(path)
        self.report(f"{structure.group}, {structure.settings.cutoff:g} eV: {found.attributes['wall_time']:.0f} s")
        return found

    @property
    def codes(self) -> list[str]:
        """DFT codes with versions that made the labels in the folder: one, unless it was kept over an upgrade."""
        return sorted({read_labels(path).attributes["code"] for path in self.folder.glob("*[0-9].npz")})
