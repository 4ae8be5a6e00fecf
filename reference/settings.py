"""Settings of the DFT: one family, so that densities, energies, forces and stress belong together."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from reference.errors import UnknownSet

COMPENSATION = Path(__file__).with_name("compensation.json")

LEAST_GAP = 0.2
"""eV; a crystal with a smaller gap needs a metal's k-mesh."""


@dataclass(frozen=True)
class DftSettings:
    """What decides the labels of a structure.

    Attributes:
        cutoff: Plane-wave cut-off in eV. 800 converges H, C, N, O and F to 3 meV per atom, 400 suffices for aluminium.
        k_density: Points of the Γ-centred mesh per Å⁻¹, in Å; 0 stands for Γ alone.
        smearing: Fermi–Dirac width in eV; 0 stands for fixed occupations.
        functional: Name of the functional.
        density_convergence: Electrons per valence electron.
        eigenstate_convergence: eV² per valence electron.
        energy_convergence: eV per valence electron.
        compensation: Short hash of the table of compensation widths, which is a part of the density's definition.
    """

    cutoff: float
    k_density: float
    smearing: float
    functional: str = "PBE"
    density_convergence: float = 1e-4
    eigenstate_convergence: float = 1e-6
    energy_convergence: float = 1e-4
    compensation: str = hashlib.sha256(COMPENSATION.read_bytes()).hexdigest()[:12]

    @property
    def text(self) -> str:
        """The settings as JSON with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def hash(self) -> str:
        """Sixteen hexadecimal digits that change with any setting."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]


MOLECULE = DftSettings(cutoff=800.0, k_density=0.0, smearing=0.0)
LIQUID = DftSettings(cutoff=800.0, k_density=0.0, smearing=0.1)
INSULATOR = DftSettings(cutoff=800.0, k_density=2.5, smearing=0.1)
METAL = DftSettings(cutoff=800.0, k_density=5.0, smearing=0.1)
PILOT_METAL = DftSettings(cutoff=800.0, k_density=3.5, smearing=0.1)
"""The pilot's metals: densities good to 0.3 %, energies not converged."""
ALUMINIUM = DftSettings(cutoff=400.0, k_density=5.0, smearing=0.1)


class KnownSet(Protocol):
    """A set, as far as its records are judged by it."""

    @property
    def name(self) -> str: ...

    @property
    def settings_hashes(self) -> frozenset[str]:
        """Hashes of all settings that its records may have."""
        ...


@dataclass(frozen=True)
class SetSettings:
    """What the records of a set may be labelled with. Known without the packages that its generator needs.

    Attributes:
        name: Name of the set.
        settings: Settings of new records.
        accepted: Settings of records that were made elsewhere and may stand beside them.
    """

    name: str
    settings: tuple[DftSettings, ...]
    accepted: tuple[DftSettings, ...] = ()

    @property
    def settings_hashes(self) -> frozenset[str]:
        return frozenset(settings.hash for settings in (*self.settings, *self.accepted))


_OF_SETS = (
    SetSettings("organics", (MOLECULE,)),
    SetSettings("water", (LIQUID,)),
    SetSettings("aluminium", (ALUMINIUM,)),
    SetSettings("crystals", (INSULATOR, METAL), accepted=(PILOT_METAL,)),
    SetSettings("molecule-md", (MOLECULE,)),
)
SET_SETTINGS: dict[str, SetSettings] = {of.name: of for of in _OF_SETS}


def set_settings(name: str) -> SetSettings:
    """Settings of the set of that name.

    Raises:
        UnknownSet: If there is none.
    """
    if name not in SET_SETTINGS:
        raise UnknownSet(f"found no set {name!r}; expected one of {', '.join(SET_SETTINGS)} or atoms")
    return SET_SETTINGS[name]
