"""Pure ASGI middleware: no BaseHTTPMiddleware, which breaks context variables and buffers background work."""

import time

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import problem

log = structlog.get_logger(__name__)

SECURITY_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cross-origin-resource-policy": b"same-origin",
    b"strict-transport-security": b"max-age=63072000; includeSubDomains",
    b"permissions-policy": b"camera=(), geolocation=(), microphone=()",
    b"cache-control": b"no-store",
}
# Path parameters that stay out of the log: whoever reads it must not be able to use them.
SECRET_PARAMETERS = frozenset({"token", "code", "secret"})
# The Swagger page loads its scripts from a CDN.
DOCS_POLICY = (
    b"default-src 'none'; connect-src 'self'; frame-ancestors 'none'; img-src data: https://fastapi.tiangolo.com; "
    b"script-src 'unsafe-inline' https://cdn.jsdelivr.net; style-src 'unsafe-inline' https://cdn.jsdelivr.net"
)


class SecurityHeadersMiddleware:
    """Adds the headers that an answer doesn't set itself, to error answers too."""

    def __init__(self, app: ASGIApp, docs_path: str = "/docs") -> None:
        self.app = app
        self.docs_path = docs_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        wanted = dict(SECURITY_HEADERS)
        if scope["path"] in (self.docs_path, f"{self.docs_path}/oauth2-redirect"):
            wanted[b"content-security-policy"] = DOCS_POLICY

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                added = [(name, value) for name, value in wanted.items() if name not in present]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await self.app(scope, receive, with_headers)


class CatchAllMiddleware:
    """Answers what no handler took, and gives the body limit's plain 413 the common shape.

    It stands inside CORS and the request id and outside the body limit. An `Exception` handler would not do: Starlette
    answers for it outside all user middleware, so without CORS headers, security headers and request id.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = replaced = False

        async def watched(message: Message) -> None:
            nonlocal started, replaced
            if replaced:
                return
            if message["type"] == "http.response.start":
                started = True
                if message["status"] == 413 and _is_plain_text(message):
                    replaced = True
                    too_large = problem(413, "content_too_large", "The content is too large")
                    await too_large(scope, receive, send)
                    return
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except ClientDisconnect:
            log.info("client disconnected")
        except Exception:
            log.exception("unhandled exception")
            if started:
                raise
            await problem(500, "internal_error", "Internal server error")(scope, receive, send)


class RequestLogMiddleware:
    """One line a request, without its query and SECRET_PARAMETERS; uvicorn's access log would show them."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 500
        start = time.perf_counter()

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            took = round((time.perf_counter() - start) * 1000, 1)
            client = scope["client"][0] if scope.get("client") else None
            log.info(
                "request", method=scope["method"], path=_path(scope), status=status, duration_ms=took, client=client
            )


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    for name, value in scope.get("path_params", {}).items():
        if name in SECRET_PARAMETERS:
            path = path.replace(str(value), f"{{{name}}}")
    return path


def _is_plain_text(message: Message) -> bool:
    return any(name == b"content-type" and value.startswith(b"text/plain") for name, value in message["headers"])
