"""Puts the service together: lifespan, routers, error handlers, middleware."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import APIRouter, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware

from . import health, projects, tasks
from .database import make_engine, make_sessionmaker
from .errors import ANY_PROBLEM, add_error_handlers
from .logs import setup_logging
from .middleware import CatchAllMiddleware, RequestLogMiddleware, SecurityHeadersMiddleware
from .migrations import upgrade
from .settings import Settings

ROUTERS: tuple[APIRouter, ...] = (health.router, projects.router, tasks.router)


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the app; without settings they are read from the environment."""
    # model_validate reads the environment as `Settings()` does, and type checkers ask for no arguments.
    settings = settings or Settings.model_validate({})
    setup_logging(settings.log_level)
    app = FastAPI(
        title="Tracker",
        version="1.0.0",
        lifespan=lifespan,
        docs_url="/docs" if settings.docs_enabled else None,
        redoc_url=None,
        openapi_url="/openapi.json" if settings.docs_enabled else None,
        responses=ANY_PROBLEM,
        form_limits={"max_fields": 20, "max_files": 1, "max_part_size": 16_384},
    )
    app.state.settings = settings
    for router in ROUTERS:
        app.include_router(router)
    add_error_handlers(app)
    add_middleware(app, settings)
    return app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Own what lives as long as the process; nothing is connected at import."""
    settings: Settings = app.state.settings
    app.state.engine = make_engine(settings.database_url)
    app.state.sessionmaker = make_sessionmaker(app.state.engine)
    try:
        await upgrade(app.state.engine)
        yield
    finally:
        await app.state.engine.dispose()


def add_middleware(app: FastAPI, settings: Settings) -> None:
    """Add from the inside out: the last one added is the outermost.

    The body limit is user middleware, because the answers of `FastAPI(max_body_size=)` get no headers from the others.
    A route's own `max_body_size=` still overrides it.
    """
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=settings.max_body_bytes)
    app.add_middleware(CatchAllMiddleware)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        # Bearer tokens need no credentials mode; set allow_credentials only for cookies, and never with "*".
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "If-Match", "X-Request-ID"],
        expose_headers=["ETag", "Location", "Retry-After", "X-Request-ID"],
    )
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=settings.allowed_hosts)
    app.add_middleware(SecurityHeadersMiddleware)
    app.add_middleware(RequestLogMiddleware)
    app.add_middleware(CorrelationIdMiddleware, header_name="X-Request-ID")
