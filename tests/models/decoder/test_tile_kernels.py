"""The kernels through Triton's compiler, which needs no GPU; `test_tiled` has what they compute."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton is not installed: it is there for Linux on x86-64 only")

KERNELS = ("fill_tiles", "make_bricks", "count_images", "list_images", "find_intervals", "sum_runs")

# Another process, for in this one the interpreter may stand in for the compiler.
COMPILATION = """
import sys
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from models.decoder import tile_kernels, tile_making
from models.decoder.tile_kernels import Centres, Entries, Runs
from models.decoder.tile_making import Images, Tiles

SIZES = {
    "HIGHEST_DEGREE": 1, "N_INTERVALS": 192, "N_POINTS": 64, "N_LANES": 128, "N_PADDED": 4, "B0": 4, "B1": 4, "B2": 4
}
TYPES = {
    "tiles": Tiles("*fp64", "*i64"), "starts": "*i32", "entries": Entries("*i32", "*i32"),
    "images": Images("*fp64", "*i32"), "centres": Centres("*fp32", "*bf16", "*fp32"), "values": "*fp64",
    "keys": "*i32", "runs": Runs("*i64", "*i64", "*i64", "*i32"), "upstream": "*fp64", "sums": "*fp32",
    "steps": "*fp64", "radii": "*fp64", "counts": "*i32", "found": "*i32",
    **dict.fromkeys(("nowhere", "n_images", "first_brick", "first_plane", "n0", "n1", "n2"), "i32"),
    **dict.fromkeys(SIZES, "constexpr"),
}
for name in sys.argv[1:]:
    kernel = getattr(tile_kernels, name, None) or getattr(tile_making, name)
    names = kernel.arg_names
    source = ASTSource(kernel, {n: TYPES[n] for n in names}, {n: SIZES[n] for n in names if n in SIZES})
    made = compile(source, GPUTarget("cuda", 90, 32), {"num_warps": 1, "enable_fp_fusion": True})
    print(name, made.asm["cubin"][:4])
"""


def test_the_kernels_compile_for_hopper(tmp_path: Path):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    command = [sys.executable, "-W", "error", "-c", COMPILATION, *KERNELS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    made = done.stdout.splitlines()
    assert made == [f"{name} b'\\x7fELF'" for name in KERNELS], done.stderr
