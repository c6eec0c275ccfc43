"""The real API behind the trial's server: it alone holds the key, and adds it to what the sandbox sends."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import httpx

from .messages import Refusal, Request
from .server import Passed

UPSTREAM = "https://api.anthropic.com"
# Hop-by-hop headers, framing, and whatever could be taken for a credential of the sandbox.
DROPPED = frozenset({
    "host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect",
    "accept-encoding", "x-api-key", "authorization", "proxy-authorization", "proxy-connection", "cookie",
})  # fmt: skip
KEPT = frozenset({"content-type", "content-encoding", "retry-after", "request-id", "x-should-retry"})
TIMEOUT = httpx.Timeout(600.0, connect=30.0)
# The API takes a subscription's token with this flag only.
OAUTH = "oauth-2025-04-20"


class CredentialsError(ValueError):
    """Credentials that no request can carry; the text names the variable and never the value."""


@dataclass(frozen=True)
class Credentials:
    """How to speak to the API. Never printed: repr leaves the header out."""

    header: str
    value: str = field(repr=False)
    upstream: str = UPSTREAM
    beta: str | None = None


def credentials(environment: Mapping[str, str] = os.environ) -> Credentials | None:
    """What the user's environment offers, as Claude Code itself reads it; None where there is nothing."""
    upstream = environment.get("ANTHROPIC_BASE_URL") or UPSTREAM
    if key := _value(environment, "ANTHROPIC_API_KEY"):
        return Credentials("x-api-key", key, upstream)
    if token := _value(environment, "ANTHROPIC_AUTH_TOKEN"):
        return Credentials("authorization", f"Bearer {token}", upstream)
    if token := _value(environment, "CLAUDE_CODE_OAUTH_TOKEN"):
        return Credentials("authorization", f"Bearer {token}", upstream, beta=OAUTH)
    return None


def _value(environment: Mapping[str, str], name: str) -> str:
    """Refused here, because the error of a header that can't be sent would show the value."""
    value = environment.get(name, "").strip()
    if not (value.isascii() and value.isprintable()):
        raise CredentialsError(f"{name}: holds characters that no key has; set it anew")
    return value


class LiveModel:
    """Hands requests to the API and its answers back as they come."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._client = httpx.Client(base_url=credentials.upstream, timeout=TIMEOUT)

    def answer(self, request: Request) -> Passed | Refusal:
        headers = {name: value for name, value in request.headers.items() if name not in DROPPED}
        headers |= {self._credentials.header: self._credentials.value, "accept-encoding": "identity"}
        if self._credentials.beta:
            headers["anthropic-beta"] = ",".join(filter(None, (headers.get("anthropic-beta"), self._credentials.beta)))
        sent = self._client.build_request("POST", "/v1/messages?beta=true", headers=headers, content=request.raw)
        try:
            response = self._client.send(sent, stream=True)
        except httpx.HTTPError as error:
            return Refusal(502, "api_error", f"the API can't be reached: {type(error).__name__}")
        kept = {name: value for name, value in response.headers.items() if name.lower() in KEPT}
        return Passed(response.status_code, kept, _chunks(response))

    def problems(self) -> list[str]:
        return []

    def close(self) -> None:
        self._client.close()


def _chunks(response: httpx.Response) -> Iterator[bytes]:
    # An answer that breaks off ends here; the CLI sees that its last event is missing.
    try:
        with suppress(httpx.HTTPError):
            yield from response.iter_raw()
    finally:
        response.close()
