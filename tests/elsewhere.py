"""A device that is not the CPU, on any machine: its tensors are held in main memory and kept apart from all others.

What a GPU refuses is refused here: an operation on tensors of both, and whatever reads values without `.cpu()`. What
it computes is what the CPU computes. It bears the name of an accelerator that torch knows and needs no driver for.

Where there is a GPU, tests that take the fixture `elsewhere` run on that as well.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

from models.decoder.orbital import RealSpaceDecoder
from models.decoder.together import at_points_of_each
from models.density.orbital import model as orbital_model
from models.device import moved

DEVICE = torch.device("lazy")

_aten: Any = torch.ops.aten
_ACROSS = (_aten.copy_.default, _aten.index.Tensor, _aten.index_put_.default, _aten.index_put.default)
"""Operations that GPUs allow on tensors of both: copies, and indices of the CPU."""
_AT_ONCE = {_aten._conj.default: _aten.conj_physical.default, _aten._neg_view.default: _aten.neg.default}
"""What torch would only note on a tensor, and what does it."""


class There(torch.Tensor):
    """A tensor of that device."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> "There":
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
        )
        made.held = held
        return made

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"There({self.held})"

    def tolist(self) -> Any:
        return self.held.tolist()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.held.__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _done(func, args, kwargs or {})


class Elsewhere(TorchDispatchMode):
    """Scope in which the device is there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _done(func, args, kwargs or {})


def _done(asked: Any, args: Any, kwargs: Any) -> Any:
    func = _AT_ONCE.get(asked, asked)
    tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
    there = [one for one in tensors if isinstance(one, There)]
    here = [one for one in tensors if not isinstance(one, There) and one.dim() > 0]
    if there and here and func not in _ACROSS:
        raise RuntimeError(f"found tensors of two devices in {func}: {[tuple(one.shape) for one in (*there, *here)]}")
    device = kwargs.get("device")
    given = {name: torch.device("cpu") if name == "device" and device else one for name, one in kwargs.items()}
    unwrapped = tree_map_only(There, lambda one: one.held, (args, given))
    found = func(*unwrapped[0], **unwrapped[1])
    is_there = device.type == DEVICE.type if device is not None else bool(there)
    if func is _aten.copy_.default:
        is_there = isinstance(args[0], There)
    if is_there:
        found = tree_map_only(torch.Tensor, There, found)
    return return_and_correct_aliasing(func, args, kwargs, found) if there else found


class Distant:
    """The decoder of the CPU in the place of the GPU's, which takes orbitals there and leaves values there."""

    def __init__(self, cell: Any, is_periodic: bool, positions: Any, orbitals: Any, dtype: Any = torch.float32) -> None:
        if orbitals.coefficients.device != DEVICE:
            raise RuntimeError(f"found orbitals on {orbitals.coefficients.device}; expected {DEVICE}")
        self._decoder = RealSpaceDecoder(cell, is_periodic, positions, moved(orbitals, "cpu"), dtype)

    def at_points(self, points: Any) -> torch.Tensor:
        return self._decoder.at_points(points).to(DEVICE)

    def on_planes(self, shape: Any, first: int, last: int) -> torch.Tensor:
        return self._decoder.on_planes(shape, first, last).to(DEVICE)


def _distant_points(placed: Any, orbitals: Any) -> torch.Tensor:
    """The same for several structures."""
    return at_points_of_each(placed, moved(orbitals, "cpu")).to(DEVICE)


class Place(NamedTuple):
    """A device that is not the CPU, and the scope in which it is there."""

    device: torch.device
    scope: AbstractContextManager[Any]


@pytest.fixture(params=["stand-in", "GPU"])
def elsewhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """The stand-in, and a GPU if there is one."""
    if request.param == "GPU":
        if not torch.cuda.is_available():
            pytest.skip("there is no GPU")
        yield Place(torch.device("cuda"), nullcontext())
        return
    here = orbital_model.real_space_decoder

    def decoder(cell: Any, is_periodic: bool, positions: Any, orbitals: Any, *dtype: Any) -> Any:
        chosen = Distant if orbitals.coefficients.device == DEVICE else here
        return chosen(cell, is_periodic, positions, orbitals, *dtype)

    def points(placed: Any, orbitals: Any) -> torch.Tensor:
        chosen = _distant_points if orbitals.coefficients.device == DEVICE else at_points_of_each
        return chosen(placed, orbitals)

    monkeypatch.setattr(orbital_model, "real_space_decoder", decoder)
    monkeypatch.setattr(orbital_model, "at_points_of_each", points)
    yield Place(DEVICE, Elsewhere())
