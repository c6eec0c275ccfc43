"""Where the counters of rate limits are kept. `create_app` makes these settings in place of `Settings`."""

from pydantic import Field

from .settings import Settings


class RateLimitSettings(Settings):
    # Memory counts for each worker by itself; several share `async+redis://host:6379/0`.
    rate_limit_storage: str = Field(default="async+memory://", repr=False)
