"""Points/s and pairs/s of the decoders, one thread, beside the published method's arithmetic and the machine's limits.

A pair is a grid point and a centre's image within the centre's radius. Times are processor seconds of one thread, best
of several runs, so that other work on the machine counts little. The basis has random coefficients, 8 exponents from
0.15 to 12 bohr⁻², l ≤ 4: 200 functions a centre.

Where torch sees a GPU, its figures follow, in time on the clock until the device has finished.

python -m benchmarks.decoder [spacing in Å]
"""

import itertools
import sys
import time
from collections.abc import Callable
from math import lgamma, log, pi
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from e3nn import o3
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.machine import machine_line
from models.basis.gaussian import BOHR, Orbitals
from models.decoder.choice import OrbitalDecoder, real_space_decoder
from models.decoder.orbital import RealSpaceDecoder
from models.decoder.reciprocal import ReciprocalDecoder, Wavevectors
from models.interface import GridShape
from rhocast.structure import Structure

HIGHEST_DEGREE = 4
N_SAMPLES = 200
"""Points at which the published arithmetic is done: it is too slow for a grid."""

FLOPS_PER_PAIR = 260
"""Harmonics 60, 25 cubic polynomials of 6 each, 25 multiplications and additions: the least that a pair takes."""

BYTES_PER_POINT = 8


class Decoded(NamedTuple):
    """A structure with a basis on a grid."""

    structure: Structure
    orbitals: Orbitals
    shape: GridShape

    @property
    def n_points(self) -> int:
        return int(np.prod(self.shape))

    def real_space(self) -> RealSpaceDecoder:
        structure = self.structure
        return RealSpaceDecoder(structure.cell, structure.is_periodic, structure.positions, self.orbitals)

    def on_gpu(self, requires_grad: bool = False) -> tuple[OrbitalDecoder, Tensor]:
        """The decoder of the GPU, and the coefficients that it decodes."""
        structure, orbitals = self.structure, self.orbitals
        coefficients = orbitals.coefficients.to("cuda").requires_grad_(requires_grad)
        there = Orbitals(orbitals.exponents.to("cuda"), coefficients)
        return real_space_decoder(structure.cell, structure.is_periodic, structure.positions, there), coefficients


def structures() -> dict[str, Structure]:
    """Benzene in a box, rock salt, and a cell of aluminium with one atom."""
    ring = np.exp(2j * pi * np.arange(6) / 6)
    benzene = [(radius * z.real + 5.5, radius * z.imag + 5.5, 4.0) for radius in (1.397, 2.481) for z in ring]
    corners = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
    rock_salt = np.concatenate([corners, corners + np.array([0.5, 0, 0])]) * 5.64
    return {
        "benzene, box 11 × 11 × 8 Å": Structure.from_symbols(
            ["C"] * 6 + ["H"] * 6, benzene, np.diag([11.0, 11, 8]), is_periodic=False
        ),
        "NaCl, 8 atoms": Structure.from_symbols(["Na"] * 4 + ["Cl"] * 4, rock_salt, 5.64 * np.eye(3)),
        "Al, 1 atom": Structure.from_symbols(["Al"], [[0, 0, 0]], 2.025 * (np.ones((3, 3)) - np.eye(3))),
    }


def decoded(structure: Structure, spacing: float) -> Decoded:
    generator = torch.Generator().manual_seed(0)
    exponents = torch.logspace(log(0.15), log(12), 8, base=float(np.e)).repeat(structure.n_atoms, 1)
    coefficients = torch.randn(structure.n_atoms, 8, (HIGHEST_DEGREE + 1) ** 2, generator=generator)
    n0, n1, n2 = (int(n) for n in np.ceil(np.linalg.norm(structure.cell, axis=1) / spacing))
    return Decoded(structure, Orbitals(exponents, coefficients), (n0, n1, n2))


def seconds(run: Callable[[], Any], n_runs: int) -> float:
    """Shortest of some runs, in seconds of the processor."""
    durations: list[float] = []
    for _ in range(n_runs):
        start = time.process_time()
        run()
        durations.append(time.process_time() - start)
    return min(durations)


def seconds_on_gpu(run: Callable[[], Any], n_runs: int) -> float:
    """Median of some runs after two that do not count, in seconds on the clock."""
    durations: list[float] = []
    for _ in range(n_runs + 2):
        torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        durations.append(time.perf_counter() - start)
    return float(np.median(durations[2:]))


def seconds_of_kernel(name: str, run: Callable[[], Any], n_runs: int) -> float:
    """Mean time that the kernels of a name take of the GPU in each of some runs, in seconds."""
    run()
    with profile(activities=[ProfilerActivity.CUDA]) as watched:
        for _ in range(n_runs):
            run()
        torch.cuda.synchronize()
    microseconds = sum(one.device_time_total for one in watched.key_averages() if name in one.key)
    return 1e-6 * microseconds / n_runs


def grid_points(case: Decoded) -> np.ndarray:
    axes = [np.arange(n) / n for n in case.shape]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3) @ case.structure.cell


def image_positions(case: Decoded) -> np.ndarray:
    """Positions of all images of all centres that may reach into the cell, [n_images, n_centres, 3]."""
    structure, radius = case.structure, float(case.orbitals.radii().max())
    if not structure.is_periodic:
        return structure.positions[None]
    reach = np.ceil(radius * np.linalg.norm(np.linalg.inv(structure.cell), axis=0)).astype(int) + 1
    images = np.array(list(itertools.product(*(range(-n, n + 1) for n in reach))))
    return structure.wrapped_positions + (images @ structure.cell)[:, None]


def n_pairs(case: Decoded) -> int:
    points, radius = grid_points(case), float(case.orbitals.radii()[0])
    if case.structure.is_periodic:
        volume = 4 / 3 * pi * radius**3 / case.structure.volume
        return round(case.structure.n_atoms * volume * case.n_points)
    return sum(int((np.square(points - one).sum(1) < radius**2).sum()) for one in case.structure.positions)


def published(case: Decoded, points: Tensor) -> tuple[Tensor, int]:
    """Density at points as "A Recipe for Charge Density Prediction" computes it, and its number of pairs.

    Every primitive Gaussian times spherical harmonics for every pair, in float32 and in logarithms:
    exp(−α r² + l ln r + ln N) Y, coefficients gathered and multiplied, functions and centres summed up.
    """
    degree = torch.repeat_interleave(torch.arange(HIGHEST_DEGREE + 1), 2 * torch.arange(HIGHEST_DEGREE + 1) + 1)
    images = torch.from_numpy(image_positions(case))
    vectors = (points[:, None, None] - images).float()
    pair = torch.nonzero(vectors.norm(dim=-1) < case.orbitals.radii().float())
    pairs = vectors[tuple(pair.T)] / BOHR
    radius = pairs.norm(dim=1)
    harmonics = o3.spherical_harmonics(list(range(HIGHEST_DEGREE + 1)), pairs, True, normalization="norm")
    alpha = case.orbitals.exponents[pair[:, 2]]
    log_norm = torch.stack(
        [
            0.5 * ((l + 1.5) * torch.log(2 * alpha) + log(2) - lgamma(l + 1.5))
            for l in range(HIGHEST_DEGREE + 1)  # noqa: E741
        ],
        dim=-1,
    )
    powers = torch.arange(HIGHEST_DEGREE + 1) * torch.log(radius + 1e-8)[:, None]
    radial = torch.exp(-alpha[:, :, None] * radius[:, None, None] ** 2 + powers[:, None] + log_norm)
    functions = radial[:, :, degree] * harmonics[:, None] * case.orbitals.coefficients[pair[:, 2]]
    values = torch.zeros(len(points)).index_add(0, pair[:, 0], functions.sum(dim=(1, 2)))
    return values / BOHR**3, len(pair)


def report(name: str, case: Decoded) -> None:
    """Prints one structure's lines."""
    made, pairs = case.real_space(), n_pairs(case)
    made.on_grid(case.shape)
    grid = seconds(lambda: made.on_grid(case.shape), 7)
    print(f"{name}: grid {' × '.join(map(str, case.shape))}, {pairs / 1e6:.1f} million pairs")
    print(f"  real space     {case.n_points / grid:9.2e} points/s, {pairs / grid:8.2e} pairs/s; {1e3 * grid:.1f} ms")
    print(f"    tables       {1e3 * seconds(case.real_space, 5):9.1f} ms before the first grid")
    print(f"    gradient     {pairs / backward(case):9.2e} pairs/s")
    points = torch.from_numpy(np.random.default_rng(0).permutation(grid_points(case))[:N_SAMPLES])
    values, n_published = published(case, points)
    slow = seconds(lambda: published(case, points), 3) / n_published
    ours = made.at_points(points.numpy())
    difference = float((ours - values).abs().max() / ours.abs().max())
    print(
        f"  published      {1 / slow:9.2e} pairs/s; real space is {slow * pairs / grid:.0f} × as fast, "
        f"largest difference {difference:.0e}"
    )
    many = np.random.default_rng(1).permutation(grid_points(case))[:4000]
    per_point = seconds(lambda: made.at_points(many), 5) / len(many)
    print(f"  at points      {1 / per_point:9.2e} points/s, {pairs / case.n_points / per_point:8.2e} pairs/s")
    if case.structure.is_periodic:
        report_reciprocal(case)
    if torch.cuda.is_available():
        report_gpu(case, pairs, many)


def report_gpu(case: Decoded, pairs: int, points: np.ndarray) -> None:
    made, _ = case.on_gpu()
    values, expected = made.on_grid(case.shape).cpu(), case.real_space().on_grid(case.shape)
    difference = float((values - expected).abs().max() / expected.abs().max())
    grid = seconds_on_gpu(lambda: made.on_grid(case.shape), 20)
    flops, bandwidth = limits_of_gpu()
    floor = max(pairs * FLOPS_PER_PAIR / flops, case.n_points * BYTES_PER_POINT / bandwidth)
    print(
        f"  GPU            {case.n_points / grid:9.2e} points/s, {pairs / grid:8.2e} pairs/s; {1e3 * grid:.2f} ms, "
        f"{grid / floor:.1f} × its floor, largest difference {difference:.0e}"
    )
    sums = seconds_of_kernel("fill_tiles", lambda: made.on_grid(case.shape), 10)
    print(f"    sums alone   {1e3 * sums:9.2f} ms, {sums / floor:.1f} × the floor")
    print(f"    tables       {1e3 * seconds_on_gpu(case.on_gpu, 20):9.2f} ms before the first grid")
    made, coefficients = case.on_gpu(requires_grad=True)
    values = made.on_grid(case.shape)
    upstream = torch.ones_like(values)
    gradient = seconds_on_gpu(lambda: torch.autograd.grad(values, coefficients, upstream, retain_graph=True), 10)
    print(f"    gradient     {pairs / gradient:9.2e} pairs/s")
    per_point = seconds_on_gpu(lambda: made.at_points(points), 10) / len(points)
    print(f"    at points    {1 / per_point:9.2e} points/s")


def report_reciprocal(case: Decoded) -> None:
    made = ReciprocalDecoder(case.structure.cell, case.structure.positions, case.orbitals)
    made.on_grid(case.shape)
    grid = seconds(lambda: made.on_grid(case.shape), 3)
    n_waves = len(Wavevectors.within(case.structure.cell, case.orbitals.wavenumber_limit()).lengths)
    print(
        f"  reciprocal     {case.n_points / grid:9.2e} points/s; {1e3 * grid:.1f} ms, "
        f"{1e6 * grid / n_waves:.2f} µs a wavevector of {n_waves}"
    )


def backward(case: Decoded) -> float:
    """Seconds that the gradient of a grid takes beyond the grid."""
    coefficients = case.orbitals.coefficients.clone().requires_grad_(True)
    values = case._replace(orbitals=Orbitals(case.orbitals.exponents, coefficients)).real_space().on_grid(case.shape)
    upstream = torch.ones_like(values)
    torch.autograd.grad(values, coefficients, upstream, retain_graph=True)
    return seconds(lambda: torch.autograd.grad(values, coefficients, upstream, retain_graph=True), 5)


def limits() -> tuple[float, float]:
    """Floating-point operations per second of matrix products in float32, and bytes per second written."""
    left = torch.randn(1024, 1024)
    target = torch.empty(2**24, dtype=torch.float64)
    return 2 * 1024**3 / seconds(lambda: left @ left, 9), 8 * 2**24 / seconds(lambda: target.fill_(1.0), 9)


def limits_of_gpu() -> tuple[float, float]:
    """The same of the GPU; its products are of float32 proper, not of TF32."""
    left, target = torch.randn(8192, 8192, device="cuda"), torch.empty(2**28, dtype=torch.float64, device="cuda")
    flops = 2 * 8192**3 / seconds_on_gpu(lambda: left @ left, 5)
    return flops, 8 * 2**28 / seconds_on_gpu(lambda: target.fill_(1.0), 5)


def main() -> None:
    spacing = float(sys.argv[1]) if len(sys.argv) > 1 else 0.1
    before = numba.get_num_threads(), torch.get_num_threads()
    numba.set_num_threads(1)
    torch.set_num_threads(1)
    try:
        print(machine_line())
        flops, bandwidth = limits()
        print(
            f"floor of one thread: {flops / FLOPS_PER_PAIR:.2e} pairs/s ({flops / 1e9:.0f} GFLOP/s in products), "
            f"{bandwidth / BYTES_PER_POINT:.2e} points/s written"
        )
        if torch.cuda.is_available():
            flops, bandwidth = limits_of_gpu()
            print(
                f"floor of {torch.cuda.get_device_name()}: {flops / FLOPS_PER_PAIR:.2e} pairs/s "
                f"({flops / 1e12:.0f} TFLOP/s in products), {bandwidth / BYTES_PER_POINT:.2e} points/s written"
            )
        for name, structure in structures().items():
            report(name, decoded(structure, spacing))
    finally:
        numba.set_num_threads(before[0])
        torch.set_num_threads(before[1])


if __name__ == "__main__":
    main()
