"""The numbers of an answer as numpy arrays; nothing here asks the service again."""

import html
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rhocast.errors import ArtifactNotFound
from rhocast.model_info import Property
from rhocast.schemas import (
    DensityAnswer,
    PotentialAnswer,
    Prediction,
    Provenance,
    RelaxationAnswer,
    StructureAnswer,
    Uncertainty,
)
from rhocast.schemas import Job as JobState
from rhocast.structure import Structure

FloatArray = NDArray[np.float64]

_FROM_THE_ENERGY = (Property.ENERGY, Property.FORCES, Property.STRESS, Property.MAGMOMS)


class Answer:
    """What was predicted, as far as it is numbers. Arrays are in the order of the atoms sent.

    Args:
        state: A job that has succeeded.
        prediction: Its answer.
    """

    def __init__(self, state: JobState, prediction: Prediction) -> None:
        self._state = state
        self.prediction = prediction

    @property
    def job_id(self) -> str:
        return self._state.id

    @property
    def formula(self) -> str:
        return self._state.formula

    @property
    def structure(self) -> Structure:
        """The structure that was answered for; a molecule stands in the box of its grid."""
        return _structure_of(self.prediction.structure)

    @property
    def energy(self) -> float:
        """Total energy of the cell in eV; its zero is in `provenance`."""
        return self._of_potential(Property.ENERGY, "energy")

    @property
    def energy_per_atom(self) -> float:
        """Energy divided by the number of atoms, in eV."""
        return self._of_potential(Property.ENERGY, "energy_per_atom")

    @property
    def energies(self) -> FloatArray:
        """Shares of the atoms in the energy in eV, [n_atoms]; only their sum has a meaning in physics."""
        return np.array(self._of_potential(Property.ENERGY, "energies"), dtype=np.float64)

    @property
    def forces(self) -> FloatArray:
        """Forces in eV/Å, [n_atoms, 3]."""
        return np.array(self._of_potential(Property.FORCES, "forces"), dtype=np.float64).reshape(-1, 3)

    @property
    def stress(self) -> FloatArray:
        """Stress in eV/Å³, tension positive, [3, 3]."""
        return np.array(self._of_potential(Property.STRESS, "stress"), dtype=np.float64)

    @property
    def magmoms(self) -> FloatArray:
        """Magnetic moments in Bohr magnetons, [n_atoms]."""
        return np.array(self._of_potential(Property.MAGMOMS, "magmoms"), dtype=np.float64)

    @property
    def relaxation(self) -> RelaxationAnswer:
        """How the structure has relaxed: whether it is converged, in how many steps, from which energy.

        Raises:
            ArtifactNotFound: If the job was no relaxation.
        """
        if self.prediction.relaxation is None:
            raise ArtifactNotFound(
                f"found that job {self.job_id!r} was no relaxation; it wanted {', '.join(self._state.want)}; call relax"
            )
        return self.prediction.relaxation

    @property
    def relaxed(self) -> Structure:
        """The relaxed structure, of which energy, forces and stress are; `structure` is the one that was sent.

        Raises:
            ArtifactNotFound: If the job was no relaxation.
        """
        return _structure_of(self.relaxation.structure)

    @property
    def warnings(self) -> list[str]:
        """What a user should know before trusting this."""
        return list(self._state.warnings)

    @property
    def compute_seconds(self) -> float | None:
        """Time in s that the models took."""
        return self._state.compute_seconds

    @property
    def provenance(self) -> dict[Property, Provenance]:
        """Where each property that was wanted comes from."""
        return {wanted: part.provenance for wanted, part in self._parts().items()}

    @property
    def uncertainty(self) -> dict[Property, Uncertainty]:
        """How far to trust each property that was wanted."""
        return {wanted: part.uncertainty for wanted, part in self._parts().items()}

    def __repr__(self) -> str:
        wanted = ", ".join(self._state.want)
        return f"<{type(self).__name__} of job {self.job_id}: {wanted} of {self.formula}>"

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
            for name, value in self.summary().items()
        )
        return f"<table>{rows}</table>"

    def summary(self) -> dict[str, str]:
        """The answer in a few lines: what each is called, and its value with its unit."""
        rows = {"formula": self.formula, "atoms": str(self._state.n_atoms)}
        rows["model"] = ", ".join(dict.fromkeys(self._state.models.values()))
        if density := self.prediction.density:
            valence = density.provenance.valence_electrons or {}
            each = ", ".join(f"{symbol} {count:g}" for symbol, count in valence.items())
            rows["valence electrons"] = f"{density.n_electrons:g} e" + (f" ({each})" if each else "")
            rows["∫ρ of the file"] = f"{density.integral:.8f} e"
            shape, spacing = " × ".join(map(str, density.shape)), max(density.spacing)
            rows["grid"] = f"{shape}, at most {spacing:.3f} Å apart"
            if (expected := density.uncertainty).value is not None:
                rows["expected NMAE"] = _percent(expected.value) + _bound(expected)
        if potential := self.prediction.potential:
            rows["energy"] = f"{potential.energy:.6f} eV ({potential.energy_per_atom:.6f} eV an atom)"
            if potential.forces is not None:
                rows["max |F|"] = f"{np.linalg.norm(self.forces, axis=1).max():.6f} eV/Å"
        if relaxation := self.prediction.relaxation:
            rows["energy before"] = f"{relaxation.energy_before:.6f} eV"
            rows["relaxed"] = f"{'yes' if relaxation.is_converged else 'no'}, {relaxation.n_steps} steps"
        cached = " (known before)" if self._state.was_cached else ""
        rows["seconds"] = f"{self.compute_seconds or 0.0:.2f}{cached}"
        if self.warnings:
            rows["warnings"] = "; ".join(self.warnings)
        return rows

    def to_json(self) -> str:
        """The job and its answer as the service sent them."""
        return self._state.model_dump_json(indent=2)

    def _parts(self) -> dict[Property, DensityAnswer | PotentialAnswer]:
        answers = dict.fromkeys(_FROM_THE_ENERGY, self.prediction.potential)
        parts = {Property.DENSITY: self.prediction.density, **answers}
        return {wanted: part for wanted in self._state.want if (part := parts[wanted]) is not None}

    def _of_potential(self, wanted: Property, name: str) -> Any:
        value = getattr(self.prediction.potential, name, None)
        if value is None:
            raise self._not_wanted(wanted)
        return value

    def _require_density(self) -> None:
        if self.prediction.density is None:
            raise self._not_wanted(Property.DENSITY)

    def _not_wanted(self, missing: Property) -> ArtifactNotFound:
        return ArtifactNotFound(
            f"found that this job did not want {missing}; it wanted {', '.join(self._state.want)}; "
            f"submit with want=['{missing}']"
        )


def _structure_of(found: StructureAnswer) -> Structure:
    return Structure.from_symbols(found.symbols, found.positions, found.cell, found.is_periodic)


def _percent(part: float) -> str:
    return f"{100 * part:.2g} %"


def _bound(expected: Uncertainty) -> str:
    if expected.upper is None or expected.coverage is None:
        return ""
    return f" ({100 * expected.coverage:.0f} %: ≤ {_percent(expected.upper)})"
