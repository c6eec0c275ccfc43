"""ETag and If-Match: a change is made only to the version that the client has read."""

import re
from typing import Annotated

from fastapi import Header, Response

from .errors import PreconditionFailed

_TAG = re.compile(r'(W/)?"([^"]*)"')

IfMatch = Annotated[str | None, Header(description="Change only this version: an ETag, a list of them, or `*`")]


def etag(version: int) -> str:
    """The version of a row as a strong entity tag."""
    return f'"{version}"'


def send_etag(response: Response, version: int) -> None:
    response.headers["ETag"] = etag(version)


def check_if_match(header: str | None, version: int) -> None:
    """Raise PreconditionFailed unless the header is absent, `*`, or names the version. Malformed tags name nothing.

    Call it on a row that is locked (`with_for_update()`), and give the model a `version_id_col`: without both, two
    requests may read the same version, pass, and overwrite each other.
    """
    if header is None or header.strip() == "*":
        return
    # If-Match compares strongly: a weak tag (W/) promises no identical version.
    if ("", str(version)) not in _TAG.findall(header):
        raise PreconditionFailed
