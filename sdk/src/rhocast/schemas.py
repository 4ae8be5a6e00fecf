"""Every object on the wire, shared by server and client."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, FailFast, Field, Tag

from rhocast.model_info import Cost, ModelInfo, Property
from rhocast.quantity import Quantity

Vector = tuple[float, float, float]
Matrix = tuple[Vector, Vector, Vector]

StructureFormat = Literal["cif", "poscar", "extxyz", "xyz", "optimade"]
STRUCTURE_FORMATS: tuple[StructureFormat, ...] = ("cif", "poscar", "extxyz", "xyz", "optimade")

DensityFormat = Literal["chgcar", "chg", "cube", "npz", "zarr"]
DENSITY_FORMATS: tuple[DensityFormat, ...] = ("chgcar", "chg", "cube", "npz", "zarr")

DownloadFormat = Literal["chgcar", "chg", "cube", "npz", "zarr", "coefficients"]
"""Formats of a density on a grid, and of its coefficients, which need none."""


class Schema(BaseModel):
    """Base of all wire objects: unknown keys are refused, instances do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class JobStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        return self not in (JobStatus.QUEUED, JobStatus.RUNNING)


class Priority(StrEnum):
    INTERACTIVE = "interactive"
    BULK = "bulk"


class Problem(Schema):
    """RFC 9457 problem document."""

    type: str = "about:blank"
    title: str
    status: int
    code: Annotated[str, Field(description="Name of the error class, the same in the SDK")]
    detail: Annotated[str, Field(description="What was found, what was expected, what to do")]
    errors: Annotated[list[str] | None, Field(description="One line for each field that is wrong")] = None


# --- what is asked -------------------------------------------------------------------------------------------------


class PlainStructure(Schema):
    """Atoms as plain arrays."""

    symbols: Annotated[list[str], FailFast(), Field(description="Chemical symbols, one an atom", min_length=1)]
    positions: Annotated[list[Vector], FailFast(), Quantity("Å", "Cartesian positions")]
    cell: Annotated[Matrix | None, Quantity("Å", "Cell vectors, one a row; null for a molecule")] = None
    charge: Annotated[float, Quantity("e", "Total charge; only 0 is answered")] = 0.0


class StructureText(Schema):
    """Text of a structure file."""

    text: Annotated[str, Field(min_length=1)]
    format: StructureFormat | None = None


class PymatgenStructure(BaseModel):
    """`Structure.as_dict()` or `Molecule.as_dict()` of pymatgen."""

    model_config = ConfigDict(extra="allow", frozen=True)

    pymatgen_class: Annotated[Literal["Structure", "Molecule"], Field(alias="@class")]
    sites: list[dict[str, Any]]


class OptimadeStructure(BaseModel):
    """An entry of type `structures`, as OPTIMADE providers answer it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: Literal["structures"] = "structures"
    attributes: dict[str, Any]


def _structure_kind(value: Any) -> str:
    """Which kind of structure an object is, so that an error speaks of that kind alone."""
    keys: Any = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    if "text" in keys:
        return "text"
    if "attributes" in keys:
        return "optimade"
    return "pymatgen" if "@class" in keys or "pymatgen_class" in keys else "plain"


AnyStructure = Annotated[
    Annotated[PlainStructure, Tag("plain")]
    | Annotated[PymatgenStructure, Tag("pymatgen")]
    | Annotated[OptimadeStructure, Tag("optimade")]
    | Annotated[StructureText, Tag("text")],
    Discriminator(_structure_kind),
]


class GridRequest(Schema):
    """How the density grid is chosen: at most one of shape, spacing and encut."""

    shape: Annotated[tuple[int, int, int] | None, Quantity("1", "Points along each cell vector")] = None
    spacing: Annotated[float | None, Quantity("Å", "Largest distance of neighbouring points")] = None
    encut: Annotated[
        float | None, Quantity("eV", "Plane-wave cut-off whose fine FFT grid (VASP, PREC=Accurate) is made")
    ] = None


class PredictionRequest(Schema):
    """What to predict for which structure."""

    structure: AnyStructure
    want: Annotated[list[Property], Field(min_length=1)] = [Property.DENSITY]
    model: Annotated[
        list[str], Field(description="Names of models; each property comes from the first that provides it")
    ] = []
    grid: GridRequest = GridRequest()
    vacuum: Annotated[float, Quantity("Å", "Empty space on each side of a molecule", gt=0, le=50)] = 5.0
    priority: Priority = Priority.INTERACTIVE


class RelaxationSettings(Schema):
    """When a structure counts as relaxed, and when it is given up."""

    fmax: Annotated[
        float, Quantity("eV/Å", "Largest force on an atom, and on the cell's coordinates if it relaxes", gt=0, le=100)
    ] = 0.05
    steps: Annotated[int, Quantity("1", "Most steps; after these it is given as it is", ge=0, le=5000)] = 500
    relax_cell: Annotated[
        bool | None,
        Field(description="Whether the cell relaxes too; null: that of a crystal does"),
    ] = None


class RelaxationRequest(RelaxationSettings):
    """Which structure to relax, and how far."""

    structure: AnyStructure
    model: Annotated[
        list[str], Field(description="Names of potentials; the first that covers the structure relaxes it")
    ] = []
    vacuum: Annotated[float, Quantity("Å", "Empty space on each side of a molecule", gt=0, le=50)] = 5.0
    priority: Priority = Priority.INTERACTIVE


AnyRequest = PredictionRequest | RelaxationRequest


# --- what is answered ----------------------------------------------------------------------------------------------


class Uncertainty(Schema):
    """How far to trust a density; `value` is null where nobody has calibrated one, or an atom is unfamiliar."""

    value: Annotated[float | None, Quantity("1", "Expected NMAE, ∫|ρ − ρ_reference| / electrons")] = None
    upper: Annotated[
        float | None,
        Quantity("1", "NMAE not exceeded in `coverage` of structures like those it was calibrated on"),
    ] = None
    coverage: Annotated[float | None, Quantity("1", "Nominal share of such structures below `upper`")] = None
    per_atom: Annotated[
        list[float] | None,
        Quantity("e", "Expected ∫|Δρ| in each atom's share, in the order of the atoms sent; a guess if unfamiliar"),
    ] = None
    unfamiliar_atoms: Annotated[
        list[int],
        Quantity("1", "Places, from 0 as sent, of atoms in surroundings unlike any that the model has learned from"),
    ] = []
    reason: Annotated[str | None, Field(description="Why there is no value")] = None


class Provenance(Schema):
    """Where an answer comes from."""

    model: str
    weights_sha256: str
    level_of_theory: str
    density_kind: str | None = None
    valence_electrons: Annotated[
        dict[str, float] | None, Quantity("e", "Electrons counted for each element of this structure")
    ] = None
    energy_reference: str | None = None
    is_conservative: Annotated[bool | None, Field(description="Whether forces are the energy's derivative")] = None
    code_version: str
    labels: dict[str, str] = {}


class Rescaling(Schema):
    """What a model that does not count electrons by itself did to have them right; how far off it was says much."""

    factor: Annotated[float, Quantity("1", "By which the clipped density was multiplied, everywhere")]
    n_clipped: Annotated[float, Quantity("e", "Electrons that clipping negative values added before that")]


class DensityAnswer(Schema):
    """A density on a grid; the values are artifacts, one a format."""

    n_electrons: Annotated[float, Quantity("e", "Electrons that the density integrates to, exactly")]
    integral: Annotated[float, Quantity("e", "Integral of the written grid, measured after scaling and rounding")]
    shape: Annotated[tuple[int, int, int], Quantity("1", "Grid points along each cell vector")]
    spacing: Annotated[Vector, Quantity("Å", "Distance of neighbouring points along each cell vector")]
    grid_chosen_by: Annotated[str, Field(description="How the grid was chosen")]
    scale_factor: Annotated[float, Quantity("1", "Factor that made the sum over the grid exact")]
    minimum: Annotated[float, Quantity("e/Å³", "Smallest value")]
    maximum: Annotated[float, Quantity("e/Å³", "Largest value")]
    mantissa_bits: Annotated[int, Quantity("1", "Mantissa bits kept of the stored float32 values")]
    provenance: Provenance
    uncertainty: Uncertainty
    rescaling: Annotated[
        Rescaling | None, Field(description="How the electrons were made right; null where the model counts them")
    ] = None
    artifacts: Annotated[dict[str, str], Field(description="URL of the file in each format")] = {}


class PotentialAnswer(Schema):
    """Energy and its derivatives."""

    energy: Annotated[float, Quantity("eV", "Total energy of the cell")]
    energy_per_atom: Annotated[float, Quantity("eV", "Energy divided by the number of atoms")]
    energies: Annotated[
        list[float] | None, Quantity("eV", "Shares of the atoms in the energy, in the order of the atoms sent")
    ] = None
    forces: Annotated[list[Vector] | None, Quantity("eV/Å", "Forces in the order of the atoms sent")] = None
    stress: Annotated[Matrix | None, Quantity("eV/Å³", "Stress, tension positive")] = None
    magmoms: Annotated[list[float] | None, Quantity("μB", "Magnetic moments in the order of the atoms sent")] = None
    provenance: Provenance
    uncertainty: Uncertainty


class StructureAnswer(Schema):
    """A structure, its atoms in the order in which they were sent."""

    symbols: list[str]
    positions: Annotated[list[Vector], Quantity("Å", "Cartesian positions")]
    cell: Annotated[Matrix, Quantity("Å", "Cell vectors, one a row; for a molecule the box of the grid")]
    is_periodic: bool


class RelaxationAnswer(Schema):
    """Where a structure has relaxed to; energy, forces and stress there are the answer's `potential`."""

    structure: Annotated[StructureAnswer, Field(description="The last structure, atoms not wrapped into the cell")]
    energy_before: Annotated[float, Quantity("eV", "Total energy of the structure that was sent")]
    n_steps: Annotated[int, Quantity("1", "Steps that were made")]
    is_converged: Annotated[bool, Field(description="Whether it is relaxed; if not, this is as far as it came")]
    artifacts: Annotated[dict[str, str], Field(description="URL of the relaxed structure in each format")] = {}


class Prediction(Schema):
    """The answer to one request."""

    structure: StructureAnswer
    density: DensityAnswer | None = None
    potential: Annotated[
        PotentialAnswer | None, Field(description="Of this structure; in a relaxation, of the relaxed one")
    ] = None
    relaxation: RelaxationAnswer | None = None


class Progress(Schema):
    """How far a running computation is."""

    done: Annotated[int, Quantity("1", "Planes of the grid that are written, or steps of a relaxation that are made")]
    total: Annotated[int, Quantity("1", "All planes of the grid, or the most steps of a relaxation; it may need fewer")]


class Job(Schema):
    """One request and how far it is."""

    id: str
    status: JobStatus
    formula: str
    n_atoms: Annotated[int, Quantity("1", "Number of atoms")]
    want: list[Property]
    models: Annotated[dict[str, str], Field(description="Which model answers which property")]
    relaxation: Annotated[RelaxationSettings | None, Field(description="How it relaxes, if it is a relaxation")] = None
    priority: Priority
    position: Annotated[
        int | None, Quantity("1", "Place in the queue of its model and priority, 1 for the next; told by events alone")
    ] = None
    progress: Annotated[
        Progress | None, Field(description="While it runs, where a worker has told it: of what takes a moment alone")
    ] = None
    created_at: datetime
    finished_at: datetime | None = None
    expires_at: datetime
    was_cached: Annotated[bool, Field(description="Whether all of it was known before it was asked")] = False
    compute_seconds: Annotated[float | None, Quantity("s", "Time the models took")] = None
    warnings: list[str] = []
    error: Problem | None = None
    result: Prediction | None = None
    links: dict[str, str] = {}


class JobPage(Schema):
    """A page of jobs, newest first."""

    jobs: list[Job]
    next: Annotated[str | None, Field(description="URL of the next page")] = None


class ModelEntry(Schema):
    """A model and how many live workers have it loaded."""

    info: ModelInfo
    n_workers: Annotated[int, Quantity("1", "Live workers that serve it")]
    is_default_for: list[Property] = []


class ModelList(Schema):
    models: list[ModelEntry]


class Health(Schema):
    status: Literal["ok", "not ready"]
    version: str
    checks: Annotated[dict[str, str], Field(description="Each thing that was checked, and what was found")] = {}


__all__ = [
    "DENSITY_FORMATS",
    "STRUCTURE_FORMATS",
    "AnyRequest",
    "Cost",
    "DensityAnswer",
    "DensityFormat",
    "DownloadFormat",
    "GridRequest",
    "Health",
    "Job",
    "JobPage",
    "JobStatus",
    "ModelEntry",
    "ModelInfo",
    "ModelList",
    "OptimadeStructure",
    "PlainStructure",
    "PotentialAnswer",
    "Prediction",
    "PredictionRequest",
    "Priority",
    "Problem",
    "Progress",
    "Property",
    "Provenance",
    "PymatgenStructure",
    "RelaxationAnswer",
    "RelaxationRequest",
    "RelaxationSettings",
    "Schema",
    "StructureAnswer",
    "StructureFormat",
    "StructureText",
    "Uncertainty",
]
