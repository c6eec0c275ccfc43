"""What answers say, read the way that a browser or a person would."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import httpx

PARAMETER = re.compile(r";\s*([\w!#$%&'*+.^`|~-]+)\s*=\s*(\"(?:[^\"\\]|\\.)*\"|[^;]*)")


def expect(answer: httpx.Response, *statuses: int) -> httpx.Response:
    wanted = " or ".join(map(str, statuses))
    assert answer.status_code in statuses, f"{_asked(answer)} instead of {wanted}: {answer.text[:400]}"
    return answer


def survived(answer: httpx.Response) -> httpx.Response:
    """Accepted or refused, but not broken."""
    assert answer.status_code < 500, f"{_asked(answer)}: {answer.text[:400]}"
    return answer


def refused(answer: httpx.Response) -> httpx.Response:
    """Any status of the client's fault will do."""
    assert 400 <= answer.status_code < 500, f"{_asked(answer)} instead of 4xx: {answer.text[:400]}"
    return answer


def _asked(answer: httpx.Response) -> str:
    request = answer.request
    return f"{request.method} {str(request.url)[:200]} -> {answer.status_code}"


def media_type(value: str) -> str:
    return value.partition(";")[0].strip().lower()


def disposition(answer: httpx.Response) -> tuple[str, str | None]:
    """Type and file name of Content-Disposition, by RFC 6266: `filename*` before `filename`."""
    value = answer.headers.get("content-disposition", "")
    found = {name.lower(): content.strip() for name, content in PARAMETER.findall(value)}
    kind = value.partition(";")[0].strip().lower()
    if "filename*" in found:
        charset, _, encoded = found["filename*"].split("'", 2)
        return kind, unquote(encoded, encoding=charset, errors="strict")
    name = found.get("filename")
    if name is not None and name.startswith('"'):
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    return kind, name


def moment(value: Any) -> datetime:
    """A timestamp, ISO 8601 or seconds since 1970; without a zone it is taken as UTC."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC)
    assert isinstance(value, str), f"{value!r} is not a timestamp"
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise AssertionError(f"{value!r} is not an ISO 8601 timestamp") from None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def target(url: Any) -> str:
    """Path and query of a link, whether it came as a path or as an absolute URL."""
    assert isinstance(url, str) and url, f"the link is {url!r}"
    parts = urlsplit(url)
    assert parts.path.startswith("/"), f"the link {url!r} is neither a path nor an absolute URL"
    return parts.path + (f"?{parts.query}" if parts.query else "")


def secret_of(link: str, file: dict[str, Any]) -> str:
    """The part of a link that opens it: its longest path segment or query value that is not the file's id."""
    parts = urlsplit(link)
    candidates = [*parts.path.split("/"), *(value for _, value in parse_qsl(parts.query))]
    return max((part for part in candidates if part != str(file["id"])), key=len)
