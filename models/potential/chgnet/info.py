"""What each published CHGNet says of itself."""

from dataclasses import replace

from rhocast.elements import SYMBOLS
from rhocast.model_info import Cost, ModelInfo, Property

# Learned from no data: in the optimizer's state that each checkpoint holds beside its weights, the second moments of
# the embeddings of these elements are exactly zero.
_NOT_IN_MPTRJ = ("Po", "At", "Rn", "Fr", "Ra")
_NOT_IN_MP_R2SCAN = ("Yb", *_NOT_IN_MPTRJ)

_NEWEST = ModelInfo(
    name="chgnet",
    provides=(Property.ENERGY, Property.FORCES, Property.STRESS, Property.MAGMOMS),
    description="Universal potential for crystals of 89 elements, trained on relaxations of the Materials Project",
    elements=tuple(symbol for symbol in SYMBOLS[1:95] if symbol not in _NOT_IN_MPTRJ),
    cutoff=6.0,
    weights_sha256="d14ab7c0f093efe64b60a7bcd540bca10e74fb7f46c86108a079af60524659d1",
    level_of_theory="PBE(+U), VASP, Materials Project settings (MPtrj)",
    licence="Modified BSD (Lawrence Berkeley National Laboratory)",
    energy_reference=(
        "total energy with the corrections of the Materials Project (MP2020 compatibility) added to the VASP energy; "
        "never compare it with a raw VASP energy or with another potential's"
    ),
    domains=("crystal",),
    has_spin=True,
    is_conservative=True,
    no_uncertainty_because="CHGNet is one network, not an ensemble, and nobody has calibrated an error for it",
    max_atoms=2000,
    # Milliseconds on one busy CPU core with everything wanted, measured in LiF of 8 and 64 atoms. It is dense: angles
    # within 3 Å cost most, edges only stand for them, and thinner crystals cost less than this says.
    cost=Cost(per_structure=5.0, per_edge=0.075),
    labels={"package": "chgnet 0.4.2", "checkpoint": "0.3.0"},
)

INFOS = (
    _NEWEST,
    replace(
        _NEWEST,
        name="chgnet-0.2.0",
        description="The first CHGNet, for comparison with results that were published with it; chgnet is better",
        cutoff=5.0,
        by_name_only=True,
        weights_sha256="ef624f78b6db9d315b4ef256f1bb3207449924191b91720dc17d3f60c5df980e",
        labels={"package": "chgnet 0.4.2", "checkpoint": "0.2.0"},
    ),
    replace(
        _NEWEST,
        name="chgnet-r2scan",
        description="CHGNet with its weights trained on from PBE to r2SCAN, for crystals of 88 elements",
        elements=tuple(symbol for symbol in SYMBOLS[1:95] if symbol not in _NOT_IN_MP_R2SCAN),
        weights_sha256="8eba3db0f35a2788bb3ae22885ad340591e27996f213c6643af522a633b50dad",
        by_name_only=True,
        level_of_theory="r2SCAN, VASP, Materials Project settings (MP-r2SCAN)",
        energy_reference=(
            "total energy of the data set MP-r2SCAN, whose pseudopotentials set the zero of each element; the package "
            "does not say whether it is corrected; never compare it with a PBE energy or with another potential's"
        ),
        labels={"package": "chgnet 0.4.2", "checkpoint": "r2scan"},
    ),
)
"""One for each checkpoint in the package."""
