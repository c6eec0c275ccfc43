"""Runs the jobs in a process of its own: `python -m app.worker`. SIGTERM lets running jobs end."""

import asyncio
import signal

from .database import make_engine, make_sessionmaker
from .jobs import Handler, Worker
from .logs import setup_logging
from .settings import Settings

# The kinds and what runs them.
HANDLERS: dict[str, Handler] = {}


async def main() -> None:
    settings = Settings.model_validate({})
    setup_logging(settings.log_level)
    stopped = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    engine = make_engine(settings.database_url)
    try:
        async with Worker(make_sessionmaker(engine), HANDLERS):
            await stopped.wait()
    finally:
        await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main())
