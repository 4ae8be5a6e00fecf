"""The maker: structures in, checked records out, until the set has as many as were asked for or somebody stops it."""

import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from reference.checks import check_record
from reference.errors import BadRecord
from reference.folder import SetFolder
from reference.labelling import ROOT, Labeller, LabellingFailed
from reference.record import Record, assembled_record
from reference.settings import LEAST_GAP
from reference.structure import ReferenceStructure, StructureSet, structure_name
from rhocast import __version__


@dataclass(frozen=True)
class Order:
    """What to make.

    Attributes:
        of: The set.
        seed: Its seed.
        n_structures: Structures up to n − 1 of the sequence.
        n_jobs: Labelling processes at a time.
        is_retry: Whether to try again what failed before.
        first: Structure to begin with.

    Raises:
        ValueError: If it asks for nothing.
    """

    of: StructureSet
    seed: int
    n_structures: int
    n_jobs: int = 1
    is_retry: bool = False
    first: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.first < self.n_structures:
            raise ValueError(f"found structures {self.first} to {self.n_structures} − 1; expected one at least")

    @property
    def indices(self) -> range:
        return range(self.first, self.n_structures)


@dataclass
class Outcome:
    """What came of an order.

    Attributes:
        n_wanted: Structures of the order.
        n_there: Of these, already made.
        made: Names of new records.
        failed: Names and reasons of new failures.
        n_failed_before: Structures left out because they failed before.
        is_stopped: Whether it was told to stop.
    """

    n_wanted: int
    n_there: int = 0
    made: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    n_failed_before: int = 0
    is_stopped: bool = False

    @property
    def n_done(self) -> int:
        return self.n_there + len(self.made) + len(self.failed) + self.n_failed_before


Report = Callable[[str, int], None]
"""Called with a line for people, and the number of structures that are done one way or the other."""


def silent(_line: str, _n_done: int) -> None:
    """No report."""


@dataclass
class Maker:
    """Makes one order in one folder.

    Attributes:
        order: What to make.
        folder: Where.
        labeller: Who runs the DFT.
        report: Told of each structure.
        stop: Set it, and the maker ends after the structures in hand.
    """

    order: Order
    folder: SetFolder
    labeller: Labeller
    report: Report = silent
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> Outcome:
        """The outcome.

        Raises:
            FolderInUse: If another maker works in the folder.
            ForeignSettings: If the folder holds records with other settings.
            DiskFull: If the disk has no room; all records made so far are whole.
            MissingPackage: If the labelling interpreter or its GPAW is not there.
        """
        with self.folder.locked():
            self.folder.load()
            outcome, wanted = self._open_indices()
            for notice in (*self.folder.notices, ""):
                self.report(notice, outcome.n_done)
            with ThreadPoolExecutor(self.order.n_jobs) as pool:
                self._work(pool, self._structures(wanted), outcome)
            outcome.is_stopped = self.stop.is_set()
        return outcome

    def _open_indices(self) -> tuple[Outcome, list[int]]:
        order = self.order
        names = {index: structure_name(order.of.name, order.seed, index) for index in order.indices}
        failed = {} if order.is_retry else self.folder.failures()
        missing = [index for index, name in names.items() if name not in self.folder.listing]
        wanted = [index for index in missing if names[index] not in failed]
        outcome = Outcome(
            n_wanted=len(names),
            n_there=len(names) - len(missing),
            n_failed_before=len(missing) - len(wanted),
        )
        return outcome, wanted

    def _structures(self, indices: list[int]) -> Iterator[ReferenceStructure]:
        """The wanted structures, the first of every batch before the second of any; batches without any are not made.

        A batch may be a trajectory: what an order that was cut short has made is then spread over all of them.
        """
        size = self.order.of.batch_size
        batches: dict[int, list[ReferenceStructure]] = {}
        for index in sorted(indices, key=lambda index: (index % size, index)):
            number = index // size
            if number not in batches:
                batches[number] = self.order.of.batch(self.order.seed, number)
            yield batches[number][index % size]

    def _work(self, pool: ThreadPoolExecutor, todo: Iterator[ReferenceStructure], outcome: Outcome) -> None:
        running: dict[Future[Record], ReferenceStructure] = {}
        known = self.folder.content_hashes
        version = code_version()
        while True:
            while len(running) < self.order.n_jobs and not self.stop.is_set():
                self.folder.need_room()
                structure = next(todo, None)
                if structure is None:
                    break
                hashes = {structure.content_hash}
                if structure.settings_if_metal is not None:
                    hashes.add(structure.as_metal().content_hash)
                if hashes & known:
                    self._fail(structure, LabellingFailed("duplicate", "found its content in the folder"), outcome)
                    continue
                known |= hashes
                running[pool.submit(self._record, structure, version)] = structure
            if not running:
                return
            for done in wait(running, timeout=1, return_when=FIRST_COMPLETED).done:
                self._collect(running.pop(done), done, outcome)

    def _record(self, structure: ReferenceStructure, version: str) -> Record:
        """The checked record; what turns out to be a metal is labelled again with a metal's k-mesh."""
        labels = self.labeller.labels(structure)
        if structure.settings_if_metal is not None and labels.attributes["gap"] < LEAST_GAP:
            structure = structure.as_metal()
            labels = self.labeller.labels(structure)
        record = assembled_record(structure, labels, version)
        check_record(record, self.order.of)
        return record

    def _collect(self, structure: ReferenceStructure, done: Future[Record], outcome: Outcome) -> None:
        try:
            record = done.result()
        except LabellingFailed as failure:
            self._fail(structure, failure, outcome)
        except BadRecord as bad:
            self._fail(structure, LabellingFailed("bad-record", str(bad)), outcome)
        except (KeyError, TypeError, ValueError) as nonsense:
            # Labels of the right form whose content cannot be used: a fault of the labelling, not of this program.
            self._fail(structure, LabellingFailed("bad-record", f"{type(nonsense).__name__}: {nonsense}"), outcome)
        else:
            self.folder.add(record)
            outcome.made.append(record.name)
            self.report(f"{record.name}: {structure.group}, {record.attributes['wall_time']:.0f} s", outcome.n_done)

    def _fail(self, structure: ReferenceStructure, failure: LabellingFailed, outcome: Outcome) -> None:
        self.folder.log_failure(structure.name, failure.code, str(failure), structure.provenance)
        outcome.failed[structure.name] = failure.code
        self.report(f"{structure.name}: {failure.code}: {failure}", outcome.n_done)


@contextmanager
def stop_on_signal(stop: threading.Event) -> Iterator[None]:
    """SIGTERM and Ctrl-C set the event instead of ending the process; a second one ends it."""

    def handle(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def code_version() -> str:
    """rhocast's version with the commit, and a + if files were changed since."""
    git = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return f"{__version__} {git.stdout.strip() or 'unknown'}"


def make(order: Order, out: Path, labeller: Labeller, report: Report = silent, shipped: Path | None = None) -> Outcome:
    """The outcome of an order in the set's folder below `out`; SIGTERM stops it after the structures in hand.

    Args:
        order: What to make.
        out: Folder of all sets.
        labeller: Who runs the DFT.
        report: Told of each structure.
        shipped: Folder of all sets whose records count as made.
    """
    folder = SetFolder(out / order.of.name, order.of, shipped / order.of.name if shipped else None)
    maker = Maker(order, folder, labeller, report)
    with stop_on_signal(maker.stop):
        return maker.run()
