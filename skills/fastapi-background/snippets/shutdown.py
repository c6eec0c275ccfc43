"""Tells answers that never end by themselves that the server is stopping.

uvicorn ends the lifespan only when the last answer has ended, so an open event stream would hold the old process until
`--timeout-graceful-shutdown`, and then break off.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def on_stop_signal(callback: Callable[[], None]) -> Iterator[None]:
    """Use it in the lifespan. `callback` runs in the event loop; then the server's own handler does what it does."""
    if threading.current_thread() is not threading.main_thread():
        # A test client: signals belong to the main thread.
        yield
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(callback)
        server = before[signal.Signals(number)]
        if callable(server):
            server(number, frame)

    # Where nobody handles a signal it must go on ending the process.
    handled = [number for number, handler in before.items() if callable(handler)]
    for number in handled:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, before[number])
