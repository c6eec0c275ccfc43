"""Answers that hand a stored file out, so that no browser runs what somebody uploaded."""

from typing import Final

import structlog
from fastapi.responses import FileResponse

from .errors import NotFound
from .storage import Storage

log = structlog.get_logger(__name__)

HEADERS: Final = {
    # Without it a browser guesses from the bytes, and finds HTML in a text file.
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    # A stored copy would outlive the deletion of the file and the end of a link.
    "Cache-Control": "private, no-store",
}


async def attachment(storage: Storage, key: str, *, filename: str, content_type: str) -> FileResponse:
    """The file under its name. FileResponse answers Range and encodes the name (RFC 6266). Raises NotFound."""
    found = await storage.stat(key)
    if found is None:
        log.error("the bytes of a stored file are missing", key=key)
        raise NotFound
    # media_type is given: else it is guessed from the file name, and "x.html" becomes a page.
    return FileResponse(
        storage.path(key),
        media_type=content_type,
        filename=filename,
        stat_result=found,
        content_disposition_type="attachment",
        headers=HEADERS,
    )
