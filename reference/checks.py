"""Laws that every record obeys when it is written and whenever it is verified."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from reference.errors import BadRecord, ForeignSettings
from reference.record import ATTRIBUTES, FIELDS, Record
from reference.settings import KnownSet
from reference.soft_density import fourier_coefficients, wave_vector_indices, wave_vectors
from reference.structure import content_hash

ELECTRON_TOLERANCE = 1e-4
"""Relative; what the density may miss of N before it is rescaled."""

FORCE_SUM_TOLERANCE = 0.05
"""eV/Å; largest component of the sum of all forces."""

SAMPLING_DEVIATIONS = 5.0
"""Standard errors by which sampled points may miss a Fourier coefficient."""

N_CHECKED_WAVES = 8
"""The longest waves, which sampled points are held to: all of them would cost as many exponentials as points."""

SPLITS = ("train", "validation", "test")


def check_record(record: Record, of: KnownSet | None = None) -> None:
    """Nothing, if the record obeys every law.

    Args:
        record: What to check.
        of: The set that it must belong to.

    Raises:
        BadRecord: With all laws that it breaks.
        ForeignSettings: If all is well but for its settings.
    """
    broken = list(_broken_shapes(record)) or list(_broken_laws(record))
    if broken:
        raise BadRecord(f"{record.name}: {'; '.join(broken)}")
    if of is not None and record.attributes["set"] != of.name:
        raise BadRecord(f"{record.name}: found set {record.attributes['set']!r}; expected {of.name!r}")
    if of is not None and record.attributes["settings_hash"] not in of.settings_hashes:
        raise ForeignSettings(
            f"{record.name}: found settings {record.attributes['settings']}; expected those of the set {of.name!r}"
        )


def _broken_shapes(record: Record) -> Iterator[str]:
    for name, (kind, _, _) in ATTRIBUTES.items():
        found = record.attributes.get(name)
        accepted = (kind, np.bool_) if kind is bool else (int, np.integer) if kind is int else (kind,)
        if not isinstance(found, accepted):
            yield f"found attribute {name} = {found!r}; expected {kind.__name__}"
    lengths: dict[str, int] = {"n": len(record.arrays["numbers"]) if "numbers" in record.arrays else 0}
    for name, field in FIELDS.items():
        array = record.arrays.get(name)
        if array is None:
            if field.is_required:
                yield f"found no {name}"
            continue
        pairs = zip(field.shape, array.shape, strict=False)
        expected = [lengths.setdefault(n, m) if isinstance(n, str) else n for n, m in pairs]
        if len(field.shape) != array.ndim or tuple(expected) != array.shape:
            yield f"found {name} of shape {array.shape}; expected {field.shape}"
        elif not np.isfinite(array).all():
            yield f"found {name} with values that are not finite"


def _broken_laws(record: Record) -> Iterator[str]:
    arrays, attributes = record.arrays, record.attributes
    n_electrons = attributes["n_electrons"]
    if not attributes["is_converged"]:
        yield "found an SCF that did not converge"
    integral = attributes["integral_before_rescaling"]
    if abs(integral - n_electrons) > ELECTRON_TOLERANCE * n_electrons:
        yield f"found {integral:.5f} electrons before rescaling; expected {n_electrons}"
    force_sum = np.abs(arrays["forces"].sum(axis=0)).max()
    if force_sum > FORCE_SUM_TOLERANCE:
        yield f"found forces that add up to {force_sum:.3f} eV/Å; expected ≤ {FORCE_SUM_TOLERANCE}"
    if attributes["split"] not in SPLITS:
        yield f"found split {attributes['split']!r}; expected one of {', '.join(SPLITS)}"
    if bool(arrays["pbc"].all()) != ("stress" in arrays):
        yield "found stress without periodicity or the reverse"
    sizes = arrays["atomic_density_matrix_sizes"]
    if sizes.sum() != len(arrays["atomic_density_matrices"]) or np.any(sizes < 1):
        yield "found sizes that do not divide the atomic density matrices"
    yield from _broken_density(record)
    expected = content_hash(
        arrays["numbers"], arrays["positions"], arrays["cell"], bool(arrays["pbc"].all()), attributes["settings_hash"]
    )
    if attributes["content_hash"] != expected:
        yield f"found content hash {attributes['content_hash']}; expected {expected}"


def _broken_density(record: Record) -> Iterator[str]:
    cell, n_electrons = record.arrays["cell"], record.attributes["n_electrons"]
    density = record.arrays["density"].astype(np.float64)
    if density.min(initial=0) < 0:
        yield f"found a density of {density.min():.2e} e/Å³; expected none below zero"
        return
    indices = record.arrays["fourier_indices"].astype(np.int64)
    if not np.array_equal(indices, wave_vector_indices(cell)):
        yield "found Fourier indices that are not those of the cell"
        return
    stored = record.arrays["fourier_coefficients"].astype(np.complex128) @ np.array([1, 1j])
    if abs(stored[0] - n_electrons) > ELECTRON_TOLERANCE * n_electrons:
        yield f"found {stored[0].real:.5f} electrons in the wave G = 0; expected {n_electrons}"
    yield from (_broken_grid if record.is_whole else _broken_points)(record, stored)


def _broken_grid(record: Record, stored: NDArray[np.complex128]) -> Iterator[str]:
    n_electrons, n_bits = record.attributes["n_electrons"], record.attributes["mantissa_bits"]
    if len(record.arrays["density"]) != np.prod(record.grid_shape):
        yield f"found {len(record.arrays['density'])} points of density; expected a grid of {record.grid_shape}"
        return
    density = record.density_on_grid.astype(np.float64)
    total = float(record.weights @ density.ravel())
    if abs(total - n_electrons) > ELECTRON_TOLERANCE * n_electrons:
        yield f"found a density of {total:.5f} electrons; expected {n_electrons}"
    waves = fourier_coefficients(density, record.arrays["cell"], record.arrays["fourier_indices"].astype(np.int64))
    # A relative rounding error of half a unit in the last place in every point, all of one sign, is the worst case.
    if np.abs(waves - stored).max() > 2.0 ** -(n_bits + 1) * n_electrons * 1.01:
        yield "found Fourier coefficients that are not those of the density"


def _broken_points(record: Record, stored: NDArray[np.complex128]) -> Iterator[str]:
    indices, n_points = record.arrays["point_indices"], np.prod(record.grid_shape)
    if len(indices) == 0 or indices[0] < 0 or indices[-1] >= n_points or np.any(np.diff(indices) < 1):
        yield f"found point indices out of order or beyond the grid of {record.grid_shape}"
        return
    density = record.arrays["density"].astype(np.float64)
    electrons = record.weights * density
    longest_waves = record.arrays["fourier_indices"][:N_CHECKED_WAVES].astype(np.int64)
    waves = wave_vectors(record.arrays["cell"], longest_waves)
    found = np.exp(-1j * waves @ record.point_positions.T) @ electrons
    # The points are a sample: Poisson sampling's standard error bounds that of the even sampling that is used.
    voxel = abs(np.linalg.det(record.arrays["cell"])) / n_points
    standard_error = np.sqrt(np.sum(electrons**2 * (1 - voxel / record.weights)))
    rounding = 2.0 ** -(record.attributes["mantissa_bits"] + 1) * record.attributes["n_electrons"]
    furthest = np.abs(found - stored[:N_CHECKED_WAVES]).max()
    if furthest > SAMPLING_DEVIATIONS * standard_error + rounding:
        yield f"found points whose Fourier coefficients differ from the stored ones by {furthest:.3f} e: other points"
