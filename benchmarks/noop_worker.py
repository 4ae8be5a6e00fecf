"""A worker whose model does nothing: what is left is the service. `python -m benchmarks.noop_worker`."""

from collections.abc import Sequence

from jobs.settings import Settings
from models.interface import PotentialPrediction
from rhocast.elements import SYMBOLS
from rhocast.model_info import ModelInfo, Property
from rhocast.structure import Structure
from workers.process import run

INFO = ModelInfo(
    name="noop",
    provides=(Property.ENERGY,),
    description="Answers at once with nothing.",
    elements=SYMBOLS[1:],
    cutoff=0.0,
    weights_sha256="0" * 64,
    level_of_theory="none",
    licence="MIT",
)


class Noop:
    """A potential that is zero everywhere."""

    info = INFO

    def predict(self, structures: Sequence[Structure], want: frozenset[Property]) -> list[PotentialPrediction]:
        return [PotentialPrediction(0.0) for _ in structures]


if __name__ == "__main__":
    run(Settings(), [Noop()])
