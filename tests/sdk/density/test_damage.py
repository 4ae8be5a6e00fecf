"""Whatever happens to a file, it is read or refused: no other error, and never a grid with other values unseen."""

import io
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rhocast.density import (
    read_chgcar,
    read_cube,
    read_npz,
    read_zarr,
    write_chg,
    write_chgcar,
    write_cube,
    write_npz,
    write_zarr,
)
from rhocast.errors import InvalidFile

FORMATS = pytest.mark.parametrize(
    ("write", "read"),
    [
        (write_chgcar, read_chgcar),
        (write_chg, read_chgcar),
        (write_cube, read_cube),
        (write_npz, read_npz),
        (write_zarr, read_zarr),
    ],
    ids=["CHGCAR", "CHG", "cube", "npz", "zarr"],
)
quickly = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def content_of(density, write):
    stream = io.BytesIO()
    write(density, stream)
    return stream.getvalue()


@FORMATS
@quickly
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_grid_is_never_taken_for_a_whole_one(density, write, read, share):
    content = content_of(density, write)
    truncated = content[: int(share * len(content))]
    try:
        found = read(io.BytesIO(truncated))
    except InvalidFile:
        return
    np.testing.assert_array_equal(found.values, read(io.BytesIO(content)).values)


@FORMATS
@quickly
@given(share=st.floats(0, 1, exclude_max=True), new=st.binary(min_size=1, max_size=6), n_cut=st.integers(0, 30))
def test_a_changed_file_is_read_or_refused(spin_density, write, read, share, new, n_cut):
    content = content_of(spin_density, write)
    place = int(share * len(content))
    with suppress(InvalidFile):
        read(io.BytesIO(content[:place] + new + content[place + n_cut :]))
