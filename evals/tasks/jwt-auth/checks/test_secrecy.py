"""What must never come out: passwords, hashes, tokens."""

import base64
import contextlib
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
from accounts import Ended, Errors, Session, changed, me, page

Sql = Callable[..., list[tuple[Any, ...]]]
HASH = re.compile(r"\$argon2(id|i|d)?\$|\$2[abxy]\$\d\d\$|\$?pbkdf2[_-]|\$?scrypt[$:]|\$[56]\$", re.IGNORECASE)
HASH_FIELD = re.compile(r"(hash(ed)?_?pass|pass(word|wd)?_?(hash|digest|salt)|^pass(word|wd)$|^salt$)", re.IGNORECASE)


def names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield str(name)
            yield from names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from names(inner)


def test_no_answer_holds_a_password_or_its_hash(client: httpx.Client, carol: Session, admin: Session) -> None:
    answers = {
        "POST /auth/register": carol.account.answer,
        "POST /auth/login": carol.answer,
        "GET /users/me": me(client, carol.access),
        "PATCH /users/me": changed(client, carol, full_name="Carol"),
        "GET /users": page(client, admin, limit=100),
    }
    for what, answer in answers.items():
        assert answer.is_success, f"{what}: {answer.status_code} {answer.text}"
        assert not HASH.search(answer.text), f"{what} tells a password hash: {answer.text[:500]}"
        fields = [name for name in names(answer.json()) if HASH_FIELD.search(name)]
        assert not fields, f"{what} has the fields {fields}"
        assert carol.account.password not in answer.text, f"{what} repeats a password"


def test_errors_do_not_repeat_the_password(errors: Errors) -> None:
    for what, answer in errors.answers.items():
        assert answer.status_code >= 400, f"{what}: {answer.status_code}"
        assert errors.secret not in answer.text, f"{what}: the answer repeats what was secret: {answer.text}"


def test_errors_do_not_tell_the_inside(errors: Errors) -> None:
    inside = re.compile(
        r"Traceback \(most recent|sqlalchemy|asyncpg|psycopg|\bINSERT INTO\b|\bSELECT .* FROM\b|File \"/"
    )
    for what, answer in errors.answers.items():
        assert not inside.search(answer.text), f"{what}: {answer.text[:500]}"


def test_log_holds_no_secrets(
    service: Any, carol: Session, chain: list[Session], closed: Ended, errors: Errors
) -> None:
    log = service.log()
    for what, secret in (
        ("a password", carol.account.password),
        ("a password that was refused", errors.secret),
        *(("an access token", session.access) for session in (carol, *chain, closed.newest)),
        *(("a refresh token", session.refresh) for session in (carol, *chain, closed.newest)),
    ):
        assert secret not in log, f"{what} is in the log"
    assert not HASH.search(log), "a password hash is in the log"


# ---------------------------------------------------------------- the database
def rows(sql: Sql) -> Iterator[tuple[str, dict[str, str]]]:
    """Every row of the service's tables: its table's name and its values as text."""
    tables = sql(
        "select table_schema, table_name from information_schema.tables where table_type = 'BASE TABLE'"
        " and table_schema not in ('pg_catalog', 'information_schema', '_grader')"
    )
    for schema, table in tables:
        for (row,) in sql(f'select to_jsonb(t)::text from "{schema}"."{table}" t'):
            values = json.loads(row).items()
            yield table, {name: value if isinstance(value, str) else json.dumps(value) for name, value in values}


def values_of(sql: Sql, session: Session) -> set[str]:
    """What the database holds about a user, in the row with the address and in those that refer to it."""
    found: set[str] = set()
    for _, row in rows(sql):
        named = session.account.email in (value.lower() for value in row.values())
        owners = (value for name, value in row.items() if name.lower().endswith(("user_id", "account_id", "owner_id")))
        if named or str(session.account.id) in owners:
            found.update(row.values())
    return found


def as_hex(piece: str) -> set[str]:
    """A digest in hexadecimal, however it is spelled."""
    found = {piece.lower().removeprefix("\\x")}
    with contextlib.suppress(ValueError):
        found.add(
            base64.b64decode(
                piece + "=" * (-len(piece) % 4), altchars=b"-_" if "-" in piece or "_" in piece else b"+/"
            ).hex()
        )
    return found


def fast_digests(password: str, salts: set[str]) -> Iterator[str]:
    """What a password becomes with a hash that is too quick to be one for passwords."""
    for algorithm in (
        "md5",
        "sha1",
        "sha224",
        "sha256",
        "sha384",
        "sha512",
        "sha3_256",
        "sha3_512",
        "blake2b",
        "blake2s",
    ):
        for salt in salts:
            for text in {salt + password, password + salt, f"{salt}:{password}", f"{password}:{salt}"}:
                yield hashlib.new(algorithm, text.encode()).hexdigest()
            yield hmac.new(salt.encode() or b"\0", password.encode(), algorithm).hexdigest()


def test_passwords_are_stored_as_slow_hashes(sql: Sql, service: Any, alice: Session) -> None:
    values = values_of(sql, alice)
    assert values, "nothing in the database has alice's address"
    password = alice.account.password
    assert not [value for value in values if password in value], "the password is stored as it is"
    pieces = {piece for value in values for piece in re.split(r"[$:.,;|\s]", value) if 0 < len(piece) <= 128}
    salts = pieces | {"", alice.account.email, service.env["SECRET_KEY"]}
    stored = {spelled for piece in pieces for spelled in as_hex(piece)}
    assert not stored.intersection(fast_digests(password, salts)), "the password is stored as a fast hash"
    assert [value for value in values if len(value) >= 32], "none of alice's values could be a password hash"


def test_equal_passwords_are_stored_differently(sql: Sql, alice: Session, bob: Session) -> None:
    assert alice.account.password == bob.account.password
    digest = re.compile(r"(?!20\d\d-)(?!.*://)[\w+/=.$,:-]{24,}")
    mine, yours = ({value for value in values_of(sql, one) if digest.fullmatch(value)} for one in (alice, bob))
    assert mine and yours, "the users are not in the database"
    assert not mine & yours, f"alice and bob have the same password and the same stored value: {mine & yours}"


def test_refresh_tokens_are_not_stored_in_the_clear(sql: Sql, chain: list[Session]) -> None:
    newest = chain[-1].refresh
    parts = re.split(r"[.:|]", newest)
    is_jwt = len(parts) == 3 and newest.startswith("ey")
    secrets = {newest} if is_jwt else {newest, *(part for part in parts if len(part) >= 40)}
    spelled = secrets | {secret.encode().hex() for secret in secrets}
    found = {table for table, row in rows(sql) for value in row.values() if any(secret in value for secret in spelled)}
    assert not found, f"whoever reads the tables {found} has working refresh tokens"
