"""Refuses what another site makes a browser send. Needed where a cookie says who is calling, and for login forms.

In `add_middleware`, before CORS is added (so that the refusal gets its headers):
`app.add_middleware(SameOriginMiddleware, origins=settings.cors_origins)`.
"""

from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from .errors import problem

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "QUERY"})


class SameOriginMiddleware:
    """Requests that change something, and all WebSockets, come from listed origins or from no browser.

    `origins`: `https://app.example`; the site's own as well, for browsers without `Sec-Fetch-Site`. They come from the
    settings, as a client chooses the Host header. Forms need no token: no script can set `Origin` or `Sec-Fetch-Site`.
    """

    def __init__(self, app: ASGIApp, origins: Iterable[str]) -> None:
        self.app = app
        self.origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and not self._is_ours(Headers(scope=scope)):
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http" and scope["method"] not in SAFE and not self._is_ours(Headers(scope=scope)):
            await problem(403, "cross_site", "This request came from another site")(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _is_ours(self, headers: Headers) -> bool:
        if headers.get("sec-fetch-site") == "same-origin":
            return True
        if origin := headers.get("origin"):
            return origin in self.origins
        # A browser sends one of the two with each such request. What has neither is a program, or a browser so old that
        # only its cookie could do harm.
        return "sec-fetch-site" not in headers and "cookie" not in headers
