"""Waits that outlast an API server that is away for a while."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from llm_flywheel.components.common.cluster import Refused
from llm_flywheel.components.common.errors import FlywheelError

logger = logging.getLogger(__name__)

Seen = TypeVar("Seen")


def ride_out(look: Callable[[], Seen], longest_s: float = 60.0, pause_s: float = 2.0) -> Seen:
    """Look, again and again while the API server is away.

    Args:
        look: Only reads, so that it can be repeated.
        longest_s: How long the server may be away, seconds.
        pause_s: Between two looks, seconds.

    Raises:
        FlywheelError: The server refuses, or is away for longer.
    """
    deadline = time.monotonic() + longest_s
    while True:
        try:
            return look()
        except FlywheelError as error:
            if not _passing(error) or time.monotonic() >= deadline:
                raise
            logger.info("%s", error)
        time.sleep(pause_s)


def _passing(error: FlywheelError) -> bool:
    """Whether an API server that answers so, or not at all, may be well again soon."""
    return error.status in (429, 500, 502, 503, 504) if isinstance(error, Refused) else error.reason == "cluster"
