"""For tests: steps that kept the event loop from doing anything else.

with watch_loop() as slow:
    await client.post("/login", ...)
assert not slow
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager


class _Collector(logging.Handler):
    def __init__(self, found: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        # asyncio has no other way to tell it.
        if str(record.msg).startswith("Executing "):
            self._found.append(record.getMessage())


@contextmanager
def watch_loop(limit_s: float = 0.2) -> Iterator[list[str]]:
    """Collects a line for each step that took longer than `limit_s`; it names the code that ran.

    Choose the limit far above what the machine's own load costs. It works with asyncio's loop, not with uvloop.
    """
    loop = asyncio.get_running_loop()
    before = loop.get_debug(), loop.slow_callback_duration
    found: list[str] = []
    collector = _Collector(found)
    logger = logging.getLogger("asyncio")
    loop.set_debug(True)
    loop.slow_callback_duration = limit_s
    logger.addHandler(collector)
    try:
        yield found
    finally:
        logger.removeHandler(collector)
        loop.set_debug(before[0])
        loop.slow_callback_duration = before[1]
