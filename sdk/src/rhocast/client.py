"""The client of a rhocast service."""

import os
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from types import TracebackType

from rhocast.batch import Batch, batch_call, batch_line, named, newest_batches, submission_of_lines
from rhocast.batch_schemas import Batch as BatchState
from rhocast.errors import RhocastError
from rhocast.inputs import Choices, RelaxationChoices, chosen_fields, prediction_request, relaxation_request
from rhocast.job import Job
from rhocast.many import CONCURRENCY, Outcome, outcomes, plan_of
from rhocast.progress import spinner
from rhocast.result import Result
from rhocast.retrying import RetryPolicy
from rhocast.schemas import AnyRequest, ModelEntry
from rhocast.schemas import Job as JobState
from rhocast.session import Session, done
from rhocast.transport import HttpTransport, Transport
from rhocast.wire import job_look

DEFAULT_URL = "http://127.0.0.1:8000"

__all__ = ["DEFAULT_URL", "Batch", "Client", "Job", "Result", "RetryPolicy"]


def addressed(url: str | None, api_key: str | None) -> tuple[str, str]:
    """Address of a service and the key for it, from the environment where they are not given.

    Args:
        url: Address; RHOCAST_URL if None, else this machine's port 8000.
        api_key: API key; RHOCAST_API_KEY if None.
    """
    key = os.environ.get("RHOCAST_API_KEY", "") if api_key is None else api_key
    return url or os.environ.get("RHOCAST_URL") or DEFAULT_URL, key


class Client:
    """A rhocast service, wherever it runs.

        Client()                                 # RHOCAST_URL, else this machine
        Client("https://…", timeout=60)          # a slow line
        Client(progress=False)                   # no spinner
        Client(retries=RetryPolicy(attempts=1))  # no retries
        with Client() as client: …               # closes its connections at the end

    Args:
        url: Address of the service; RHOCAST_URL if None, else this machine's port 8000.
        api_key: API key, if the service asks for one; RHOCAST_API_KEY if None.
        timeout: Silence in s after which the service counts as gone; what it is asked to wait comes on top.
        progress: Whether waiting shows a spinner on a terminal; None leaves it to RHOCAST_PROGRESS, where 0 mutes.
        retries: When a request is sent again.
        transport: What carries the calls, in place of HTTP to `url`.

    Raises:
        ConnectionFailed: If the address is no URL.
        ClientError: If the key is no key.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = 30.0,
        progress: bool | None = None,
        retries: RetryPolicy | None = None,
        transport: Transport | None = None,
    ) -> None:
        address, key = addressed(url, api_key)
        self._session = Session(transport or HttpTransport(address, timeout, key), retries or RetryPolicy(), progress)

    @property
    def url(self) -> str:
        return self._session.url

    def predict(  # noqa: PLR0913  (one keyword for each thing that can be chosen)
        self,
        structure: object,
        want: str | Sequence[str] = ("density",),
        model: str | Sequence[str] | None = None,
        *,
        spacing: float | None = None,
        encut: float | None = None,
        shape: Sequence[int] | None = None,
        like: str | os.PathLike[str] | None = None,
        vacuum: float | None = None,
        priority: str = "interactive",
        idempotency_key: str | None = None,
        timeout: float = 600.0,
    ) -> Result:
        """What is predicted for a structure, once it is there.

        Args:
            structure: A path, the text of a structure file (CIF, POSCAR, xyz), a rhocast or pymatgen Structure, a
                pymatgen Molecule or ASE Atoms.
            want: Of density, energy, forces, stress and magmoms.
            model: Names of models; each property comes from the first that provides it. None: the service chooses.
            spacing: Largest distance of neighbouring grid points, in Å.
            encut: Plane-wave cut-off in eV whose fine FFT grid (VASP, PREC=Accurate) is made.
            shape: Grid points along each cell vector.
            like: A CHGCAR, CHG, cube, npz or zarr.zip whose grid is copied.
            vacuum: Empty space on each side of a molecule, in Å.
            priority: interactive, or bulk for what can wait behind others.
            idempotency_key: Key under which a repetition gives the same job; a fresh one if None.
            timeout: Seconds after which waiting ends; the job goes on.

        Raises:
            WaitTimeout: If there is no result by then.
            RhocastError: What is wrong with the request, or why it failed.
        """
        choices = Choices(model, shape, spacing, encut, like, vacuum, priority)
        request = prediction_request(structure, want, choices)
        return self._answered("predicting", request, idempotency_key, timeout)

    def submit(  # noqa: PLR0913  (one keyword for each thing that can be chosen)
        self,
        structure: object,
        want: str | Sequence[str] = ("density",),
        model: str | Sequence[str] | None = None,
        *,
        spacing: float | None = None,
        encut: float | None = None,
        shape: Sequence[int] | None = None,
        like: str | os.PathLike[str] | None = None,
        vacuum: float | None = None,
        priority: str = "interactive",
        idempotency_key: str | None = None,
    ) -> Job:
        """The job that predicts something for a structure, as soon as it is accepted.

        Args:
            structure: A path, the text of a structure file (CIF, POSCAR, xyz), a rhocast or pymatgen Structure, a
                pymatgen Molecule or ASE Atoms.
            want: Of density, energy, forces, stress and magmoms.
            model: Names of models; each property comes from the first that provides it. None: the service chooses.
            spacing: Largest distance of neighbouring grid points, in Å.
            encut: Plane-wave cut-off in eV whose fine FFT grid (VASP, PREC=Accurate) is made.
            shape: Grid points along each cell vector.
            like: A CHGCAR, CHG, cube, npz or zarr.zip whose grid is copied.
            vacuum: Empty space on each side of a molecule, in Å.
            priority: interactive, or bulk for what can wait behind others.
            idempotency_key: Key under which a repetition gives the same job; a fresh one if None.

        Raises:
            RhocastError: What is wrong with the request.
        """
        choices = Choices(model, shape, spacing, encut, like, vacuum, priority)
        return self._submitted(prediction_request(structure, want, choices), 0.0, idempotency_key)

    def relax(  # noqa: PLR0913  (one keyword for each thing that can be chosen)
        self,
        structure: object,
        model: str | Sequence[str] | None = None,
        *,
        fmax: float | None = None,
        steps: int | None = None,
        relax_cell: bool | None = None,
        vacuum: float | None = None,
        priority: str = "interactive",
        idempotency_key: str | None = None,
        timeout: float = 3600.0,
    ) -> Result:
        """Where a structure relaxes to, once it is there: `relaxed`, and energy, forces and stress of that.

        Args:
            structure: Whatever `predict` takes.
            model: Names of potentials; the first that covers the structure relaxes it. None: the service chooses.
            fmax: Largest force on an atom, and on the cell's coordinates if it relaxes, in eV/Å; 0.05 if None.
            steps: Most steps; what has not converged by then is given as it is, and says so. 500 if None.
            relax_cell: Whether the cell relaxes too; that of a crystal does if None.
            vacuum: Empty space on each side of a molecule, in Å; the box of its POSCAR.
            priority: interactive, or bulk for what can wait behind others.
            idempotency_key: Key under which a repetition gives the same job; a fresh one if None.
            timeout: Seconds after which waiting ends; the job goes on.

        Raises:
            WaitTimeout: If there is no result by then.
            RhocastError: What is wrong with the request, or why it failed.
        """
        choices = RelaxationChoices(model, fmax, steps, relax_cell, vacuum, priority)
        return self._answered("relaxing", relaxation_request(structure, choices), idempotency_key, timeout)

    def submit_relaxation(  # noqa: PLR0913  (one keyword for each thing that can be chosen)
        self,
        structure: object,
        model: str | Sequence[str] | None = None,
        *,
        fmax: float | None = None,
        steps: int | None = None,
        relax_cell: bool | None = None,
        vacuum: float | None = None,
        priority: str = "interactive",
        idempotency_key: str | None = None,
    ) -> Job:
        """The job that relaxes a structure, as soon as it is accepted; arguments as for `relax`.

        Args:
            structure: Whatever `predict` takes.
            model: Names of potentials.
            fmax: Largest force in eV/Å.
            steps: Most steps.
            relax_cell: Whether the cell relaxes too.
            vacuum: Empty space on each side of a molecule, in Å.
            priority: interactive or bulk.
            idempotency_key: Key under which a repetition gives the same job; a fresh one if None.

        Raises:
            RhocastError: What is wrong with the request.
        """
        choices = RelaxationChoices(model, fmax, steps, relax_cell, vacuum, priority)
        return self._submitted(relaxation_request(structure, choices), 0.0, idempotency_key)

    def predict_many(  # noqa: PLR0913  (one keyword for each thing that can be chosen)
        self,
        structures: Iterable[object],
        want: str | Sequence[str] = ("density",),
        model: str | Sequence[str] | None = None,
        *,
        spacing: float | None = None,
        encut: float | None = None,
        shape: Sequence[int] | None = None,
        like: str | os.PathLike[str] | None = None,
        vacuum: float | None = None,
        priority: str = "interactive",
        concurrency: int = CONCURRENCY,
        resume: str | os.PathLike[str] | None = None,
        return_errors: bool = False,
        timeout: float = 600.0,
    ) -> Generator[Result | RhocastError]:
        """What is predicted for each of many structures, in their order, a few at a time.

        Args:
            structures: Each may be whatever `predict` takes; they are taken as they are needed.
            want: Of density, energy, forces, stress and magmoms.
            model: Names of models; each property comes from the first that provides it. None: the service chooses.
            spacing: Largest distance of neighbouring grid points, in Å.
            encut: Plane-wave cut-off in eV whose fine FFT grid (VASP, PREC=Accurate) is made.
            shape: Grid points along each cell vector.
            like: A density file whose grid is copied.
            vacuum: Empty space on each side of a molecule, in Å.
            priority: interactive, or bulk for what can wait behind others.
            concurrency: Requests under way at once.
            resume: File in which the job of each structure is noted, and by which a run that broke off goes on: what
                has a job there is not sent again, unless that job failed.
            return_errors: Whether the error of a structure stands in its place; else it is raised when its turn comes.
                What every structure would meet, such as a service that is gone, is raised in any case.
            timeout: Seconds after which one structure is given up; its job goes on.

        Raises:
            RhocastError: What is wrong with the choices, with a structure, or with the service.
        """
        choices = Choices(model, shape, spacing, encut, like, vacuum, priority)
        plan = plan_of(want, choices, timeout, concurrency, resume)
        return self._results(outcomes(self._session, plan, structures), return_errors)

    def _results(self, found: Generator[Outcome], return_errors: bool) -> Generator[Result | RhocastError]:
        with closing(found):
            for outcome in found:
                if not isinstance(outcome, RhocastError):
                    yield Result(self._session, *outcome)
                elif return_errors:
                    yield outcome
                else:
                    raise outcome

    def _answered(self, what: str, request: AnyRequest, idempotency_key: str | None, timeout: float) -> Result:
        """The result of a request, with a spinner that says what is done."""
        started = time.monotonic()
        with spinner(what, self._session.progress):
            job = self._submitted(request, min(timeout, self._session.longest_poll), idempotency_key)
        return job.wait(max(0.0, timeout - (time.monotonic() - started)))

    def _submitted(self, request: AnyRequest, wait: float, idempotency_key: str | None) -> Job:
        return Job(self._session, done(self._session.conversation.submitted(request, wait, idempotency_key)))

    def job(self, id: str) -> Job:
        """A job by its id.

        Args:
            id: What `Job.id` was when it was submitted.

        Raises:
            JobNotFound: If there is none, or it is no longer kept.
        """
        return Job(self._session, self._session.ask(job_look(id), JobState))

    def jobs(self, limit: int = 20) -> list[Job]:
        """The jobs of the service, newest first.

        Args:
            limit: Most jobs to return.
        """
        return [Job(self._session, state) for state in done(self._session.conversation.jobs(limit))]

    def submit_batch(  # noqa: PLR0913  (one keyword for each thing that can be chosen)
        self,
        structures: Mapping[str, object] | Iterable[object],
        want: str | Sequence[str] = ("density",),
        model: str | Sequence[str] | None = None,
        *,
        spacing: float | None = None,
        encut: float | None = None,
        shape: Sequence[int] | None = None,
        like: str | os.PathLike[str] | None = None,
        vacuum: float | None = None,
        idempotency_key: str | None = None,
    ) -> Batch:
        """The batch that predicts something for many structures, as soon as it is accepted.

        Args:
            structures: Structures by name, or in a row; each may be whatever `predict` takes.
            want: Of density, energy, forces, stress and magmoms.
            model: Names of models; each property comes from the first that provides it. None: the service chooses.
            spacing: Largest distance of neighbouring grid points, in Å.
            encut: Plane-wave cut-off in eV whose fine FFT grid (VASP, PREC=Accurate) is made.
            shape: Grid points along each cell vector.
            like: A density file whose grid is copied.
            vacuum: Empty space on each side of a molecule, in Å.
            idempotency_key: Key under which a repetition gives the same batch; a fresh one if None.

        Raises:
            RhocastError: What is wrong with the batch as a whole, or with a structure that this machine cannot read.
        """
        fields = chosen_fields(want, Choices(model, shape, spacing, encut, like, vacuum))
        lines = [batch_line(name, structure, fields) for name, structure in named(structures)]
        return self.submit_lines(lines, idempotency_key)

    def submit_lines(self, lines: Iterable[bytes], idempotency_key: str | None = None) -> Batch:
        """The batch of some lines of JSONL, as soon as it is accepted.

        Args:
            lines: Each a JSON object with a custom_id and a structure, as `BatchRequestLine` says, and a line break.
            idempotency_key: Key under which a repetition gives the same batch; a fresh one if None.

        Raises:
            RhocastError: What is wrong with the batch as a whole.
        """
        return Batch(self._session, self._session.ask(submission_of_lines(lines, idempotency_key), BatchState))

    def batch(self, id: str) -> Batch:
        """A batch by its id.

        Args:
            id: What `Batch.id` was when it was submitted.

        Raises:
            BatchNotFound: If there is none, or it is no longer kept.
        """
        return Batch(self._session, self._session.ask(batch_call("GET", id), BatchState))

    def batches(self, limit: int = 20) -> list[Batch]:
        """The batches of the service, newest first.

        Args:
            limit: Most batches to return.
        """
        return newest_batches(self._session, limit)

    def models(self) -> list[ModelEntry]:
        """The models of the service, and how many live workers serve each."""
        return done(self._session.conversation.models())

    def close(self) -> None:
        """Closes the connections, also those of jobs and results that came from this client."""
        self._session.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
