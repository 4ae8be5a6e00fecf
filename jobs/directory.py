"""Which models live workers have loaded, what each says of itself, and whether an expander of batches lives."""

import json
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import redis
from pydantic import TypeAdapter
from redis.client import Pipeline

from jobs.settings import Settings
from rhocast.errors import ServiceUnavailable, UnknownModel
from rhocast.model_info import ModelInfo, Property
from rhocast.structure import Structure

_INFO = TypeAdapter(ModelInfo)

HEARTBEAT_SECONDS = 2.0
SILENCE_SECONDS = 10


def info_record(info: ModelInfo) -> dict[str, Any]:
    return asdict(info)


def info_for(info: ModelInfo, structure: Structure) -> ModelInfo:
    """The facts without those about elements that the structure does not have; what a job keeps of its model."""
    present = tuple(dict.fromkeys(structure.symbols))
    valence = {symbol: count for symbol, count in info.valence_electrons.items() if symbol in present}
    return replace(info, elements=present, valence_electrons=valence)


def info_from_record(record: dict[str, Any]) -> ModelInfo:
    return _INFO.validate_python(record)


@dataclass(frozen=True)
class Entry:
    """A model that is or was served."""

    info: ModelInfo
    n_workers: int


class Directory:
    """The models of the service, as its workers advertise them.

    A model stays known when its last worker goes: requests for it wait in the queue for the next one.

    Args:
        client: Client of the store.
        settings: Namespace and lifetime.
    """

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self._client = client
        self._heartbeats = f"{settings.namespace}:workers"
        self._served = f"{settings.namespace}:workers:models"
        self._known = f"{settings.namespace}:models"
        self._expanders = f"{settings.namespace}:expanders"
        self._ttl = int(settings.job_days * 86_400)

    def advertise(self, worker: str, infos: list[ModelInfo]) -> None:
        """Says that a worker lives and has these models loaded; to be repeated every HEARTBEAT_SECONDS."""
        pipeline = self._client.pipeline(transaction=False)
        _beat(pipeline, self._heartbeats, worker)
        pipeline.hset(self._served, worker, json.dumps([info.name for info in infos]))
        for info in infos:
            pipeline.hset(self._known, info.name, json.dumps(info_record(info)))
        for key in (self._heartbeats, self._served, self._known):
            pipeline.expire(key, self._ttl)
        pipeline.execute()

    def withdraw(self, worker: str) -> None:
        """Says that a worker takes no more work."""
        pipeline = self._client.pipeline(transaction=False)
        pipeline.zrem(self._heartbeats, worker)
        pipeline.hdel(self._served, worker)
        pipeline.execute()

    def advertise_expander(self, expander: str) -> None:
        """Says that a process that expands batches lives; to be repeated every HEARTBEAT_SECONDS."""
        pipeline = self._client.pipeline(transaction=False)
        _beat(pipeline, self._expanders, expander)
        pipeline.expire(self._expanders, self._ttl)
        pipeline.execute()

    def withdraw_expander(self, expander: str) -> None:
        """Says that a process expands no more batches."""
        self._client.zrem(self._expanders, expander)

    def n_expanders(self) -> int:
        """Number of live processes that expand batches."""
        return int(self._client.zcount(self._expanders, time.time() - SILENCE_SECONDS, "+inf"))  # type: ignore[arg-type]

    def entries(self) -> dict[str, Entry]:
        """All known models by name, with the number of live workers."""
        pipeline = self._client.pipeline(transaction=False)
        pipeline.zrangebyscore(self._heartbeats, time.time() - SILENCE_SECONDS, "+inf")
        pipeline.hgetall(self._served)
        pipeline.hgetall(self._known)
        live, served, known = pipeline.execute()
        names = [name for worker in live for name in json.loads(served.get(worker, "[]"))]
        infos = [info_from_record(json.loads(row)) for row in known.values()]
        return {info.name: Entry(info, names.count(info.name)) for info in sorted(infos, key=lambda info: info.name)}


def _beat(pipeline: Pipeline, heartbeats: str, process: str) -> None:
    """Notes that a process lives, and forgets those that have been silent for long."""
    pipeline.zadd(heartbeats, {process: time.time()})
    pipeline.zremrangebyscore(heartbeats, "-inf", time.time() - 10 * SILENCE_SECONDS)


def chosen_models(
    entries: dict[str, Entry], want: list[Property], names: list[str], structure: Structure
) -> dict[Property, ModelInfo]:
    """The model that answers each wanted property: the first that provides it and covers the structure.

    Named models are asked in the order of their names in the request, so the last may be there to fall back to. Where
    none is named, the most specialised is asked first: the one of fewest elements; those that want to be named are not.

    Args:
        entries: Known models.
        want: Properties asked for.
        names: Models asked for, may be empty.
        structure: What it is asked for. If none covers it, one that provides the property is chosen nevertheless, and
            what checks the request then says why it cannot answer.

    Raises:
        ServiceUnavailable: If no worker has ever started.
        UnknownModel: If a name is not known, or no model provides a property.
    """
    if not entries:
        raise ServiceUnavailable(
            "found that no worker has started yet; expected at least one; try again in a few seconds"
        )
    unknown = [name for name in names if name not in entries]
    if unknown:
        raise UnknownModel(f"found no model {unknown[0]!r}; expected one of {', '.join(entries)}")
    named = [entries[name].info for name in names]
    candidates = named or [entry.info for entry in defaults_first(entries) if not entry.info.by_name_only]
    chosen: dict[Property, ModelInfo] = {}
    # Energy and its derivatives come from one model: those of two do not belong together.
    for group in ([Property.DENSITY], [one for one in Property if one != Property.DENSITY]):
        wanted = [one for one in want if one in group]
        if not wanted:
            continue
        providing = [info for info in candidates if set(wanted) <= set(info.provides)]
        if not providing:
            infos = named or [entry.info for entry in entries.values()]
            offers = "; ".join(f"{info.name}: {', '.join(info.provides)}" for info in infos)
            raise UnknownModel(
                f"found no model for {' and '.join(wanted)}; expected one of what there is "
                f"({offers}); name another model or want less"
            )
        covering = [info for info in providing if covers(info, structure, is_default=not names)]
        # Where nobody was named, the most general of those that do not cover it says why.
        chosen |= dict.fromkeys(wanted, covering[0] if covering else providing[0 if names else -1])
    return chosen


def covers(info: ModelInfo, structure: Structure, is_default: bool) -> bool:
    """Whether a model may be asked about a structure.

    Args:
        info: The model.
        structure: The structure.
        is_default: Whether nobody has named the model: then it must also have been made for such structures.
    """
    domain = "crystal" if structure.is_periodic else "molecule"
    is_known = set(structure.symbols) <= set(info.elements) and structure.n_atoms <= info.max_atoms
    return is_known and (domain in info.domains or not is_default)


def defaults_first(entries: dict[str, Entry]) -> list[Entry]:
    """Models in the order in which they are asked where none is named: live ones, then those of fewest elements."""
    return sorted(entries.values(), key=lambda entry: (entry.n_workers == 0, len(entry.info.elements), entry.info.name))
