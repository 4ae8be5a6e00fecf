"""From a request to a job: parse, choose models and grid, check, key, record, queue."""

import asyncio
import json
import secrets
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import structlog

from app.access import Caller, charge
from app.computation import Computation, computation_of, relaxation_warnings
from app.grids import chosen_grid
from app.services import Services
from app.structures.parsing import parsed
from app.structures.preflight import check_size, check_text, structure_format
from jobs.canonical import CanonicalStructure, canonical, content_key, structure_record
from jobs.cost import estimated_edges
from jobs.directory import Entry, chosen_models, covers, info_for, info_record
from jobs.records import BatchItem, JobRecord, TaskInput, TaskOrder, TaskStatus
from jobs.transport import Transport
from jobs.version import RESULT_SCHEMA
from rhocast.elements import MAGNETIC_ELEMENTS
from rhocast.errors import InvalidRequest, TooLarge, TooManyRequests, UnsupportedByModel
from rhocast.model_info import ModelInfo, Property
from rhocast.schemas import AnyRequest, OptimadeStructure, PlainStructure, PredictionRequest, PymatgenStructure
from rhocast.structure import Structure

log = structlog.get_logger()


async def parse_structure(services: Services, request: AnyRequest) -> Structure:
    """The structure of a request, read in the sandbox."""
    given = request.structure
    settings = services.settings
    if isinstance(given, PymatgenStructure):
        kind, content = "pymatgen", given.model_dump_json(by_alias=True)
        _refuse_many(len(given.sites), settings.max_atoms)
    elif isinstance(given, OptimadeStructure):
        kind, content = "optimade", given.model_dump_json()
    elif isinstance(given, PlainStructure):
        kind, content = "plain", given.model_dump_json()
        _refuse_many(len(given.symbols), settings.max_atoms)
    else:
        check_text(given.text)
        kind, content = given.format or structure_format(given.text), given.text
        await asyncio.to_thread(check_size, content, kind, settings.max_atoms)
    return await services.parser.run(parsed, kind, content, settings.max_atoms, request.vacuum)


async def submit(
    services: Services,
    caller: Caller,
    request: AnyRequest,
    idempotency_key: str,
    body_hash: str,
    item: BatchItem | None = None,
) -> str:
    """Accepts a request and returns the id of its job.

    Args:
        services: What the application has.
        caller: Who asks; what is new is charged to the account of the key.
        request: What is asked.
        idempotency_key: The client's key, empty for none.
        body_hash: Hash of the request's body.
        item: Item of a batch that asks it, if one does.

    Raises:
        RhocastError: Whatever is wrong with the request; nothing is recorded then.
    """
    structure = await parse_structure(services, request)
    return await asyncio.to_thread(_record, services, caller, request, structure, (idempotency_key, body_hash, item))


def _record(
    services: Services,
    caller: Caller,
    request: AnyRequest,
    structure: Structure,
    origin: tuple[str, str, BatchItem | None],
) -> str:
    computation = computation_of(request, structure)
    want, relaxation = computation.want, computation.relaxation
    entries = services.directory.entries()
    models = chosen_models(entries, want, request.model, structure)
    infos = {info.name: info for info in models.values()}
    for info in infos.values():
        check_supported(structure, info, want)
    if isinstance(request, PredictionRequest) and Property.DENSITY in models:
        limit = min(services.settings.max_points, models[Property.DENSITY].max_points)
        grid, how = chosen_grid(structure, request.grid, services.settings.default_spacing, limit)
        computation = replace(computation, grid=grid, grid_chosen_by=how)
    services.artifacts.require_space()
    form = canonical(structure)
    orders = [
        _order(form, info, replace(computation, want=[one for one in want if models[one] is info]), services)
        for info in infos.values()
    ]
    known = _known_tasks(services, orders)
    new = [order for order in orders if order.key not in known]
    for order in new:
        _refuse_overload(services, Transport.queue_name(order.lane, request.priority))
    charge(services, caller, structure.n_atoms * computation.n_predictions if new else 1)
    record = JobRecord(
        id=item.job_id if (item := origin[-1]) is not None else secrets.token_urlsafe(12),
        created_at=datetime.now(UTC),
        structure=structure_record(structure),
        order=form.order.tolist(),
        want=want,
        tasks={order.model: order.key for order in orders},
        models={str(wanted): info.name for wanted, info in models.items()},
        relaxation=relaxation,
        grid_chosen_by=computation.grid_chosen_by,
        priority=request.priority,
        warnings=[
            *passed_over(request.model, entries, models, structure),
            *(line for info in infos.values() for line in warnings_for(structure, info)),
            *(line for info in infos.values() if relaxation is not None for line in relaxation_warnings(info)),
        ],
        infos={name: info_record(info_for(info, structure)) for name, info in infos.items()},
        owner=caller.owner,
        request_id=structlog.contextvars.get_contextvars().get("request_id", ""),
    )
    job_id = services.ledger.submit(record, orders, *origin)
    for order in orders:
        services.metrics.count_task(order.model, known.get(order.key, "miss"))
    log.info("job_accepted", job=job_id, atoms=structure.n_atoms, tasks=[order.key for order in orders])
    return job_id


def _order(form: CanonicalStructure, info: ModelInfo, computation: Computation, services: Services) -> TaskOrder:
    want, relaxation, mantissa_bits = computation.want, computation.relaxation, services.settings.mantissa_bits
    shape = computation.grid if Property.DENSITY in want else None
    what: dict[str, Any] = {
        "schema": RESULT_SCHEMA,
        "model": info.name,
        "weights": info.weights_sha256,
        "want": sorted(want),
        "grid": shape,
        "mantissa_bits": mantissa_bits if shape else None,
    }
    if relaxation is not None:
        what["relaxation"] = relaxation.model_dump()
    points = shape[0] * shape[1] * shape[2] if shape else 0
    return TaskOrder(
        key=content_key(form.structure, what),
        model=info.name,
        cost=info.cost.of(estimated_edges(form.structure, info.cutoff), points),
        input=TaskInput(
            model=info.name,
            weights_sha256=info.weights_sha256,
            structure=structure_record(form.structure),
            want=want,
            grid=shape,
            mantissa_bits=mantissa_bits,
            relaxation=relaxation,
        ),
    )


def check_supported(structure: Structure, info: ModelInfo, want: list[Property]) -> None:
    """Refuses what a model says it cannot answer.

    Raises:
        UnsupportedByModel: If it lacks an element, or stress is wanted of a molecule.
        TooLarge: If the structure has too many atoms for it.
    """
    missing = sorted(set(structure.symbols) - set(info.elements))
    if missing:
        raise UnsupportedByModel(
            f"found {', '.join(missing)}; expected elements that {info.name} covers ({len(info.elements)} of them, "
            "listed by /v1/models); choose another model"
        )
    if structure.n_atoms > info.max_atoms:
        raise TooLarge(
            f"found {structure.n_atoms} atoms; expected at most {info.max_atoms} for {info.name}; send a smaller cell"
        )
    if Property.STRESS in want and not structure.is_periodic:
        raise UnsupportedByModel(
            "found a molecule of which stress is wanted; expected a structure with a cell; "
            "want something else, or send a cell"
        )


def passed_over(
    names: list[str], entries: dict[str, Entry], models: dict[Property, ModelInfo], structure: Structure
) -> list[str]:
    """Which of the models that were asked for gave way to another, and why."""
    lines: list[str] = []
    for wanted, chosen in models.items():
        for name in names[: names.index(chosen.name)] if names else ():
            if wanted in entries[name].info.provides and not covers(entries[name].info, structure, is_default=False):
                missing = sorted(set(structure.symbols) - set(entries[name].info.elements)) or ["so many atoms"]
                lines.append(f"{name} does not cover {', '.join(missing)}: {chosen.name} answered for {wanted}")
    return lines


def warnings_for(structure: Structure, info: ModelInfo) -> list[str]:
    """What a user of this model should know about this structure."""
    lines: list[str] = []
    domain = "crystal" if structure.is_periodic else "molecule"
    if domain not in info.domains:
        lines.append(
            f"{info.name} was made for {' and '.join(info.domains)}s, not for a {domain}: do not trust its numbers here"
        )
    magnetic = sorted(set(structure.symbols) & MAGNETIC_ELEMENTS)
    if magnetic and not info.has_spin:
        lines.append(f"{', '.join(magnetic)} may be magnetic; {info.name} knows no spin")
    if info.is_conservative is False:
        lines.append(
            f"{info.name} reads forces and stresses off, they are no derivatives of its energy: never use them for "
            "dynamics at constant energy or for phonons"
        )
    return lines


def _refuse_many(n_atoms: int, max_atoms: int) -> None:
    if n_atoms > max_atoms:
        raise TooLarge(f"found {n_atoms} atoms; expected at most {max_atoms}; send a smaller cell")


def _refuse_overload(services: Services, queue: str) -> None:
    depth = services.ledger.transport.depth(queue)
    if depth >= services.settings.max_queued:
        raise TooManyRequests(
            f"found {depth} tasks waiting for {queue}; expected fewer than {services.settings.max_queued}; "
            "try again later"
        )


def _known_tasks(services: Services, orders: list[TaskOrder]) -> dict[str, str]:
    """Keys of the tasks that need not be computed: hit if they were, join if they will be.

    Their files count as new from now on; a result whose file is gone is forgotten.
    """
    known: dict[str, str] = {}
    for task in services.ledger.tasks([order.key for order in orders]).values():
        result = task.result or {}
        names = [result[one] for one in ("artifact", "coefficients") if one in result]
        if not all(map(services.artifacts.holds, names)):
            services.ledger.forget(task.key)
            continue
        for name in names:
            services.artifacts.touch(name)
        if task.status != TaskStatus.FAILED:
            known[task.key] = "hit" if task.status == TaskStatus.SUCCEEDED else "join"
    return known


def request_hash(request: AnyRequest) -> str:
    """What two requests share if they ask the same, whatever the multipart boundary was.

    Raises:
        InvalidRequest: If the request is nested so deeply that it cannot be written again.
    """
    try:
        return json.dumps(request.model_dump(mode="json", by_alias=True), sort_keys=True)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(
            "found JSON that is nested too deeply; expected what Structure.as_dict() of pymatgen gives; send that"
        ) from error
