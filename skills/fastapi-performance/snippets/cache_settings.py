"""What the cache adds to the configuration. `create_app` makes these settings in place of `Settings`."""

from pydantic import Field

from .settings import Settings


class CacheSettings(Settings):
    # It may hold a password.
    redis_url: str = Field(repr=False)
