"""Networks out of the files that the package `chgnet` ships; nothing of the package itself is imported."""

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.potential.chgnet.config import Config
from models.potential.chgnet.layers import N_FEATURES
from models.potential.chgnet.network import N_BLOCKS, Network
from models.weights import verified_bytes
from rhocast.errors import UnusableWeights

_PLAIN = {
    "trunk.elements.weight": "atom_embedding.embedding.weight",
    "trunk.radial.frequencies": "bond_basis_expansion.rbf_expansion_ag.frequencies",
    "trunk.angle_radial.frequencies": "bond_basis_expansion.rbf_expansion_bg.frequencies",
    "trunk.angular.frequencies": "angle_basis_expansion.fourier_expansion.frequencies",
    "trunk.bonds.weight": "bond_embedding.weight",
    "trunk.bond_weights.weight": "bond_weights_ag.weight",
    "trunk.angle_weights.weight": "bond_weights_bg.weight",
    "trunk.angles.weight": "angle_embedding.weight",
    "moment.weight": "site_wise.weight",
    "moment.bias": "site_wise.bias",
}
"""Names of weights that are the same tensors here and there."""


def network_of(file: Path, sha256: str) -> Network:
    """The network in a file of the package, on the CPU, its weights frozen and float32.

    Args:
        file: Checkpoint of the package; it is not unpickled but read as tensors and plain values.
        sha256: The hash that it must have.

    Raises:
        UnusableWeights: If the file is missing, has another hash, or is no checkpoint of CHGNet.
    """
    contents = verified_bytes(file, sha256)
    try:
        stored = torch.load(io.BytesIO(contents), map_location="cpu", weights_only=True)["model"]
        state = stored["state_dict"]
        config = _config(stored["model_args"], state)
        network = Network(config)
        network.load_state_dict(_translated(state, config))
    except (pickle.UnpicklingError, KeyError, TypeError, RuntimeError) as error:
        raise UnusableWeights(
            f"found {file.name}, which holds no CHGNet ({error!r}); expected a checkpoint of the package chgnet; "
            "reinstall it"
        ) from error
    # Only positions and cells are differentiated; frozen weights need no intermediate results kept for their sake.
    return network.requires_grad_(requires_grad=False).eval()


def _config(arguments: Mapping[str, Any], state: Mapping[str, Tensor]) -> Config:
    """Sizes of a network, from the arguments of the package's constructor and the names of its weights."""
    return Config(
        cutoff=float(arguments["atom_graph_cutoff"]),
        angle_cutoff=float(arguments["bond_graph_cutoff"]),
        n_radial=arguments["num_radial"],
        n_frequencies=(arguments["num_angular"] - 1) // 2,
        envelope_power=arguments["cutoff_coeff"],
        is_normalised=arguments["gMLP_norm"] == "layer",
        has_output_bias="atom_conv_layers.0.mlp_out.layers.1.bias" in state,
        n_readout=len(arguments["mlp_hidden_dims"]),
    )


def _translated(state: Mapping[str, Tensor], config: Config) -> dict[str, Tensor]:
    """Weights of the package by our names; those of the third update of angles are left behind."""
    found = {ours: state[theirs] for ours, theirs in _PLAIN.items()}
    found["references"] = state["composition_model.fc.weight"][0].double()
    perceptrons = {"last_convolution.perceptron": f"atom_conv_layers.{N_BLOCKS}.twoBody_atom"}
    outputs = {"last_convolution.out": f"atom_conv_layers.{N_BLOCKS}.mlp_out.layers.1"}
    for block in range(N_BLOCKS):
        atoms, bonds = f"trunk.atom_convolutions.{block}", f"trunk.bond_convolutions.{block}"
        perceptrons[f"{atoms}.perceptron"] = f"atom_conv_layers.{block}.twoBody_atom"
        perceptrons[f"{bonds}.perceptron"] = f"bond_conv_layers.{block}.twoBody_bond"
        outputs[f"{atoms}.out"] = f"atom_conv_layers.{block}.mlp_out.layers.1"
        outputs[f"{bonds}.out"] = f"bond_conv_layers.{block}.mlp_out.layers.1"
    for block in range(N_BLOCKS - 1):
        perceptrons[f"trunk.angle_updates.{block}.perceptron"] = f"angle_layers.{block}.twoBody_bond"
    for layer in range(config.n_readout):
        outputs[f"readout.{2 * layer}"] = f"mlp.layers.{2 * layer}"
    outputs[f"readout.{2 * config.n_readout}"] = f"mlp.layers.{2 * config.n_readout + 1}"  # after a layer of dropout
    if config.is_normalised:
        outputs["norm"] = "readout_norm"
    for ours, theirs in perceptrons.items():
        found |= _perceptron(state, ours, theirs)
    for ours, theirs in outputs.items():
        found |= _layer(state, ours, theirs)
    return found


def _perceptron(state: Mapping[str, Tensor], ours: str, theirs: str) -> dict[str, Tensor]:
    """Weights of a gated perceptron; the first layer's are cut into those of each input."""
    is_deep = f"{theirs}.mlp_core.layers.0.weight" in state
    first = 0 if is_deep else 1  # a layer of dropout comes before a lone layer
    weight = torch.cat([state[f"{theirs}.mlp_{branch}.layers.{first}.weight"] for branch in ("core", "gate")])
    found = {f"{ours}.parts.{part}": block for part, block in enumerate(weight.split(N_FEATURES, dim=1))}
    found[f"{ours}.bias"] = torch.cat([state[f"{theirs}.mlp_{one}.layers.{first}.bias"] for one in ("core", "gate")])
    for branch, norm in (("core", "bn1"), ("gate", "bn2")):
        if is_deep:
            found |= _layer(state, f"{ours}.{branch}.hidden", f"{theirs}.mlp_{branch}.layers.3")
        found |= _layer(state, f"{ours}.{branch}.norm", f"{theirs}.{norm}")
    return found


def _layer(state: Mapping[str, Tensor], ours: str, theirs: str) -> dict[str, Tensor]:
    """Weight and bias of a layer, as far as it has them."""
    names = {f"{ours}.{kind}": f"{theirs}.{kind}" for kind in ("weight", "bias")}
    return {mine: state[their] for mine, their in names.items() if their in state}
