"""What metrics add to the configuration. `create_app` makes these settings in place of `Settings`."""

from .settings import SecretKey, Settings


class MetricsSettings(Settings):
    # Without it /metrics answers 404.
    metrics_token: SecretKey | None = None
