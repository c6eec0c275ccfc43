"""What uploads add to the configuration. `create_app` makes these settings in place of `Settings`."""

from pathlib import Path

from pydantic import Field

from .settings import SecretKey, Settings


class UploadSettings(Settings):
    # Shared with the service that issues the tokens.
    secret_key: SecretKey
    # On a disk of its own, and outside of everything that a web server serves.
    upload_dir: Path
    max_upload_bytes: int = Field(default=10_485_760, gt=0)
