"""How the processes of the service log: one JSON object a line, tracebacks without the values of variables.

Whatever is bound with `structlog.contextvars` (the web binds `request_id`) is in every line. On a terminal the lines
are plain text for the eye.
"""

import logging
import re
import sys
from typing import Any

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

# An API key, or the name and password in the address of a store, that got into a line all the same.
_SECRET = re.compile(r"(?P<key>rho_)[\w-]{20,}|(?P<scheme>://)[^/@\s\"']*@")


def without_secrets(_: WrappedLogger, __: str, line: Any) -> str:
    """A finished line with API keys and passwords blotted out."""
    return _SECRET.sub(lambda found: f"{found['key']}***" if found["key"] else f"{found['scheme']}***@", line)


def configure() -> None:
    """Sets logging up for this process; to be called once, at its start."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
    ]
    rendered = _rendered()
    structlog.configure(
        processors=[*shared, *rendered], wrapper_class=structlog.make_filtering_bound_logger(logging.INFO)
    )
    handler = logging.StreamHandler(sys.stdout)
    own = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=own, foreign_pre_chain=[*shared, _named]))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def _named(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A line of another library says which."""
    event["logger"] = event["_record"].name
    return event


def _rendered() -> list[Processor]:
    """From an event to a line."""
    if sys.stdout.isatty():
        console = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
        return [console, without_secrets]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(), without_secrets]
