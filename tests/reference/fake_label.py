"""A labelling process without DFT, which misbehaves on demand: the environment variable RHOCAST_FAKE says how, and for
which structure, as `behaviour:name`. Run like `reference.gpaw_label`."""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "sdk" / "src"))

from reference.soft_density import soft_compensation
from reference.structure import VALENCE
from rhocast.elements import SYMBOLS

N = 16


def labels(question: dict) -> dict:
    """Neutral Gaussian atoms, forces of zero and an energy that is minus the number of electrons."""
    numbers, cell = question["numbers"], np.array(question["cell"])
    valence = np.array([VALENCE[SYMBOLS[number]] for number in numbers], dtype=float)
    multipoles = np.zeros((len(numbers), 9))
    multipoles[:, 0] = valence / np.sqrt(4 * np.pi)
    widths = np.full(len(numbers), 0.9)
    arrays = {
        "forces": np.zeros((len(numbers), 3)),
        "density": soft_compensation((N, N, N), cell, np.array(question["positions"]), multipoles, widths),
        "multipoles": multipoles,
        "compensation_width": widths,
        "atomic_density_matrices": np.ones(3 * len(numbers)),
        "atomic_density_matrix_offsets": 3 * np.arange(len(numbers) + 1),
        "k_mesh": np.ones(3, dtype=int),
    }
    if question["is_periodic"]:
        arrays["stress"] = np.zeros(6)
    attributes = {
        "energy": -valence.sum(),
        "free_energy": -valence.sum(),
        "gap": 0.1 if question["settings"]["k_density"] == 2.5 else 3.0,
        "is_converged": True,
        "n_irreducible_k": 1,
        "wall_time": 1.0,
        "code": "none",
        "settings_hash": question["settings_hash"],
    }
    return arrays | {"attributes": attributes}


def say(code: str, message: str) -> None:
    sys.stderr.write("a line of the DFT code\n" + json.dumps({"code": code, "message": message}) + "\n")
    sys.exit(3)


def misbehave(behaviour: str, answer: dict) -> None:
    """Spoils the answer, or ends the process."""
    attributes = answer["attributes"]
    match behaviour:
        case "not-converged" | "no-data-set" | "no-gpaw" | "disk-full":
            say(behaviour, f"the DFT said {behaviour}")
        case "crash":
            os.abort()
        case "slow":
            time.sleep(60)
        case _:
            attributes |= SPOILED_ATTRIBUTES.get(behaviour, {})
            answer |= {name: spoil(answer[name]) for name, spoil in SPOILED_ARRAYS.get(behaviour, {}).items()}
    if behaviour == "incomplete":
        del answer["multipoles"]
    if behaviour == "no-gap":
        del attributes["gap"]


SPOILED_ATTRIBUTES = {"foreign": {"settings_hash": "0" * 16}, "unconverged-label": {"is_converged": False}}
SPOILED_ARRAYS = {
    "lost-electrons": {"density": lambda density: density * 1.001},
    "pushed": {"forces": lambda forces: forces + 0.1},
    "not-a-number": {"forces": lambda forces: forces * np.nan},
}


def main() -> None:
    question, out = json.load(sys.stdin), Path(sys.argv[1])
    behaviour, _, name = os.environ.get("RHOCAST_FAKE", "").partition(":")
    answer = labels(question)
    is_meant = name in ("", question["name"])
    if is_meant:
        misbehave(behaviour, answer)
    answer["attributes"] = np.array(json.dumps(answer["attributes"]))
    np.savez(out, **answer)
    if is_meant and behaviour == "half-written":
        out.write_bytes(out.read_bytes()[:1000])
    if is_meant and behaviour == "nothing-written":
        out.unlink()
    with Path(os.environ.get("RHOCAST_FAKE_LOG", os.devnull)).open("a") as log:
        log.write(question["name"] + "\n")


if __name__ == "__main__":
    main()
