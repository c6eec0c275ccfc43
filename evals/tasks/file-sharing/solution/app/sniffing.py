"""What a file is, judged by its bytes against an allow-list. Its name and its declared type are the client's word."""

import codecs
from typing import Final

from .errors import UnsupportedMedia

# All that is accepted. A signature names a format; it does not prove that the rest of the file is sound.
SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"%PDF-", "application/pdf"),
)
PLAIN_TEXT: Final = "text/plain"
# Control characters that no text holds. Archives and programs can be valid UTF-8: a tar of text files is.
_BINARY: Final = bytes((*range(0x09), 0x0B, *range(0x0E, 0x1B), *range(0x1C, 0x20)))


class Sniffer:
    """Feed it every chunk in order, the first with 8 bytes or more: text is known to be text at its last byte only."""

    def __init__(self) -> None:
        self._type: str | None = None
        # Incremental: a character may lie across two chunks.
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def feed(self, chunk: bytes) -> None:
        """Look at the next chunk. Raises UnsupportedMedia as soon as it is clear."""
        if self._type is None:
            self._type = _by_signature(chunk)
        if self._type == PLAIN_TEXT:
            self._check_text(chunk)

    def finish(self) -> str:
        """The media type of the whole file. Raises UnsupportedMedia where the text breaks off inside a character."""
        if self._type is None:
            raise UnsupportedMedia
        if self._type == PLAIN_TEXT:
            self._check_text(b"", final=True)
        return self._type

    def _check_text(self, chunk: bytes, *, final: bool = False) -> None:
        try:
            self._decoder.decode(chunk, final)
        except UnicodeDecodeError:
            raise UnsupportedMedia from None
        if len(chunk.translate(None, _BINARY)) != len(chunk):
            raise UnsupportedMedia


def _by_signature(head: bytes) -> str:
    # Signatures first: a PDF may be valid UTF-8 as well.
    return next((kind for signature, kind in SIGNATURES if head.startswith(signature)), PLAIN_TEXT)
