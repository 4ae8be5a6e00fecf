"""Laws that every record obeys when it is written and whenever it is verified."""

from collections.abc import Iterator

import numpy as np

from reference.errors import BadRecord, ForeignSettings
from reference.record import ATTRIBUTES, FIELDS, MANTISSA_BITS, Record
from reference.soft_density import fourier_coefficients, wave_vector_indices
from reference.structure import StructureSet, content_hash

ELECTRON_TOLERANCE = 1e-4
"""Relative; what the density may miss of N before it is rescaled."""

FORCE_SUM_TOLERANCE = 0.05
"""eV/Å; largest component of the sum of all forces."""

SPLITS = ("train", "validation", "test")


def check_record(record: Record, of: StructureSet | None = None) -> None:
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
    lengths["n+1"] = lengths["n"] + 1
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
    offsets = arrays["atomic_density_matrix_offsets"]
    if offsets[0] != 0 or offsets[-1] != len(arrays["atomic_density_matrices"]) or np.any(np.diff(offsets) < 1):
        yield "found offsets that do not divide the atomic density matrices"
    yield from _broken_density(record)
    expected = content_hash(
        arrays["numbers"], arrays["positions"], arrays["cell"], bool(arrays["pbc"].all()), attributes["settings_hash"]
    )
    if attributes["content_hash"] != expected:
        yield f"found content hash {attributes['content_hash']}; expected {expected}"


def _broken_density(record: Record) -> Iterator[str]:
    cell, n_electrons = record.arrays["cell"], record.attributes["n_electrons"]
    density = record.arrays["density"].astype(np.float64)
    voxel = abs(np.linalg.det(cell)) / density.size
    if density.min() < 0:
        yield f"found a density of {density.min():.2e} e/Å³; expected none below zero"
    if abs(density.sum() * voxel - n_electrons) > ELECTRON_TOLERANCE * n_electrons:
        yield f"found a density of {density.sum() * voxel:.5f} electrons; expected {n_electrons}"
    indices = record.arrays["fourier_indices"].astype(np.int64)
    if not np.array_equal(indices, wave_vector_indices(cell)):
        yield "found Fourier indices that are not those of the cell"
        return
    waves = fourier_coefficients(density, cell, indices)
    stored = record.arrays["fourier_coefficients"].astype(np.float64) @ np.array([1, 1j])
    # A relative rounding error of half a unit in the last place in every point, all of one sign, is the worst case.
    if np.abs(waves - stored).max() > 2.0 ** -(MANTISSA_BITS + 1) * n_electrons * 1.01:
        yield "found Fourier coefficients that are not those of the density"
