"""Energy, forces and stress of a rhocast service for ASE. Needs `rhocast[ase]`."""

from collections.abc import Sequence
from typing import Any

from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from rhocast.client import Client
from rhocast.errors import UnknownModel
from rhocast.model_info import Property

_OF_ASE = {"energy": Property.ENERGY, "free_energy": Property.ENERGY} | {
    str(one): one for one in (Property.FORCES, Property.STRESS, Property.MAGMOMS)
}
_ALWAYS = (Property.ENERGY, Property.FORCES)  # every optimizer and integrator asks for both


class RhocastCalculator(Calculator):
    """Energy in eV, forces in eV/Å, stress in eV/Å³ in ASE's order and sign, and magnetic moments in Bohr magnetons.

        atoms.calc = RhocastCalculator(model="chgnet")
        BFGS(FrechetCellFilter(atoms)).run(fmax=0.01)

    Each new geometry is one request over one connection. What was asked for once comes along with every later geometry,
    so that a relaxation of a cell, which asks for forces and then for stress, does not send each geometry twice.

    Args:
        model: Name of the model; None: the service chooses, for each geometry anew.
        client: The service; RHOCAST_URL, else this machine, if None.
        timeout: Seconds after which one geometry is given up.

    Raises:
        UnknownModel: If the service has no such model.
        ConnectionFailed: If no service answers.
    """

    def __init__(self, model: str | None = None, *, client: Client | None = None, timeout: float = 600.0) -> None:
        super().__init__()
        self._model = model
        self._client = client or Client(progress=False)
        self._timeout = timeout
        self._wanted = set(_ALWAYS)
        provided = _provided(self._client, model)
        self.implemented_properties = [name for name, wanted in _OF_ASE.items() if wanted in provided]

    def calculate(
        self,
        atoms: Any = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Asks the service about the atoms, which ASE has found changed.

        Args:
            atoms: The atoms; those of before if None.
            properties: What ASE needs now.
            system_changes: What changed.

        Raises:
            PropertyNotImplementedError: If the stress of atoms is needed that are not periodic.
            RhocastError: What is wrong with the structure, or why it failed.
        """
        super().calculate(atoms, list(properties), list(system_changes))
        present: Any = self.atoms
        is_periodic = bool(present.pbc.any())
        if "stress" in properties and not is_periodic:
            raise PropertyNotImplementedError("found that the stress of a molecule is needed; expected a periodic cell")
        self._wanted |= {_OF_ASE[name] for name in properties}
        wanted = [one for one in Property if one in self._wanted and (is_periodic or one != Property.STRESS)]
        result = self._client.predict(present, wanted, self._model, timeout=self._timeout)
        self.results = {"energy": result.energy, "free_energy": result.energy, "forces": result.forces}
        if Property.STRESS in wanted:
            self.results["stress"] = full_3x3_to_voigt_6_stress(result.stress)
        if Property.MAGMOMS in wanted:
            self.results["magmoms"] = result.magmoms


def _provided(client: Client, model: str | None) -> set[Property]:
    """What a model gives, or any of the service if none is named."""
    infos = {entry.info.name: entry.info for entry in client.models()}
    if model is not None and model not in infos:
        raise UnknownModel(f"found no model {model!r} at {client.url}; expected one of {', '.join(infos) or 'none'}")
    return {one for name, info in infos.items() if model in (None, name) for one in info.provides}
