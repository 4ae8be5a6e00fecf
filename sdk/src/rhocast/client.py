"""The client of a rhocast service."""

import os
import time
from collections.abc import Sequence
from types import TracebackType

from rhocast.inputs import Choices, prediction_request
from rhocast.job import Job
from rhocast.progress import spinner
from rhocast.result import Result
from rhocast.retrying import RetryPolicy
from rhocast.schemas import Job as JobState
from rhocast.schemas import JobPage, ModelEntry, ModelList, PredictionRequest
from rhocast.session import Session
from rhocast.transport import Call, HttpTransport, Transport
from rhocast.wire import LONGEST_POLL, job_list, job_look, submission

DEFAULT_URL = "http://127.0.0.1:8000"
_LARGEST_PAGE = 200

__all__ = ["DEFAULT_URL", "Client", "Job", "Result", "RetryPolicy"]


class Client:
    """A rhocast service, wherever it runs.

        Client()                                 # RHOCAST_URL, else this machine
        Client("https://…", timeout=60)          # a slow line
        Client(progress=False)                   # no spinner
        Client(retries=RetryPolicy(attempts=1))  # no retries
        with Client() as client: …               # closes its connections at the end

    Args:
        url: Address of the service; RHOCAST_URL if None, else this machine's port 8000.
        timeout: Silence in s after which the service counts as gone; what it is asked to wait comes on top.
        progress: Whether waiting shows a spinner on a terminal; None leaves it to RHOCAST_PROGRESS, where 0 mutes.
        retries: When a request is sent again.
        transport: What carries the calls, in place of HTTP to `url`.

    Raises:
        ConnectionFailed: If the address is no URL.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        timeout: float = 30.0,
        progress: bool | None = None,
        retries: RetryPolicy | None = None,
        transport: Transport | None = None,
    ) -> None:
        address = url or os.environ.get("RHOCAST_URL") or DEFAULT_URL
        self._session = Session(transport or HttpTransport(address, timeout), retries or RetryPolicy(), progress)

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
            like: A CHGCAR, CHG, cube or npz whose grid is copied.
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
        started = time.monotonic()
        with spinner("predicting", self._session.progress):
            job = self._submitted(request, min(timeout, LONGEST_POLL), idempotency_key)
        return job.wait(max(0.0, timeout - (time.monotonic() - started)))

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
            like: A CHGCAR, CHG, cube or npz whose grid is copied.
            vacuum: Empty space on each side of a molecule, in Å.
            priority: interactive, or bulk for what can wait behind others.
            idempotency_key: Key under which a repetition gives the same job; a fresh one if None.

        Raises:
            RhocastError: What is wrong with the request.
        """
        choices = Choices(model, shape, spacing, encut, like, vacuum, priority)
        return self._submitted(prediction_request(structure, want, choices), 0.0, idempotency_key)

    def _submitted(self, request: PredictionRequest, wait: float, idempotency_key: str | None) -> Job:
        return Job(self._session, self._session.ask(submission(request, wait, idempotency_key), JobState))

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
        found: list[JobState] = []
        call: Call | None = job_list(max(1, min(limit, _LARGEST_PAGE)))
        while call is not None and len(found) < limit:
            page = self._session.ask(call, JobPage)
            found += page.jobs
            call = Call("GET", page.next) if page.next else None
        return [Job(self._session, state) for state in found[:limit]]

    def models(self) -> list[ModelEntry]:
        """The models of the service, and how many live workers serve each."""
        return self._session.ask(Call("GET", "/v1/models"), ModelList).models

    def close(self) -> None:
        """Closes the connections, also those of jobs and results that came from this client."""
        self._session.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
