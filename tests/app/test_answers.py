"""From the ledger's rows to the wire."""

from datetime import UTC, datetime

import pytest

from app.answers import Answers, comment_line, file_key, provenance
from app.stored_density import stored_density
from jobs.artifacts import ArtifactStore
from jobs.canonical import structure_record
from jobs.directory import info_record
from jobs.records import Failure, JobRecord, JobView, TaskRecord, TaskStatus
from models.density.promolecule import Promolecule
from rhocast.errors import ArtifactNotFound
from rhocast.model_info import ModelInfo, Property
from rhocast.schemas import JobStatus
from rhocast.structure import Structure

SALT = Structure.from_symbols(["Cl", "Na"], [[2.8, 2.8, 2.8], [0, 0, 0]], [[5.6, 0, 0], [0, 5.6, 0], [0, 0, 5.6]])
INFO = Promolecule().info
RESULT = {
    "n_electrons": 14.0,
    "integral": 14.0,
    "shape": [8, 8, 8],
    "scale_factor": 1.01,
    "minimum": 0.0,
    "maximum": 1.0,
    "mantissa_bits": 12,
    "artifact": "no-such-file",
    "code_version": "0.1.0",
}


def view_of(status: TaskStatus | None, result=None, error: Failure | None = None, **changed) -> JobView:
    """A job of one density task in a state; None: the task is gone."""
    record = JobRecord(
        id="j1",
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
        structure=structure_record(SALT),
        order=[1, 0],
        want=[Property.DENSITY],
        tasks={"promolecule": "k1"},
        models={"density": "promolecule"},
        grid_chosen_by="shape as asked",
        infos={"promolecule": info_record(INFO)},
        warnings=["mind the gap"],
    )
    task = None if status is None else TaskRecord(
        key="k1", model="promolecule", status=status, seconds=0.5, result=result, error=error
    )  # fmt: skip
    return JobView(record=record, cancelled_at=None, was_cached=False, tasks={"promolecule": task})


@pytest.fixture
def answers(tmp_path) -> Answers:
    return Answers(ArtifactStore(tmp_path, 0), job_days=2)


def test_a_job_carries_what_is_true_of_its_state(answers):
    succeeded = answers.job(view_of(TaskStatus.SUCCEEDED, RESULT))
    assert succeeded.status == JobStatus.SUCCEEDED
    assert succeeded.compute_seconds == 0.5
    assert succeeded.result.density.spacing == (0.7, 0.7, 0.7)
    assert (succeeded.expires_at - succeeded.created_at).days == 2
    for status in (TaskStatus.QUEUED, TaskStatus.RUNNING):
        job = answers.job(view_of(status))
        assert (job.result, job.error, job.compute_seconds) == (None, None, None)
    failed = answers.job(view_of(TaskStatus.FAILED, error=Failure(code="TooLarge", detail="found much")))
    assert (failed.error.code, failed.error.status, failed.error.detail) == ("TooLarge", 413, "found much")
    unknown = answers.job(view_of(TaskStatus.FAILED, error=Failure(code="FromTheFuture", detail="found more")))
    assert unknown.error.status == 500
    expired = answers.job(view_of(None))
    assert (expired.status, expired.error.code) == (JobStatus.EXPIRED, "ArtifactExpired")


def test_a_task_without_a_result_leaves_its_part_out(answers):
    assert answers.job(view_of(TaskStatus.SUCCEEDED)).result.density is None


def test_lists_of_jobs_leave_results_out(answers):
    assert answers.job(view_of(TaskStatus.SUCCEEDED, RESULT), with_result=False).result is None


def test_a_coarse_grid_is_flagged_after_the_other_warnings(answers):
    first, second = answers.job(view_of(TaskStatus.SUCCEEDED, RESULT)).warnings
    assert first == "mind the gap"
    assert second.startswith("the sum over this grid was off by 1.0e-02")
    assert second.endswith("a spacing of 0.18 Å would do")
    view = view_of(TaskStatus.SUCCEEDED, RESULT)
    view.record.infos["promolecule"]["recommended_spacing"] = None
    assert answers.job(view).warnings[1].endswith("choose a smaller spacing")
    assert answers.job(view_of(TaskStatus.SUCCEEDED, RESULT | {"scale_factor": 1.0001})).warnings == ["mind the gap"]


def test_how_a_density_was_rescaled_is_answered(answers):
    rescaling = {"factor": 0.99, "n_clipped": 0.05}
    density = answers.job(view_of(TaskStatus.SUCCEEDED, RESULT | {"rescaling": rescaling})).result.density
    assert (density.rescaling.factor, density.rescaling.n_clipped) == (0.99, 0.05)
    assert answers.job(view_of(TaskStatus.SUCCEEDED, RESULT)).result.density.rescaling is None


UNCERTAIN = {"value": 0.01, "upper": 0.02, "coverage": 0.9, "per_atom": [0.1, 0.04], "unfamiliar": []}


def test_an_expected_error_comes_in_the_order_sent(answers):
    job = answers.job(view_of(TaskStatus.SUCCEEDED, RESULT | {"scale_factor": 1.0, "uncertainty": UNCERTAIN}))
    found = job.result.density.uncertainty
    assert (found.value, found.upper, found.coverage, found.reason) == (0.01, 0.02, 0.9, None)
    assert found.per_atom == [0.04, 0.1]
    assert found.unfamiliar_atoms == []
    assert job.warnings == ["mind the gap"]


def test_unfamiliar_atoms_are_named_by_the_places_sent(answers):
    unknown = UNCERTAIN | {"value": None, "upper": None, "unfamiliar": [0]}
    view = view_of(TaskStatus.SUCCEEDED, RESULT | {"scale_factor": 1.0, "uncertainty": unknown})
    for job in (answers.job(view), answers.job(view, with_result=False)):
        _, line = job.warnings
        assert line == (
            "the surroundings of 1 of 2 atoms are unlike any that promolecule learned from, so nobody knows the error "
            "there (places 1, counted from 0): look at the structure, compare with model promolecule, or run DFT"
        )
    found = answers.job(view).result.density.uncertainty
    assert found.unfamiliar_atoms == [1]
    assert found.reason == "the surroundings of 1 of 2 atoms are unlike any that the model learned from"


def test_a_warning_names_ten_atoms_at_most(answers):
    view = view_of(TaskStatus.SUCCEEDED, RESULT | {"uncertainty": UNCERTAIN | {"unfamiliar": list(range(12))}})
    moved = view.record.model_copy(update={"order": list(range(12))})
    line = answers.job(view.model_copy(update={"record": moved}), with_result=False).warnings[-1]
    assert "of 12 of 12 atoms" in line
    assert "(places 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more, counted from 0)" in line


def test_isolated_atoms_are_named_by_the_places_sent(answers):
    view = view_of(TaskStatus.SUCCEEDED, RESULT | {"scale_factor": 1.0, "isolated": [1]})
    cutoff = view.record.infos["promolecule"]["cutoff"]
    assert answers.job(view, with_result=False).warnings[-1] == (
        f"1 of 2 atoms have no neighbour within {cutoff:g} Å (places 0, counted from 0): promolecule feels no force on "
        "them and gives them the energy of an atom alone, which it has not learned; do not trust it where they matter"
    )


def test_valence_electrons_are_those_of_this_structure():
    assert provenance(INFO, SALT, "v").valence_electrons == {"Cl": 7, "Na": 7}
    potential = ModelInfo(
        name="p",
        provides=(Property.ENERGY,),
        description="",
        elements=("H",),
        cutoff=5.0,
        weights_sha256="0",
        level_of_theory="none",
        licence="none",
    )
    assert provenance(potential, SALT, "v").valence_electrons is None


def test_the_comment_is_one_line(answers):
    density = answers.job(view_of(TaskStatus.SUCCEEDED, RESULT)).result.density
    line = comment_line(density, "cube")
    assert "\n" not in line
    assert "grid 8x8x8, shape as asked, scaled by 1.01000000" in line
    assert comment_line(density, "coefficients") == line.replace(line[line.index("grid") : line.index("PBE")], "")


def test_links_name_the_formats_that_there_are(answers):
    without = answers.job(view_of(TaskStatus.SUCCEEDED, RESULT)).result.density.artifacts
    kept = answers.job(view_of(TaskStatus.SUCCEEDED, RESULT | {"coefficients": "x"})).result.density.artifacts
    assert list(without) == ["chgcar", "chg", "cube", "npz", "zarr"]
    assert list(kept) == [*without, "coefficients"]


def test_files_share_a_name_only_if_their_bytes_are_the_same():
    view = view_of(TaskStatus.SUCCEEDED, RESULT)
    task = view.tasks["promolecule"]
    names = {
        file_key(view, task, "cube", "a"),
        file_key(view, task, "npz", "a"),
        file_key(view, task, "cube", "b"),
        file_key(view, task.model_copy(update={"key": "k2"}), "cube", "a"),
    }
    moved = view.record.model_copy(update={"structure": structure_record(SALT.reordered([1, 0]))})
    names.add(file_key(view.model_copy(update={"record": moved}), task, "cube", "a"))
    assert len(names) == 5
    assert file_key(view, task, "cube", "a") in names


def test_a_job_without_a_density_has_no_file(tmp_path):
    with pytest.raises(ArtifactNotFound, match=r"'j1' has no density \(it wanted density\); submit one"):
        stored_density(ArtifactStore(tmp_path, 0), view_of(TaskStatus.SUCCEEDED), None)
