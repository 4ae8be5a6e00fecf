"""`python examples/picture.py CHGCAR picture.png`: the density of a cubic cell in its (110) plane."""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from scipy.ndimage import map_coordinates

from rhocast import Density

mpl.use("Agg")

import matplotlib.pyplot as plt


def plane_110(density: Density, n: int = 400) -> np.ndarray:
    """Density in e/Å³ on the plane through the origin spanned by a + b and c, one period of each, [n, n]."""
    along, up = np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n))
    points = np.stack([along, along, up]) * np.array(density.shape)[:, None, None]
    return map_coordinates(density.values, points, order=3, mode="grid-wrap")


def main() -> None:
    source, target = (Path(name) for name in sys.argv[1:3])
    density = Density.read(source)
    lengths = np.linalg.norm(density.structure.cell, axis=1)
    width, height = np.hypot(lengths[0], lengths[1]), lengths[2]
    figure, axes = plt.subplots(figsize=(7, 5), layout="constrained")
    values = plane_110(density)
    image = axes.imshow(values, origin="lower", extent=(0, width, 0, height), cmap="magma")
    axes.contour(values, levels=12, extent=(0, width, 0, height), colors="white", linewidths=0.4, alpha=0.6)
    axes.set(xlabel="along [110], Å", ylabel="along [001], Å")
    axes.set_title(f"{density.structure.formula}: valence density, {density.n_electrons:.4f} electrons")
    figure.colorbar(image, label="e/Å³")
    figure.savefig(target, dpi=80)


if __name__ == "__main__":
    main()
