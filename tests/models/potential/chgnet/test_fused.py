import pytest
import torch
from torch import Tensor

from models.catalog import load_model
from models.potential.chgnet.fused import Inputs, can_fuse, fused_sums
from models.potential.chgnet.layers import N_FEATURES, GatedPerceptron
from models.potential.chgnet.network import Network
from models.potential.chgnet.rows import Owners, Rows, summed

N_ROWS = 1100
"""Two whole runs and a part of one."""

N_OWNERS = 33


@pytest.fixture(scope="module")
def network() -> Network:
    return load_model("chgnet").network


@pytest.fixture(params=["edges", "angles", "updates"])
def perceptron(network, request) -> GatedPerceptron:
    """A deep one of three gathered inputs, a deep one that projects the third, and one without a hidden layer."""
    trunk = network.trunk
    layers = {"edges": trunk.atom_convolutions, "angles": trunk.bond_convolutions, "updates": trunk.angle_updates}
    return layers[request.param][1].perceptron


@pytest.fixture
def inputs(perceptron) -> Inputs:
    generator = torch.Generator().manual_seed(1)

    def rows(n: int, n_columns: int) -> Rows:
        table = torch.randn(n, n_columns, generator=generator).requires_grad_()
        return Rows(table, torch.randint(0, n, (N_ROWS,), generator=generator))

    third = rows(70, 2 * N_FEATURES) if len(perceptron.parts) == 3 else Rows(rows(N_ROWS, N_FEATURES).table)
    return Inputs(rows(50, 2 * N_FEATURES), rows(60, 2 * N_FEATURES), third, rows(40, N_FEATURES))


@pytest.fixture
def owners() -> Owners:
    """Of all but the last, which has no rows."""
    return Owners((torch.arange(N_ROWS) * (N_OWNERS - 1)) // N_ROWS, N_OWNERS)


def gathered(one: Rows) -> Tensor:
    return one.table if one.index is None else one.table[one.index]


def ordinary_sums(perceptron: GatedPerceptron, inputs: Inputs, owners: Owners) -> Tensor:
    third = gathered(inputs.third)
    third = perceptron.project(2, third) if inputs.third.index is None else third
    return summed(
        gathered(inputs.weights) * perceptron(gathered(inputs.first) + gathered(inputs.second) + third), owners
    )


def in_double(perceptron: GatedPerceptron, inputs: Inputs) -> tuple[GatedPerceptron, Inputs]:
    twin = GatedPerceptron(len(perceptron.parts), perceptron.core.hidden is not None, is_normalised=True).double()
    twin.load_state_dict(perceptron.state_dict())
    return twin, Inputs(*(Rows(one.table.detach().double().requires_grad_(), one.index) for one in inputs))


def value_and_gradients(value: Tensor, inputs: Inputs) -> list[Tensor]:
    factors = torch.cos(torch.arange(value.numel(), dtype=value.dtype)).view_as(value)
    return [value, *torch.autograd.grad((value * factors).sum(), [one.table for one in inputs])]


def differences(found: list[Tensor], expected: list[Tensor]) -> list[float]:
    """Largest ones, in units of the largest number expected."""
    return [float((a - b).detach().abs().max() / b.detach().abs().max()) for a, b in zip(found, expected, strict=True)]


def test_sums_and_gradients_are_those_of_ordinary_operations_in_float64(perceptron, inputs, owners):
    found = value_and_gradients(fused_sums(perceptron, inputs, owners), inputs)
    twin, doubled = in_double(perceptron, inputs)
    expected = value_and_gradients(ordinary_sums(twin, doubled, owners), doubled)
    assert max(differences(found, expected)) < 2e-6


def test_what_the_sums_begin_with_is_added_and_takes_its_part_of_the_gradient(perceptron, inputs, owners):
    start = torch.ones(N_OWNERS, N_FEATURES, requires_grad=True)
    sums = fused_sums(perceptron, inputs, owners, start)
    torch.testing.assert_close(sums, fused_sums(perceptron, inputs, owners) + 1, rtol=1e-5, atol=1e-5)
    (slope,) = torch.autograd.grad(sums.sum(), start)
    assert (slope == 1).all()
    assert (start == 1).all()


def test_an_owner_without_rows_has_zero(perceptron, inputs, owners):
    assert not fused_sums(perceptron, inputs, owners)[-1].any()


def test_no_rows_give_zeros_and_no_gradient(perceptron):
    nothing = torch.empty(0, dtype=torch.int64)
    first, second, weights = (torch.ones(3, n, requires_grad=True) for n in (128, 128, 64))
    third = Rows(first, nothing) if len(perceptron.parts) == 3 else Rows(weights[:0])
    inputs = Inputs(Rows(first, nothing), Rows(second, nothing), third, Rows(weights, nothing))
    sums = fused_sums(perceptron, inputs, Owners(nothing, 2))
    assert sums.shape == (2, N_FEATURES)
    assert not sums.any()
    assert not torch.autograd.grad(sums.sum(), second)[0].any()


def test_not_a_number_stays_one(perceptron, inputs, owners):
    with torch.no_grad():
        inputs.first.table[inputs.first.index[0]] = torch.nan
    assert fused_sums(perceptron, inputs, owners)[0].isnan().all()


def test_nothing_but_the_tables_is_kept(perceptron, inputs, owners):
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one) or one, lambda one: one):
        fused_sums(perceptron, inputs, owners)
    assert {one.data_ptr() for one in kept} == {one.table.data_ptr() for one in inputs}


def test_a_second_derivative_is_refused(perceptron, inputs, owners):
    (slope,) = torch.autograd.grad(
        fused_sums(perceptron, inputs, owners).square().sum(), inputs.first.table, create_graph=True
    )
    with pytest.raises(RuntimeError, match="differentiate twice"):
        slope.sum().backward()


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_only_frozen_normalised_float32_on_a_processor_is_fused(perceptron, inputs):
    features = inputs.weights.table
    assert can_fuse(perceptron, features)
    assert not can_fuse(perceptron, features.double())
    assert not can_fuse(perceptron, features.to("meta"))
    plain = GatedPerceptron(3, is_deep=True, is_normalised=False).requires_grad_(requires_grad=False).eval()
    assert not can_fuse(plain, features)
    assert not can_fuse(in_double(perceptron, inputs)[0].train(), features)


@pytest.mark.usefixtures("one_thread")
def test_many_threads_are_left_to_ordinary_operations(perceptron, inputs):
    torch.set_num_threads(3)
    assert not can_fuse(perceptron, inputs.weights.table)
