"""Files on disk under generated names. A file is there whole or not at all."""

import hashlib
import os
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import anyio
from anyio import CapacityLimiter, to_thread

from .errors import ContentTooLarge, Invalid
from .sniffing import Sniffer

CHUNK: Final = 256 * 1024
PART: Final = ".part"
# Older than any upload that is still running.
ABANDONED_S: Final = 24 * 3600
THREADS: Final = 8


@dataclass(frozen=True)
class Stored:
    """What was learned while writing. `key` is the name on disk; it owes nothing to the client."""

    key: str
    size: int
    sha256: str
    content_type: str


class Storage:
    """One folder that only this service writes to, on one file system, and that no web server serves."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder.absolute()
        self.max_bytes = max_bytes
        self._threads = CapacityLimiter(THREADS)

    def prepare(self) -> None:
        """Make the folder, and remove what a killed process left in it. For the start of the service."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for part in self.folder.glob(f"*{PART}"):
            if time.time() - part.stat().st_mtime > ABANDONED_S:
                part.unlink(missing_ok=True)

    def path(self, key: str) -> Path:
        """Where the bytes of `key` are. Keys come from the database, so none of them holds a separator."""
        return self.folder / key

    async def save(self, source: BinaryIO) -> Stored:
        """Copy, hash and judge `source` in one pass, in a thread. Raises ContentTooLarge, UnsupportedMedia, Invalid."""
        key = uuid.uuid4().hex
        try:
            # Cancellation waits for the thread, so nothing is written after the clean-up.
            return await to_thread.run_sync(self._write, key, source, limiter=self._threads)
        except BaseException:
            self.discard(key)
            raise

    async def delete(self, key: str) -> None:
        """Remove the bytes. Commit the change of the database first: a refused commit must find them still there."""
        await to_thread.run_sync(self.discard, key, limiter=self._threads)

    def discard(self, key: str) -> None:
        """Remove the bytes at once, without waiting: also for clean-up after a cancellation, where nothing may wait."""
        self.path(key).unlink(missing_ok=True)
        self.path(key + PART).unlink(missing_ok=True)

    async def stat(self, key: str) -> os.stat_result | None:
        """The state of the file, or None where its bytes are missing."""
        try:
            return await anyio.Path(self.path(key)).stat()
        except FileNotFoundError:
            return None

    def _write(self, key: str, source: BinaryIO) -> Stored:
        part = self.path(key + PART)
        digest, sniffer, size = hashlib.sha256(), Sniffer(), 0
        with part.open("xb") as target:
            while chunk := source.read(CHUNK):
                size += len(chunk)
                if size > self.max_bytes:
                    raise ContentTooLarge
                sniffer.feed(chunk)
                digest.update(chunk)
                target.write(chunk)
            if size == 0:
                raise Invalid("The file is empty")
            stored = Stored(key, size, digest.hexdigest(), sniffer.finish())
            target.flush()
            os.fsync(target.fileno())
        # In one folder a rename is atomic: readers see the whole file or none.
        part.rename(self.path(key))
        self._sync_folder()
        return stored

    def _sync_folder(self) -> None:
        """Without it a power cut may take the new name away, although the bytes are on disk."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
