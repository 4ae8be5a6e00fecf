"""`python -m benchmarks.chaos [--minutes 10]`: everything is asked for while everything is killed.

Worker, web server, expander and store of a supervised service get SIGKILL at random moments (a Poisson process), in a
random order, each as often as the others.
Clients ask for densities, energies, batches, streams of events and downloads through the SDK. In the end every job
that was acknowledged has the right answer, recorded once: densities have their electrons, energies are those of the
same model without a service. Prints what happened, and draws docs/chaos.png.
"""

import argparse
import itertools
import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import redis

from benchmarks.machine import machine_line
from benchmarks.victims import NAMESPACE, ROLES, Service
from benchmarks.visitors import Diary, Visitors, structure
from models.catalog import load_model
from rhocast.model_info import Property

PORT = 8768
PICTURE = Path(__file__).parent.parent / "docs" / "chaos.png"
_LOOK_SECONDS = 2.0
_WARM_SECONDS = 60.0  # after a kill, which a slope leaves out: imports, compilation, first answers
_BIN_SECONDS = 20.0
_ENERGY_OFF = 1e-5
_CHUNK = 64
_TELLING = ("messages_returned", "messages_restored", "store_unavailable", "request_failed", "task_given_up")


@dataclass
class Watch:
    """What was done to the service, and how it was.

    Attributes:
        started: When the load began.
        kills: Moment and role of each kill.
        memory: Moment of each look, and megabytes by role.
    """

    started: float
    kills: list[tuple[float, str]] = field(default_factory=list)
    memory: list[tuple[float, dict[str, float]]] = field(default_factory=list)


def main() -> None:
    """Runs it and prints what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--pause", type=float, default=30.0, help="mean seconds between kills; inf: none")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with Service(Path(folder), PORT) as service:
            print(f"{machine_line()}, load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d %H:%M')}", flush=True)
            watch, diary = _with_kills(service, asked.minutes * 60, asked.pause, asked.seed)
            lost, twice = _audit(service, diary)
        _report(watch, diary, lost, twice)
    _draw(watch, diary, asked.picture)
    _check_energies(diary)
    if lost or twice or diary.wrong:
        raise SystemExit(f"{lost} lost, {twice} twice, {len(diary.wrong)} wrong: {diary.wrong[:5]}")


def _with_kills(service: Service, seconds: float, pause: float, seed: int) -> tuple[Watch, Diary]:
    """Lets the clients in, kills and looks until the time is over, then lets them wait for what was promised."""
    chance = random.Random(seed)
    watch = Watch(time.time())
    with Visitors(service.url, seed) as visitors:
        next_victims: list[str] = []
        next_kill = time.time() + pause * chance.expovariate(1)
        while (now := time.time()) < watch.started + seconds:
            if now >= next_kill:
                next_victims = next_victims or chance.sample(ROLES, len(ROLES))
                victim = next_victims.pop()
                if service.kill(victim):
                    watch.kills.append((now, victim))
                next_kill = now + pause * chance.expovariate(1)
            if not watch.memory or now >= watch.memory[-1][0] + _LOOK_SECONDS:
                watch.memory.append((now, service.megabytes()))
            time.sleep(max(0.0, min(next_kill - time.time(), 0.2)))
        print(f"{len(watch.kills)} kills; waiting for what was promised", flush=True)
    return watch, visitors.diary


def _audit(service: Service, diary: Diary) -> tuple[int, int]:
    """Jobs that were promised and have not succeeded, and results that were recorded twice, as the store has it."""
    store = redis.Redis.from_url(service.store_url, decode_responses=True)
    batches = {name: int(store.strlen(f"{NAMESPACE}:batch:{name}:states")) for name in diary.batches}  # type: ignore[arg-type]
    jobs = [*diary.promised, *(f"{name}-{index}" for name, n_items in batches.items() for index in range(n_items))]
    n_given_up = sum(count for name, count in diary.given_up.items() if name != "asked again")
    lost = twice = 0
    for job_id in jobs:
        (key,) = json.loads(store.hget(f"{NAMESPACE}:job:{job_id}", "tasks") or '[""]')  # type: ignore[arg-type]
        status, completions = store.hmget(f"{NAMESPACE}:task:{key}", "status", "completions")  # type: ignore[misc]
        lost += status != "succeeded"
        twice += completions != "1" or store.scard(f"{NAMESPACE}:task:{key}:jobs") != 1
    lines = _log_lines(service.log)
    told = Counter(line["task"] for line in lines if line.get("event") == "task_ended")
    twice += sum(count > 1 for count in told.values())
    events = Counter(line["event"] for line in lines if line.get("event") in _TELLING)
    if events["request_failed"] or events["task_given_up"]:
        diary.wrong.append(f"the log has {dict(events)}")
    unasked = int(store.zcard(f"{NAMESPACE}:jobs")) - len(jobs)  # type: ignore[arg-type]
    if unasked > n_given_up * 10:
        diary.wrong.append(f"{unasked} jobs that nobody asked for; {n_given_up} requests were given up")
    memory = int(store.info("memory")["used_memory"]) / 1e6  # type: ignore[index]
    print(f"jobs       {len(jobs):6d} acknowledged, {len(batches)} batches among them; {lost} lost, {twice} twice")
    print(f"log        {dict(events)}")
    print(f"store      {1000 * memory / max(1, len(jobs)):6.1f} kB a job, kept for days")
    store.close()
    return lost, twice


def _log_lines(log: Path) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for line in log.read_text(errors="replace").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:  # cut short by a kill
            continue
    return found


def _report(watch: Watch, diary: Diary, lost: int, twice: int) -> None:
    kills = Counter(role for _, role in watch.kills)
    print("process      kills   MB at most   MB at the end   MB a minute of life")
    for role in (*ROLES, "supervisor", "left behind"):
        megabytes = np.array([found[role] for _, found in watch.memory])
        slope = _slope(watch, role)
        print(f"{role:12} {kills[role]:5d} {megabytes.max():12.0f} {megabytes[-1]:15.0f} {slope:+21.2f}")
    seconds = np.array([found for _, found in diary.ended.values()])
    p50, p90, p99 = np.percentile(seconds, [50, 90, 99])
    print(f"latency    {p50:6.2f} s p50, {p90:.2f} p90, {p99:.2f} p99, {seconds.max():.1f} at most, of {len(seconds)}")
    print(f"done       {dict(diary.n_done)}")
    print(f"refused    {dict(diary.refusals)}: asked again by the SDK")
    print(f"given up   {dict(diary.given_up)}: after all attempts of the SDK")


def _slope(watch: Watch, role: str) -> float:
    """Growth of a role's memory in MB a minute, within the lives of its processes after they have warmed up."""
    births = [watch.started, *(moment for moment, victim in watch.kills if victim == role), np.inf]
    above = below = 0.0
    for birth, death in itertools.pairwise(births):
        life = [(at / 60, found[role]) for at, found in watch.memory if birth + _WARM_SECONDS < at < death]
        if len(life) > 2:
            minutes, megabytes = np.transpose(life)
            off = minutes - minutes.mean()
            above, below = above + off @ megabytes, below + off @ off
    return above / below if below else float("nan")


def _check_energies(diary: Diary) -> None:
    """Compares the energies that were answered with those of the model alone."""
    model = load_model("chgnet", "cpu")
    for first in range(0, len(diary.energies), _CHUNK):
        some = diary.energies[first : first + _CHUNK]
        alone = model.predict([structure(number) for number, _ in some], frozenset({Property.ENERGY}))  # type: ignore[union-attr]
        for (number, energy), expected in zip(some, alone, strict=True):
            if abs(energy - expected.energy) > _ENERGY_OFF * abs(expected.energy):
                diary.wrong.append(f"structure {number} has {energy} eV, not {expected.energy}")
    print(f"right      {len(diary.energies)} energies as without a service, {len(diary.densities)} electron counts")


def _draw(watch: Watch, diary: Diary, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (upper, lower) = plt.subplots(2, sharex=True, figsize=(9, 6), layout="constrained")
    colours: dict[str, str] = dict(zip(ROLES, ("tab:blue", "tab:orange", "tab:green", "tab:red"), strict=True))
    for share, style in ((99, "-"), (50, ":")):
        upper.plot(*_latencies(watch, diary, share), style, color="black", label=f"p{share}")
    upper.set(ylabel="request to answer / s", yscale="log")
    minutes = [(moment - watch.started) / 60 for moment, _ in watch.memory]
    for role in ROLES:
        lower.plot(minutes, [found[role] for _, found in watch.memory], color=colours[role], label=role)
    lower.plot(minutes, [found["left behind"] for _, found in watch.memory], color="grey", label="left behind")
    lower.set(ylabel="resident memory / MB", xlabel="minutes")
    for moment, role in watch.kills:
        for panel in (upper, lower):
            panel.axvline((moment - watch.started) / 60, color=colours[role], linewidth=0.7, alpha=0.6)
    for panel in (upper, lower):
        panel.legend(loc="upper right", ncols=5)
    figure.suptitle(f"{len(watch.kills)} times kill −9 (vertical lines), {len(diary.ended)} single requests")
    figure.savefig(path, dpi=110)


def _latencies(watch: Watch, diary: Diary, share: float) -> tuple[Sequence[float], Sequence[float]]:
    """Minutes, and the percentile of the seconds of answers that came around then."""
    bins: dict[int, list[float]] = {}
    for moment, seconds in diary.ended.values():
        bins.setdefault(int((moment - watch.started) / _BIN_SECONDS), []).append(seconds)
    return (
        [(index + 0.5) * _BIN_SECONDS / 60 for index in sorted(bins)],
        [float(np.percentile(bins[index], share)) for index in sorted(bins)],
    )


if __name__ == "__main__":
    main()
