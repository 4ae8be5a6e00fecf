"""Sizes of the three published CHGNets."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """What builds a network.

    Attributes:
        cutoff: Longest bond in Å.
        angle_cutoff: Bonds shorter than this, in Å, make angles.
        n_radial: Waves of the radial bases.
        n_frequencies: Frequencies of the angular basis.
        envelope_power: Order to which the envelope is flat in the middle.
        is_normalised: Whether perceptrons and readout normalise over features.
        has_output_bias: Whether the linear maps of summed messages have a bias.
        n_readout: Hidden layers of the readout.
    """

    cutoff: float
    angle_cutoff: float
    n_radial: int
    n_frequencies: int
    envelope_power: int
    is_normalised: bool
    has_output_bias: bool
    n_readout: int
