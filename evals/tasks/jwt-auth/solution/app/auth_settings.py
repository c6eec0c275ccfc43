"""What the accounts add to the configuration. `create_app` makes these settings in place of `Settings`."""

from pydantic import Field

from .settings import SecretKey, Settings


class AuthSettings(Settings):
    """SECRET_KEY has no default: a service with a known key lets everybody in as anybody."""

    secret_key: SecretKey
    access_token_ttl_s: int = Field(default=900, gt=0)
    refresh_token_ttl_s: int = Field(default=1_209_600, gt=0)
