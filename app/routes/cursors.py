"""Cursors: where a page of a list goes on."""

import base64
from datetime import datetime

from rhocast.errors import InvalidField


def cursor_of(created_at: datetime) -> str:
    """The cursor of the page that begins after something created at a moment."""
    return base64.urlsafe_b64encode(str(created_at.timestamp()).encode()).decode()


def moment_of(cursor: str) -> float:
    """The moment in seconds since 1970 that a cursor stands for.

    Raises:
        InvalidField: If it is none.
    """
    refusal = InvalidField(f"found the cursor {cursor[:40]!r}; expected one from `next` of a page; start without one")
    try:
        moment = float(base64.urlsafe_b64decode(cursor.encode()).decode())
    except (ValueError, UnicodeDecodeError) as error:
        raise refusal from error
    if not 0 <= moment < 1e12:
        raise refusal
    return moment
