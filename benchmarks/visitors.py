"""Clients that ask a service for all that it does, through the SDK, and remember what they were promised and told."""

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from rhocast import Client
from rhocast.errors import ConnectionFailed, RhocastError, ServiceUnavailable, TooManyRequests
from rhocast.job import Job
from rhocast.result import Result
from rhocast.retrying import RETRIED_STATUSES
from rhocast.schemas import DENSITY_FORMATS
from rhocast.structure import Structure
from rhocast.transport import Call, HttpTransport, Reply

PAIRS = {("Na", "Cl"): 14, ("Mg", "O"): 16, ("Si", "C"): 8, ("Li", "F"): 8}
"""Two atoms, and the electrons that the promolecule has of them (docs/conventions.md)."""

SHAPE = (16, 16, 16)
BATCH = 10
_PATIENCE_SECONDS = 180.0
_ELECTRONS_OFF = 1e-4  # a CHG file has five digits
_PASSING = (ConnectionFailed, ServiceUnavailable, TooManyRequests)
_FCC = np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])


Answer = TypeVar("Answer")


@dataclass
class Diary:
    """What all clients were promised and told.

    Attributes:
        promised: When each job that was acknowledged was asked for, by its id.
        ended: When the client had the answer of each of them, and the seconds that took, from the request on.
        densities: Number of the structure of each job that has a density.
        batches: Ids of the batches that were acknowledged.
        energies: Energies in eV that were answered, by number of the structure.
        wrong: What was answered and is not so.
        refusals: Answers after which the SDK asked again.
        given_up: What the SDK gave up: `asked again` about what was acknowledged; else nothing had been.
        n_done: How often each kind of client had what it wanted.
    """

    promised: dict[str, float] = field(default_factory=dict)
    ended: dict[str, tuple[float, float]] = field(default_factory=dict)
    densities: dict[str, int] = field(default_factory=dict)
    batches: list[str] = field(default_factory=list)
    energies: list[tuple[int, float]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    given_up: Counter[str] = field(default_factory=Counter)
    n_done: Counter[str] = field(default_factory=Counter)


def structure(number: int) -> Structure:
    """Two atoms in a cell; another cell for each number."""
    pair = list(PAIRS)[number % len(PAIRS)]
    edge = 4.2 + 0.00037 * number
    return Structure.from_symbols(list(pair), [[0, 0, 0], [edge / 2] * 3], edge * _FCC)


def n_electrons(number: int) -> int:
    return list(PAIRS.values())[number % len(PAIRS)]


class CountingTransport(HttpTransport):
    """HTTP that counts what the SDK will ask again for.

    Args:
        url: Address of the service.
        refusals: Where it is counted.
    """

    def __init__(self, url: str, refusals: Counter[str]) -> None:
        super().__init__(url)
        self._refusals = refusals

    @contextmanager
    def stream(self, call: Call) -> Generator[Reply, None, None]:
        try:
            with super().stream(call) as reply:
                if reply.status in RETRIED_STATUSES:
                    self._refusals[str(reply.status)] += 1
                yield reply
        except ConnectionFailed:
            self._refusals["no answer"] += 1
            raise


class Visitors:
    """Some clients, each in a thread, each of which asks for one kind of thing again and again.

    Args:
        url: Address of the service.
        seed: Seed of their pauses and choices.
    """

    def __init__(self, url: str, seed: int) -> None:
        self.diary = Diary()
        self._url = url
        self._seed = seed
        self._numbers = itertools.count()
        self._is_over = threading.Event()
        kinds = (self._density, self._density, self._energy, self._energy, self._events, self._batch, self._download)
        self._threads = [threading.Thread(target=self._visit, args=(*pair,)) for pair in enumerate(kinds)]

    def __enter__(self) -> "Visitors":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Lets everybody wait for what was promised."""
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _visit(self, index: int, act: Callable[[Client, random.Random], None]) -> None:
        chance = random.Random(f"{self._seed}-{index}")
        name = act.__name__.removeprefix("_")
        with Client(transport=CountingTransport(self._url, self.diary.refusals), progress=False) as client:
            while not self._is_over.wait(chance.uniform(0.0, 0.4)):
                try:
                    act(client, chance)
                    self.diary.n_done[name] += 1
                except _PASSING:
                    self.diary.given_up[name] += 1
                except RhocastError as error:
                    self.diary.wrong.append(f"{name}: {type(error).__name__}: {error}")

    def _promised(self, client: Client, number: int, want: list[str], model: str) -> Job:
        asked = time.time()
        job = client.submit(structure(number), want, model, shape=SHAPE if want == ["density"] else None)
        self.diary.promised[job.id] = asked
        return job

    def _awaited(self, client: Client, job: Job, ended: Callable[[Job], object]) -> Result:
        """The answer to a job that was acknowledged; the client asks again where the SDK has given up."""
        result = self._insisted(lambda: _finished(client.job(job.id), ended))
        now = time.time()
        self.diary.ended[job.id] = now, now - self.diary.promised[job.id]
        return result

    def _density(self, client: Client, _: random.Random) -> None:
        number = next(self._numbers)
        job = self._promised(client, number, ["density"], "promolecule")
        result = self._awaited(client, job, Job.wait)
        self._check_electrons(number, self._insisted(lambda: result.density().n_electrons))
        self.diary.densities[job.id] = number

    def _energy(self, client: Client, _: random.Random) -> None:
        self._ask_energy(client, Job.wait)

    def _events(self, client: Client, _: random.Random) -> None:
        self._ask_energy(client, lambda job: list(job.events()))

    def _ask_energy(self, client: Client, ended: Callable[[Job], object]) -> None:
        number = next(self._numbers)
        job = self._promised(client, number, ["energy", "forces"], "chgnet")
        self.diary.energies.append((number, self._awaited(client, job, ended).energy))

    def _batch(self, client: Client, chance: random.Random) -> None:
        numbers = {str(number): number for number in itertools.islice(self._numbers, BATCH)}
        wants_density = chance.random() < 0.5
        want, model = ("density", "promolecule") if wants_density else ("energy", "chgnet")
        shape = SHAPE if wants_density else None
        batch = client.submit_batch({name: structure(k) for name, k in numbers.items()}, want, model, shape=shape)
        self.diary.batches.append(batch.id)
        answers = self._insisted(lambda: list(client.batch(batch.id).wait(_PATIENCE_SECONDS).results()))
        if [name for name, _ in answers] != list(numbers):
            self.diary.wrong.append(f"batch {batch.id} has answers {[name for name, _ in answers]}")
        for name, found in answers:
            if isinstance(found, RhocastError):
                self.diary.wrong.append(f"batch {batch.id}: {found}")
            elif wants_density:
                self._check_electrons(
                    numbers[str(name)], self._insisted(lambda found=found: found.density().n_electrons)
                )
            else:
                self.diary.energies.append((numbers[str(name)], found.energy))

    def _download(self, client: Client, chance: random.Random) -> None:
        if self.diary.densities:
            job_id, number = chance.choice(list(self.diary.densities.items()))
            format = chance.choice(DENSITY_FORMATS)
            found = self._insisted(lambda: client.job(job_id).result().density(format).n_electrons)
            self._check_electrons(number, found)

    def _check_electrons(self, number: int, found: float) -> None:
        if abs(found - n_electrons(number)) > _ELECTRONS_OFF:
            self.diary.wrong.append(f"structure {number} has {found} electrons, not {n_electrons(number)}")

    def _insisted(self, ask: Callable[[], Answer]) -> Answer:
        """An answer about what was acknowledged, however often the SDK gives up on the way."""
        for _ in _attempts():
            try:
                return ask()
            except _PASSING:
                self.diary.given_up["asked again"] += 1
        return ask()


def _attempts() -> Iterator[float]:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        yield left
        time.sleep(1.0)


def _finished(job: Job, ended: Callable[[Job], object]) -> Result:
    ended(job)
    return job.result()
