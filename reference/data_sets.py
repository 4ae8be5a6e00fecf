"""PAW data sets of gpaw-data, read from their XML; GPAW itself is not needed.

The files are in hartree and bohr, and list a partial wave as its radial part φ̃(r), whose angular part is a real
harmonic normalised on the sphere. Bohr does not leave this module.
"""

import gzip
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

FloatArray = NDArray[np.float64]

BOHR = 0.529177210903
"""Å, CODATA 2018."""

INTERPOLATION_DEGREE = 7
"""Partial waves are smooth functions of the grid's index: a high degree makes up for few points in the tail."""


class UnreadableDataSet(Exception):
    """A data set has something that this reader does not know."""


@dataclass(frozen=True)
class RadialGrid:
    """Radii r = a·i / (1 − b·i), i = 0, 1 … n_radii − 1.

    Attributes:
        a: Spacing at the origin in Å.
        b: Stretching, without unit.
        n_radii: Number of radii.
    """

    a: float
    b: float
    n_radii: int

    @property
    def index(self) -> FloatArray:
        return np.arange(self.n_radii, dtype=float)

    @property
    def radius(self) -> FloatArray:
        """Radii in Å, [n_radii]."""
        return self.a * self.index / (1 - self.b * self.index)

    def integral(self, density: FloatArray) -> float:
        """Electrons in a spherical density, which is given at the radii in e/Å³, [n_radii]."""
        measure = self.a / (1 - self.b * self.index) ** 2
        return float(4 * np.pi * np.sum(density * self.radius**2 * measure))

    def index_of(self, radius: FloatArray) -> FloatArray:
        """Fractional index at which the grid passes a radius in Å, any shape."""
        return radius / (self.a + self.b * radius)


@dataclass(frozen=True)
class PawAtom:
    """The spherical, spin-paired, neutral free atom of one PAW data set.

    Attributes:
        n_valence: Valence electrons.
        grid: Radial grid on which everything is given.
        occupations: Electrons in each occupied state, [n_states].
        waves: Pseudo partial waves of these states in Å^-3/2, [n_states, n_radii].
        partial_core: Smooth partial core density in e/Å³, [n_radii].
    """

    n_valence: float
    grid: RadialGrid
    occupations: FloatArray
    waves: FloatArray
    partial_core: FloatArray

    @property
    def monopole(self) -> float:
        """Electrons that the compensation density carries, Q₀ = N − ∫ñ_v."""
        return self.n_valence - self.grid.integral(self.pseudo_valence_density(self.grid.radius))

    def pseudo_valence_density(self, radius: FloatArray) -> FloatArray:
        """ñ_v(r) = Σ_j f_j φ̃_j(r)² / 4π in e/Å³, without the partial core, at any radii in Å, [n] → [n]."""
        spline = make_interp_spline(self.grid.index, self.waves, k=INTERPOLATION_DEGREE, axis=1)
        return self.occupations @ spline(self.grid.index_of(radius)) ** 2 / (4 * np.pi)


def read_paw_atom(contents: bytes) -> PawAtom:
    """The free atom of a PAW-XML file.

    Args:
        contents: Bytes of a file such as `O.PBE.gz`.

    Raises:
        UnreadableDataSet: If something is missing, or the occupations do not add up to the valence.
    """
    root = ElementTree.fromstring(gzip.decompress(contents))  # noqa: S314 -- comes with an installed package
    electrons = {state.attrib["id"]: float(state.get("f", "0")) for state in root.findall("valence_states/state")}
    occupied = [name for name, n_electrons in electrons.items() if n_electrons > 0]
    n_valence = float(_only(root, "atom").attrib["valence"])
    if sum(electrons.values()) != n_valence or min(electrons.values()) < 0:
        raise UnreadableDataSet(f"found occupations {electrons}; expected them to add up to {n_valence:g} electrons")
    waves = {wave.get("state"): _numbers(wave) for wave in root.findall("pseudo_partial_wave")}
    return PawAtom(
        n_valence=n_valence,
        grid=_radial_grid(_only(root, "radial_grid")),
        occupations=np.array([electrons[name] for name in occupied]),
        waves=np.array([waves[name] for name in occupied]) / BOHR**1.5,
        # Densities are listed as coefficients of Y_00 = 1/√4π.
        partial_core=_numbers(_only(root, "pseudo_core_density")) / np.sqrt(4 * np.pi) / BOHR**3,
    )


def _radial_grid(element: ElementTree.Element) -> RadialGrid:
    equation = element.get("eq")
    a, n_radii = float(element.attrib["a"]) * BOHR, int(element.attrib["iend"]) + 1
    if equation == "r=a*i/(n-i)":
        n = float(element.attrib["n"])
        return RadialGrid(a / n, 1 / n, n_radii)
    if equation == "r=a*i/(1-b*i)":
        return RadialGrid(a, float(element.attrib["b"]), n_radii)
    raise UnreadableDataSet(f"found a radial grid {equation!r}; expected r=a*i/(n-i) or r=a*i/(1-b*i)")


def _only(root: ElementTree.Element, tag: str) -> ElementTree.Element:
    found = root.findall(tag)
    if len(found) != 1:
        raise UnreadableDataSet(f"found {len(found)} elements <{tag}>; expected one, as in a PAW-XML data set")
    return found[0]


def _numbers(element: ElementTree.Element) -> FloatArray:
    return np.array((element.text or "").split(), dtype=float)
