"""Connections to the store."""

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

# redis-py 8 gives every socket a 5 s timeout; a command here may wait behind a slow disk for longer.
_OPTIONS = {
    "socket_timeout": 30.0,
    "socket_connect_timeout": 5.0,
    "socket_keepalive": True,
    "health_check_interval": 30,
}


def connect(url: str, patience: float = 0.0) -> redis.Redis:
    """A client of the store.

    Args:
        url: `redis://…`, `rediss://…` or `unix://…`.
        patience: Seconds for which a command is tried again while the store does not answer. A worker waits for a
            store that restarts; the web answers 503 at once.
    """
    options = dict(_OPTIONS)
    if url.startswith("unix:"):
        del options["socket_keepalive"]
    tries = int(patience)  # the back-off stays at one second
    return redis.Redis.from_url(
        url,
        retry=Retry(ExponentialBackoff(cap=1.0, base=0.05), tries),
        retry_on_error=[redis.ConnectionError, redis.TimeoutError] if tries else [],
        **options,
    )
