"""What webhooks add to the configuration. `create_app` makes these settings in place of `Settings`."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from .settings import SecretKey, Settings
from .webhooks import read_secret


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _readable(value: SecretStr) -> SecretStr:
    read_secret(value.get_secret_value())
    return value


WebhookSecret = Annotated[SecretStr, AfterValidator(_readable)]


class WebhookSettings(Settings):
    # The secrets of all endpoints that this service calls are made from it.
    webhook_key: SecretKey
    # Of the service that calls this one: `whsec_...`, two of them with a comma while it changes.
    webhook_secrets: Annotated[list[WebhookSecret], NoDecode, BeforeValidator(_split), Field(min_length=1)]
