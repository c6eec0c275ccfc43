"""Prometheus metrics of all requests, by route template, and /metrics for who has the token.

`app.add_middleware(MetricsMiddleware)` last, so that it counts what the others answer; `metrics.router` in ROUTERS;
`end_metrics()` in the lifespan's `finally`. Several workers need PROMETHEUS_MULTIPROC_DIR, set to an empty folder
before the processes start.
"""

import hmac
import os
import time
from collections import defaultdict
from re import Pattern
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import Response
from fastapi.routing import iter_route_contexts
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, multiprocess
from prometheus_client.exposition import choose_encoder
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import NotFound, Unauthorized
from .metrics_settings import MetricsSettings

router = APIRouter(include_in_schema=False)

# What a client can choose freely must not become a label: each value is a time series for ever.
UNMATCHED = "unmatched"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# The client went away before there was an answer.
NO_ANSWER = 499

REQUESTS = Counter("http_requests_total", "Requests answered", ["method", "route", "status"])
DURATION = Histogram(
    "http_request_duration_seconds",
    "Time until the end of the answer; event streams are left out",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
IN_PROGRESS = Gauge("http_requests_in_progress", "Requests being answered", multiprocess_mode="livesum")


class MetricsMiddleware:
    """Counts and times each request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.templates = _Templates()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        root: str = scope.get("root_path", "")
        status, endless = NO_ANSWER, False
        start = time.perf_counter()

        async def watched(message: Message) -> None:
            nonlocal status, endless
            if message["type"] == "http.response.start":
                status = message["status"]
                endless = _is_event_stream(message)
            await send(message)

        IN_PROGRESS.inc()
        try:
            await self.app(scope, receive, watched)
        except BaseException:
            status = 500 if status == NO_ANSWER else status
            raise
        finally:
            IN_PROGRESS.dec()
            method = scope["method"] if scope["method"] in METHODS else "other"
            route = self.templates.of(scope, root)
            REQUESTS.labels(method, route, str(status)).inc()
            if not endless:
                DURATION.labels(method, route).observe(time.perf_counter() - start)


class _Templates:
    """`/v1/notes/{note_id}` for a request. The path of `scope["route"]` lacks the prefixes of routers and mounts."""

    def __init__(self) -> None:
        # By identity, as routes have no hash; the app keeps them.
        self._known: dict[int, list[tuple[Pattern[str], str]]] = {}

    def of(self, scope: Scope, root: str) -> str:
        """Called once the app has routed. `root` is the root path at which the request came in."""
        # A mounted app adds where it is mounted.
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        mount: str = scope.get("root_path", "").removeprefix(root)
        route: BaseRoute | None = scope.get("route")
        if route is None:
            return f"{mount}/{{path}}" if mount else UNMATCHED
        found = self._candidates(scope["app"], route)
        # More than one where a router is included twice.
        template = next((template for pattern, template in found if pattern.match(path)), UNMATCHED)
        return mount + template

    def _candidates(self, app: FastAPI, route: BaseRoute) -> list[tuple[Pattern[str], str]]:
        if id(route) not in self._known:
            self._known |= _templates_of(app)
        return self._known.get(id(route), [])


def _templates_of(app: FastAPI) -> dict[int, list[tuple[Pattern[str], str]]]:
    found = defaultdict(list)
    for context in iter_route_contexts(app.routes):
        if context.path is not None:
            found[id(context.original_route)].append((context.path_regex, context.path))
    return found


def _is_event_stream(message: Message) -> bool:
    return any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in message["headers"])


bearer = HTTPBearer(auto_error=False, description="METRICS_TOKEN")


@router.get("/metrics")
async def show_metrics(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> Response:
    """For Prometheus: `authorization: {credentials_file: ...}` in its scrape configuration."""
    settings: MetricsSettings = request.app.state.settings
    if settings.metrics_token is None:
        raise NotFound
    expected = settings.metrics_token.get_secret_value().encode()
    given = credentials.credentials.encode() if credentials else b""
    if not hmac.compare_digest(given, expected):
        raise Unauthorized
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    # With several workers it reads a file for each of them.
    body = await anyio.to_thread.run_sync(encode, _registry())
    return Response(body, headers={"Content-Type": content_type})


def end_metrics() -> None:
    """This process no longer counts as alive: its share of the gauges is dropped."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]


def _registry() -> CollectorRegistry:
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry
