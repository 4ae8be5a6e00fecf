"""Every setting of the service, read once from the environment.

`docs/operations.md` lists them; a test keeps the list complete.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class Settings(BaseSettings):
    """Frozen settings; a name `x` is read from `RHOCAST_X`."""

    model_config = SettingsConfigDict(env_prefix="RHOCAST_", frozen=True, extra="forbid", populate_by_name=True)

    # where things live
    data: Annotated[Path, Field(description="Folder of artifacts and of the embedded store")] = Path("rhocast-data")
    artifacts: Annotated[
        str, Field(description="Where results are kept: s3://bucket/prefix; empty: a folder under RHOCAST_DATA")
    ] = ""
    artifact_copy_bytes: Annotated[
        int, Field(description="Disk for copies of what lies in a bucket, on each machine", gt=0)
    ] = 20_000_000_000
    redis_url: Annotated[
        str,
        Field(
            description="Redis or Valkey to use; empty: one is started with the service",
            validation_alias=AliasChoices("RHOCAST_REDIS_URL", "REDIS_URL"),
        ),
    ] = ""
    namespace: Annotated[str, Field(description="Prefix of every key in the store")] = "rhocast"

    # what is kept, and for how long
    job_days: Annotated[float, Field(description="Days that a job and its artifacts are kept", gt=0)] = 7.0
    idempotency_hours: Annotated[float, Field(description="Hours that an idempotency key is remembered", gt=0)] = 24.0
    mantissa_bits: Annotated[
        int, Field(description="Mantissa bits kept of a stored density; 23 is lossless", ge=8, le=23)
    ] = 12
    min_free_bytes: Annotated[int, Field(description="Free disk below which new work is refused", ge=0)] = 200_000_000

    # what is accepted
    max_body_bytes: Annotated[int, Field(description="Largest request body", gt=0)] = 5_000_000
    max_batch_bytes: Annotated[int, Field(description="Largest upload of a batch", gt=0)] = 200_000_000
    max_batch_items: Annotated[int, Field(description="Most structures in a batch", gt=0)] = 50_000
    max_unpacked_bytes: Annotated[int, Field(description="Most bytes that an archive in a batch holds", gt=0)] = (
        1_000_000_000
    )
    max_atoms: Annotated[int, Field(description="Largest structure", gt=0)] = 10_000
    max_points: Annotated[int, Field(description="Largest grid", gt=0)] = 200_000_000
    max_queued: Annotated[int, Field(description="Tasks waiting for one model above which new ones get 429", gt=0)] = (
        100_000
    )
    max_wait_seconds: Annotated[float, Field(description="Longest `Prefer: wait`", gt=0)] = 60.0
    default_spacing: Annotated[float, Field(description="Grid spacing in Å where none is asked for", gt=0)] = 0.12

    # who is let in, and how much each may ask for
    auth: Annotated[
        Literal["auto", "keys", "none"],
        Field(description="Who needs an API key: keys: everybody; none: nobody; auto: all but this machine itself"),
    ] = "auto"
    atoms_per_minute: Annotated[
        int, Field(description="Atoms a minute of an API key that has no limit of its own; 0: any number", ge=0)
    ] = 20_000
    atoms_per_day: Annotated[
        int, Field(description="Atoms a day of an API key that has no limit of its own; 0: any number", ge=0)
    ] = 2_000_000

    # the sandbox for structure files
    parser_processes: Annotated[int, Field(description="Processes that parse structure files", gt=0)] = 2
    parser_seconds: Annotated[float, Field(description="Time limit of one parse", gt=0)] = 5.0
    parser_bytes: Annotated[int, Field(description="Address space of a parsing process", gt=0)] = 4_000_000_000

    # delivery
    lease_seconds: Annotated[float, Field(description="Silence after which a worker counts as lost", gt=0)] = 30.0
    max_deliveries: Annotated[int, Field(description="Deliveries after which a task is dead-lettered", gt=0)] = 3
    reconcile_seconds: Annotated[
        float, Field(description="Pause between searches for tasks without a message", gt=0)
    ] = 30.0

    # workers
    models: Annotated[tuple[str, ...], NoDecode, Field(description="Models that a worker serves, comma-separated")] = (
        "orbital-organics-small",
        "orbital-crystals-small",
        "orbital-water-small",
        "orbital-aluminium-small",
        "deep-density-aluminium",
        "deep-density-malonaldehyde",
        "deep-density-water",
        "promolecule",
        "chgnet",
        "fastchgnet",
    )
    device: Annotated[str, Field(description="Device of a worker: cpu, cuda, cuda:1; auto: cuda if there is one")] = (
        "auto"
    )
    worker_threads: Annotated[int, Field(description="Tasks that a worker holds at once", gt=0)] = 64
    poll_milliseconds: Annotated[
        int, Field(description="Longest pause of an idle worker between looks at the queue", gt=0)
    ] = 10
    batch_budget: Annotated[
        float, Field(description="Largest cost of one batch, in the models' unit (ms on one core)", gt=0)
    ] = 2_000.0
    batch_wait_milliseconds: Annotated[
        float, Field(description="Time a busy worker gathers before the next batch", ge=0)
    ] = 2.0
    drain_seconds: Annotated[float, Field(description="Time a worker has to finish after SIGTERM", gt=0)] = 120.0
    worker_metrics_port: Annotated[
        int,
        Field(description="Port of a worker's own /metrics; 0: none; the next worker has the next", ge=0, le=65_535),
    ] = 0
    worker_metrics_host: Annotated[str, Field(description="Address of a worker's own /metrics")] = "127.0.0.1"

    @field_validator("models", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    @property
    def artifacts_folder(self) -> Path:
        return self.data / "artifacts"
