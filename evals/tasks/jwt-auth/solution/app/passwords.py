"""Password hashing with argon2id: off the event loop, and only a few at a time."""

import secrets
from typing import Annotated

from anyio import CapacityLimiter, to_thread
from fastapi import Depends
from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher
from pydantic import AfterValidator, Field, SecretStr
from starlette.requests import HTTPConnection

# OWASP's minimum for argon2id. A hash takes 19 MiB and some 20 ms of a core, and the limiter bounds how many at once.
MEMORY_KIB = 19_456
PASSES = 2
THREADS = 4


def _encodable(value: SecretStr) -> SecretStr:
    # SecretStr lets lone surrogates through; the UnicodeEncodeError is a ValueError and so becomes a 422.
    value.get_secret_value().encode()
    return value


Password = Annotated[SecretStr, Field(min_length=8, max_length=128), AfterValidator(_encodable)]


class Passwords:
    """Hashes and verifies. One for each app, in `app.state.passwords`, so that all requests share the limit."""

    def __init__(self, threads: int = THREADS) -> None:
        self._hasher = PasswordHash((Argon2Hasher(memory_cost=MEMORY_KIB, time_cost=PASSES, parallelism=1),))
        self._limiter = CapacityLimiter(threads)
        self._of_nobody = self._hasher.hash(secrets.token_urlsafe())

    async def hash(self, password: str) -> str:
        return await to_thread.run_sync(self._hasher.hash, password, limiter=self._limiter)

    async def verify(self, password: str, known: str | None) -> tuple[bool, str | None]:
        """Whether it is the password, and a hash to store when the old one has outdated parameters.

        Without a known hash (no such account) the same work is done, so that the time tells nothing.
        """
        return await to_thread.run_sync(self._verify, password, known, limiter=self._limiter)

    def _verify(self, password: str, known: str | None) -> tuple[bool, str | None]:
        try:
            right, renewed = self._hasher.verify_and_update(password, known or self._of_nobody)
        except UnknownHashError:
            return False, None
        return (right, renewed) if known else (False, None)


async def get_passwords(connection: HTTPConnection) -> Passwords:
    passwords: Passwords = connection.app.state.passwords
    return passwords


Hashing = Annotated[Passwords, Depends(get_passwords)]
