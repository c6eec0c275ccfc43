"""Entry point: `uvicorn app.main:app`."""

from .application import create_app

app = create_app()
