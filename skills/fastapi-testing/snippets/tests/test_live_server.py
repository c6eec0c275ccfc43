"""What only a real socket shows."""

from pathlib import Path

import httpx2
import pytest
from live_server import TARGET, environment, serve
from pydantic_settings import BaseSettings

pytestmark = pytest.mark.anyio


async def test_starts_on_an_empty_database_and_answers(live: httpx2.AsyncClient) -> None:
    assert (await live.get("/readyz")).json() == {"status": "ok"}
    assert (await live.get("/openapi.json")).status_code == 200


async def test_does_not_start_without_its_database(settings: BaseSettings, tmp_path: Path) -> None:
    variables = {name: value for name, value in environment(settings).items() if name != "DATABASE_URL"}
    with pytest.raises(RuntimeError, match="database_url"), serve(TARGET, variables, tmp_path / "log"):
        pass
