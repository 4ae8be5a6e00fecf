"""The Lua scripts of this room, as the store runs them."""

from importlib.resources import files

import redis
from redis.commands.core import Script

_PRELUDE = ("enqueue", "remember")  # what several scripts call


def registered(client: redis.Redis, *names: str) -> dict[str, Script]:
    """Scripts by name, each with what it may call.

    Args:
        client: Client of the store that runs them.
        names: Names of files in `jobs/lua`, without their ending.
    """
    folder = files("jobs") / "lua"
    prelude = "".join((folder / f"{name}.lua").read_text() for name in _PRELUDE)
    return {name: client.register_script(prelude + (folder / f"{name}.lua").read_text()) for name in names}
