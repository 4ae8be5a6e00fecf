"""Shipped weights on a device that is not the CPU answer what they answer on the CPU."""

import numpy as np
import pytest
import torch

from models.catalog import load_model
from models.interface import DensityModel, ExpandedField, GaugedField, Potential
from rhocast.model_info import Property
from rhocast.structure import Structure
from tests.elsewhere import Place
from tests.models.potential_contract import distorted_rock_salt

WANT = frozenset({Property.ENERGY, Property.FORCES, Property.STRESS, Property.MAGMOMS})
ATOL = 2e-5
"""Ordinary operations elsewhere, fused ones on the CPU: single precision."""


def water(is_periodic: bool) -> Structure:
    positions = 2.5 + np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0.1]])
    return Structure.from_symbols(("O", "H", "H"), positions, np.diag([5.0, 5.5, 6.0]), is_periodic=is_periodic)


@pytest.mark.parametrize("name", ["chgnet", "fastchgnet"])
def test_potentials(name, elsewhere: Place, monkeypatch):
    there = [distorted_rock_salt("Na", "Cl", 2.82), distorted_rock_salt("Fe", "O", 2.15)]

    def answers(device: str) -> list:
        model = load_model(name, device)
        assert isinstance(model, Potential)
        return model.predict(there, WANT)

    monkeypatch.setattr(torch, "inference_mode", torch.no_grad)  # tensors of that device know of no other
    with elsewhere.scope:
        found = answers(str(elsewhere.device))
    for one, other in zip(found, answers("cpu"), strict=True):
        assert one.energy == pytest.approx(other.energy, abs=ATOL)
        for part in ("forces", "stress", "magmoms"):
            np.testing.assert_allclose(getattr(one, part), getattr(other, part), rtol=0, atol=ATOL)


@pytest.mark.parametrize(
    ("name", "structure"),
    [
        ("orbital-organics-small", water(is_periodic=False)),
        ("orbital-crystals-small", distorted_rock_salt("Na", "Cl", 2.82)),
        ("deep-density-water", water(is_periodic=True)),
    ],
)
def test_densities(name, structure, elsewhere: Place):
    points = structure.positions[0] + np.random.default_rng(0).normal(size=(50, 3))

    def answers(device: str) -> dict[str, np.ndarray]:
        model = load_model(name, device)
        assert isinstance(model, DensityModel)
        (field,) = model.fields([structure])
        assert isinstance(field, GaugedField)
        expected = field.expected_error()
        assert expected is not None
        found = {
            "electrons": np.array(field.n_electrons),
            "values": field.at_points(points),
            "planes": field.on_planes((12, 12, 12), 3, 6),
            "how sure": expected.per_atom,
        }
        if isinstance(field, ExpandedField):
            expansion = field.expansion()
            assert expansion.on_atoms is not None
            found["coefficients"] = expansion.on_atoms.coefficients
        return found

    here = answers("cpu")
    with elsewhere.scope:
        there = answers(str(elsewhere.device))
    for part, expected in here.items():
        np.testing.assert_allclose(there[part], expected, rtol=1e-5, atol=1e-6, err_msg=part)
