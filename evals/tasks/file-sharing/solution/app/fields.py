"""Field types that keep out what a database or an encoder would choke on, and the two base models."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from annotated_types import GroupedMetadata
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, EmailStr, Field, StringConstraints

# PostgreSQL refuses NUL, UTF-8 the lone surrogates; the other control characters forge lines and headers.
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_FORBIDDEN_IN_LINES = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True)
class _Text(GroupedMetadata):
    low: int
    high: int
    lines: bool

    def __iter__(self) -> Iterator[Any]:
        yield from StringConstraints(strip_whitespace=True, min_length=self.low, max_length=self.high)
        yield AfterValidator(self.check)

    def check(self, value: str) -> str:
        if (_FORBIDDEN_IN_LINES if self.lines else _FORBIDDEN).search(value):
            raise ValueError("control characters are not allowed")
        return value


def text(low: int, high: int, *, lines: bool = False) -> _Text:
    """`Title = Annotated[str, text(1, 200)]`: trimmed, `low` to `high` characters; `lines` allows breaks and tabs."""
    return _Text(low, high, lines)


def _to_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("out of range") from None


# EmailStr lower-cases the domain only; put the unique index on this value.
Email = Annotated[EmailStr, Field(max_length=254), AfterValidator(str.lower)]
Moment = Annotated[AwareDatetime, AfterValidator(_to_utc)]
# What fits an INTEGER column; for money use Decimal with max_digits and decimal_places, never float.
Int32 = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]


class In(BaseModel):
    """A request body: unknown fields are an error, so nobody sets a role or an owner by guessing its name."""

    # hide_input_in_errors: a model made by hand that fails is logged, and the text would hold the value.
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Out(BaseModel):
    """A response: only the fields listed here leave the service."""

    model_config = ConfigDict(from_attributes=True, hide_input_in_errors=True)
