"""The catalogue: every model by name, where its weights lie and what hash they must have.

`python -m models.catalog` compares the hashes in `catalog.toml` with the files and prints the true ones.
"""

import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from models.interface import DensityModel, Potential
from models.weights import sha256_of, verified_bytes, weights_path
from rhocast.errors import UnknownModel, UnusableWeights

CATALOG_FILE = Path(__file__).with_name("catalog.toml")


@dataclass(frozen=True)
class CatalogEntry:
    """One model of the catalogue.

    Attributes:
        kind: "density" or "potential".
        architecture: What builds it, a name in `BUILDERS`.
        package: Importable package that carries the weights.
        weights: Path of the weights below the package's folder.
        sha256: Hash of the weights.
        card: Model card, relative to the repository.
        licence: Licence of the weights.
    """

    kind: str
    architecture: str
    package: str
    weights: str
    sha256: str
    card: str
    licence: str

    @property
    def path(self) -> Path:
        """The file of weights.

        Raises:
            UnusableWeights: If the package is not installed.
        """
        return weights_path(self.package, self.weights)


def _promolecule(entry: CatalogEntry, device: str) -> DensityModel:
    # Not on `device`: it needs no network, and a worker that serves only it never imports torch.
    from models.density.promolecule import Promolecule  # noqa: PLC0415

    return Promolecule()


def _chgnet(entry: CatalogEntry, device: str) -> Potential:
    from models.device import resolved_device  # noqa: PLC0415
    from models.potential.chgnet.model import Chgnet  # noqa: PLC0415

    return Chgnet.read(entry.path, entry.sha256, resolved_device(device))


def _fastchgnet(entry: CatalogEntry, device: str) -> Potential:
    from models.device import resolved_device  # noqa: PLC0415
    from models.potential.fastchgnet.model import FastChgnet  # noqa: PLC0415

    return FastChgnet.read(entry.path, entry.sha256, resolved_device(device))


def _orbital(entry: CatalogEntry, device: str) -> DensityModel:
    from models.density.orbital.model import OrbitalDensity  # noqa: PLC0415
    from models.device import resolved_device  # noqa: PLC0415

    return OrbitalDensity.read(entry.path, entry.sha256, resolved_device(device))


def _deep_density(entry: CatalogEntry, device: str) -> DensityModel:
    from models.density.deep_density.model import DeepDensity  # noqa: PLC0415
    from models.device import resolved_device  # noqa: PLC0415

    return DeepDensity.read(entry.path, entry.sha256, resolved_device(device))


BUILDERS: dict[str, Callable[[CatalogEntry, str], DensityModel | Potential]] = {
    "chgnet": _chgnet,
    "deep-density": _deep_density,
    "fastchgnet": _fastchgnet,
    "orbital": _orbital,
    "promolecule": _promolecule,
}
"""How to build a model, by the name of its architecture."""


def catalog(file: Path = CATALOG_FILE) -> Mapping[str, CatalogEntry]:
    """Every model by name, in the order of the file."""
    with file.open("rb") as stream:
        return MappingProxyType({name: CatalogEntry(**table) for name, table in tomllib.load(stream).items()})


def load_model(
    name: str, device: str = "cpu", entries: Mapping[str, CatalogEntry] | None = None
) -> DensityModel | Potential:
    """The model of this name, with the weights that the catalogue names and no others.

    Args:
        name: Name in the catalogue.
        device: Where a network runs: "cpu", "cuda", "cuda:1"; "auto": on a GPU if there is one.
        entries: Catalogue to look the name up in, if not the one in the repository.

    Raises:
        UnknownModel: If the catalogue has no such name.
        UnusableWeights: If the file of weights, or what the model says it has loaded, has another hash.
    """
    entries = catalog() if entries is None else entries
    if name not in entries:
        raise UnknownModel(f"found no model {name!r}; expected one of {', '.join(entries)}")
    entry = entries[name]
    verified_bytes(entry.path, entry.sha256)
    model = BUILDERS[entry.architecture](entry, device)
    if model.info.weights_sha256 != entry.sha256:
        raise UnusableWeights(
            f"found {name} with weights of sha256 {model.info.weights_sha256}; expected {entry.sha256} as in the "
            "catalogue; see `python -m models.catalog`"
        )
    return model


def actual_hashes(entries: Mapping[str, CatalogEntry]) -> list[str]:
    """One line a model: its name, the hash of its file, and whether the catalogue agrees."""
    lines: list[str] = []
    for name, entry in entries.items():
        found = sha256_of(entry.path) if entry.path.is_file() else "no file"
        verdict = "as in the catalogue" if found == entry.sha256 else f"the catalogue has {entry.sha256}"
        lines.append(f"{name:<20} {found}  {verdict}")
    return lines


if __name__ == "__main__":
    sys.stdout.write("\n".join(actual_hashes(catalog())) + "\n")
