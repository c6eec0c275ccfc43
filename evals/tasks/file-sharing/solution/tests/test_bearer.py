from collections.abc import Callable
from typing import Any

import httpx2
import jwt
import pytest

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "claims",
    [{"key": "o" * 48}, {"exp": 1}, {"exp": None}, {"sub": None}, {"sub": ""}, {"sub": "a\0b"}, {"sub": "x" * 256}],
    ids=range(7),
)
async def test_refuses(client: httpx2.AsyncClient, token: Callable[..., str], claims: dict[str, Any]) -> None:
    answer = await client.get("/files", headers={"Authorization": f"Bearer {token(**claims)}"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_refuses_unsigned_tokens(client: httpx2.AsyncClient) -> None:
    unsigned = jwt.encode({"sub": "ann", "exp": 2**33}, None, algorithm="none")
    assert (await client.get("/files", headers={"Authorization": f"Bearer {unsigned}"})).status_code == 401


async def test_needs_a_token(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/files")).status_code == 401
    assert (await client.get("/healthz")).json() == {"status": "ok"}
