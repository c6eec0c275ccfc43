"""File names of clients: kept to be shown and offered, never used as a path."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, StringConstraints

MAX_LENGTH: Final = 255
FALLBACK: Final = "file"
# Control characters, lone surrogates, and the marks that turn the direction of text: "fdp.exe" shown as "exe.pdf".
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SEPARATOR = re.compile(r"[/\\]")


def cleaned(name: str | None) -> str:
    """A usable name from what an upload calls itself; browsers and scripts send whole paths."""
    base = _SEPARATOR.split(name or "")[-1]
    base = _FORBIDDEN.sub("", base).strip(" .") if base.strip(" .") else ""
    return _shortened(base) or FALLBACK


def _shortened(name: str) -> str:
    """Cut in the middle, so that the extension stays."""
    if len(name) <= MAX_LENGTH:
        return name
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension) > 16:
        return name[:MAX_LENGTH]
    return stem[: MAX_LENGTH - len(extension) - 1] + dot + extension


def _check(name: str) -> str:
    if _FORBIDDEN.search(name) or _SEPARATOR.search(name) or not name.strip(" ."):
        raise ValueError("not a file name")
    return name


# For a name that somebody types in: refused rather than repaired.
Filename = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_LENGTH), AfterValidator(_check)
]
