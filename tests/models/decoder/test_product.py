"""Products of decoded fields against products of plain sums."""

from math import log

import numpy as np
import pytest
import torch

from models.basis.products import OrbitalProducts
from models.decoder.product import ProductDecoder
from tests.models.basis.test_products import EXPONENTS, fields_in, on_grid, products_of
from tests.models.decoder.brute_force import SHEARED, fractional_grid

SHAPE = (5, 6, 4)


@pytest.fixture(params=[True, False], ids=["crystal", "molecule"])
def fields(request):
    return fields_in(SHEARED if request.param else np.diag([9.0, 10.0, 11.0]), request.param, 2)


def decoder_of(fields, products=None) -> ProductDecoder:
    example = fields[0][0]
    products = products or products_of(fields)
    return ProductDecoder(example.cell, example.is_periodic, example.positions, products, torch.float64)


def test_values_are_products_of_plain_sums(fields):
    expected = on_grid(fields, SHAPE)
    found = decoder_of(fields).on_grid(SHAPE).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_planes_and_points_are_those_of_the_grid(fields):
    decoder = decoder_of(fields)
    grid = decoder.on_grid(SHAPE)
    torch.testing.assert_close(decoder.on_planes(SHAPE, 1, 4), grid[1:4], rtol=0, atol=1e-15)
    points = fractional_grid(SHAPE) @ fields[0][0].cell
    torch.testing.assert_close(decoder.at_points(points).view(SHAPE), grid, rtol=0, atol=1e-8)


def test_the_gradient_is_theirs():
    fields = fields_in(SHEARED, True, 1)
    points = fractional_grid((2, 2, 1)) @ SHEARED + 0.1

    def values(logarithms, first, second):
        return decoder_of(fields, OrbitalProducts(logarithms.exp(), first, second)).at_points(points)

    products = products_of(fields)
    # Decode radii follow the smallest exponent and carry no gradient: only the larger ones may move.
    fixed = torch.full((3, 1), log(EXPONENTS[0]), dtype=torch.float64)
    moving = torch.full((3, 1), log(EXPONENTS[1]), dtype=torch.float64, requires_grad=True)
    coefficients = [one.clone().requires_grad_() for one in (products.first, products.second)]
    assert torch.autograd.gradcheck(
        lambda sharp, *others: values(torch.cat([fixed, sharp], 1), *others), (moving, *coefficients), fast_mode=True
    )
