"""Every error answer is made here: RFC 9457 problem details that never repeat the input."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

import structlog
from asgi_correlation_id import correlation_id
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError, ResponseValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm.exc import StaleDataError
from starlette.exceptions import HTTPException as StarletteHTTPException

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 50
MAX_TEXT = 200
# unique, foreign key and exclusion constraints
CONFLICTS = ("23505", "23503", "23P01")
# worth a retry: connection lost, serialization failure, deadlock, out of resources, lock not free, cancelled
TRANSIENT = ("08", "40", "53", "55P03", "57")


class AppError(Exception):
    """Raise a subclass anywhere; it becomes a problem response. `detail` is shown to the client."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "bad_request"
    default_detail: ClassVar[str] = "The request can't be processed"

    def __init__(self, detail: str | None = None, *, headers: Mapping[str, str] | None = None) -> None:
        self.detail = detail or self.default_detail
        self.headers = dict(headers or {})
        super().__init__(self.detail)


class Unauthorized(AppError):
    status, code, default_detail = 401, "unauthorized", "Not authenticated"

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(AppError):
    status, code, default_detail = 403, "forbidden", "Not allowed"


class NotFound(AppError):
    status, code, default_detail = 404, "not_found", "Not found"


class Conflict(AppError):
    status, code, default_detail = 409, "conflict", "It conflicts with an existing resource"


class PreconditionFailed(AppError):
    status, code, default_detail = 412, "precondition_failed", "The resource has changed"


class ContentTooLarge(AppError):
    status, code, default_detail = 413, "content_too_large", "The content is too large"


class UnsupportedMedia(AppError):
    status, code, default_detail = 415, "unsupported_media", "This type of content is not accepted"


class Invalid(AppError):
    status, code, default_detail = 422, "invalid", "Value not accepted"


class TooManyRequests(AppError):
    status, code, default_detail = 429, "too_many_requests", "Too many requests"

    def __init__(self, detail: str | None = None, *, retry_after_s: int = 60) -> None:
        super().__init__(detail, headers={"Retry-After": str(max(1, retry_after_s))})


class Unavailable(AppError):
    status, code, default_detail = 503, "unavailable", "Try again later"


class FieldError(BaseModel):
    loc: list[str | int]
    type: str
    msg: str


class Problem(BaseModel):
    """RFC 9457, with a stable `code` for programs and the request id for the logs."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    request_id: str | None = None
    errors: list[FieldError] | None = None


def _documented(description: str) -> dict[str, Any]:
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schema["properties"]["errors"] = {"type": "array", "items": FieldError.model_json_schema()}
    schema.pop("$defs", None)
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For `responses=` of a router or route: `responses=problems(401, 404)`."""
    return {status: _documented(HTTPStatus(status).phrase) for status in statuses}


# In place of FastAPI's own 422, whose schema the handlers below don't follow.
ANY_PROBLEM: dict[int | str, dict[str, Any]] = {"default": _documented("Problem")}


def problem(
    status: int,
    code: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    errors: list[FieldError] | None = None,
) -> JSONResponse:
    """A problem response."""
    body = Problem(
        title=_phrase(status),
        status=status,
        detail=detail,
        code=code,
        request_id=correlation_id.get(),
        errors=errors,
    )
    return JSONResponse(body.model_dump(exclude_none=True), status, headers=headers, media_type=MEDIA_TYPE)


def add_error_handlers(app: FastAPI) -> None:
    """Register the handlers; what none of them takes is answered by CatchAllMiddleware."""
    app.exception_handler(AppError)(_app_error)
    # Starlette's class: it also covers the router's own 404 and 405.
    app.exception_handler(StarletteHTTPException)(_http_error)
    app.exception_handler(RequestValidationError)(_validation_error)
    app.exception_handler(ResponseValidationError)(_response_error)
    app.exception_handler(IntegrityError)(_integrity_error)
    app.exception_handler(StaleDataError)(_stale_data)
    app.exception_handler(PoolTimeoutError)(_pool_exhausted)
    app.exception_handler(DBAPIError)(_database_error)


async def _app_error(_: Request, error: AppError) -> JSONResponse:
    return problem(error.status, error.code, error.detail, error.headers)


async def _http_error(_: Request, error: StarletteHTTPException) -> Response:
    if error.status_code in (204, 304):
        return Response(status_code=error.status_code, headers=error.headers)
    phrase = _phrase(error.status_code)
    code = phrase.lower().replace(" ", "_").replace("-", "_")
    detail = error.detail if isinstance(error.detail, str) else phrase
    return problem(error.status_code, code, _plain(detail), error.headers)


async def _validation_error(_: Request, error: RequestValidationError) -> JSONResponse:
    # Never `input` or `ctx`: they repeat passwords, and NaN, exceptions and lone surrogates don't encode as JSON.
    errors = [
        FieldError(
            loc=[_plain(part) if isinstance(part, str) else part for part in found["loc"]],
            type=found["type"],
            msg=_plain(found["msg"]),
        )
        for found in list(error.errors())[:MAX_ERRORS]
    ]
    return problem(422, "validation_error", "The request is not valid", errors=errors)


async def _response_error(_: Request, error: ResponseValidationError) -> JSONResponse:
    # Its text holds the values of the rows: log where they are.
    places = [".".join(map(str, found["loc"])) + ": " + found["type"] for found in list(error.errors())[:MAX_ERRORS]]
    log.error("the answer does not fit its model", errors=places)
    return problem(500, "internal_error", "Internal server error")


async def _integrity_error(_: Request, error: IntegrityError) -> JSONResponse:
    state, words = sqlstate(error), str(error.orig)
    # SQLite has no sqlstate.
    if state in CONFLICTS or (not state and ("UNIQUE" in words or "FOREIGN KEY" in words)):
        return problem(409, Conflict.code, Conflict.default_detail)
    # The driver's text holds the whole row: log the constraint only.
    log.error("constraint violated", sqlstate=state, constraint=_constraint(error))
    return problem(422, Invalid.code, Invalid.default_detail)


async def _stale_data(_: Request, error: StaleDataError) -> JSONResponse:
    return problem(409, Conflict.code, "Someone else changed the resource")


async def _pool_exhausted(_: Request, error: PoolTimeoutError) -> JSONResponse:
    log.error("no database connection is free")
    return problem(503, Unavailable.code, Unavailable.default_detail, {"Retry-After": "1"})


async def _database_error(_: Request, error: DBAPIError) -> JSONResponse:
    state = sqlstate(error)
    # asyncpg's data errors arrive as a bare DBAPIError, not as DataError.
    if state.startswith("22"):
        return problem(422, Invalid.code, Invalid.default_detail)
    log.error("database error", sqlstate=state, exc_info=error)
    # OperationalError: the server can't be reached; on SQLite, locked.
    if error.connection_invalidated or isinstance(error, OperationalError) or state.startswith(TRANSIENT):
        return problem(503, Unavailable.code, Unavailable.default_detail, {"Retry-After": "1"})
    return problem(500, "internal_error", "Internal server error")


def sqlstate(error: DBAPIError) -> str:
    """PostgreSQL's five-character code, or an empty string on SQLite."""
    return getattr(error.orig, "sqlstate", None) or ""


def _constraint(error: DBAPIError) -> str | None:
    return getattr(getattr(error.orig, "__cause__", None), "constraint_name", None)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _plain(text: str) -> str:
    """Bounded, and encodable whatever the client sent."""
    return text[:MAX_TEXT].encode("utf-8", "replace").decode()
