"""Configuration: environment variables only, checked once at start."""

import json
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


def _split(value: Any) -> Any:
    """Accept `a,b` besides JSON, the only form that pydantic-settings knows for a list."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [part.strip() for part in value.split(",") if part.strip()]


SecretKey = Annotated[SecretStr, Field(min_length=32)]
CommaList = Annotated[list[str], NoDecode, BeforeValidator(_split)]


class Settings(BaseSettings):
    """A field without a default must be set, else the service does not start. Secrets never get a default."""

    # hide_input_in_errors: else a rejected secret is printed in the start-up error, SecretStr or not.
    model_config = SettingsConfigDict(extra="ignore", hide_input_in_errors=True)

    environment: Literal["development", "test", "production"] = "production"
    database_url: str = Field(repr=False)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    # Serves /docs and /openapi.json; DOCS_ENABLED=false where the API is not public.
    docs_enabled: bool = True
    cors_origins: CommaList = []
    allowed_hosts: CommaList = ["*"]
    max_body_bytes: int = Field(default=1_000_000, gt=0)
