"""Access tokens, genuine and forged."""

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import jose
import pytest
from accounts import REPLICA_ACCESS_TTL_S, REPLICA_REFRESH_TTL_S, Session, bearer, me, refreshed

Connect = Callable[..., httpx.Client]

COMMON_KEYS = (
    "",
    "secret",
    "secret-key",
    "changeme",
    "change-me-in-production",
    "your-secret-key",
    "your-secret-key-change-in-production",
    "your-super-secret-key-change-in-production",
    "supersecretkey",
    "dev-secret-key",
    # of FastAPI's tutorial
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
)


def refused(http: httpx.Client, token: str, what: str) -> None:
    answer = me(http, token)
    assert answer.status_code == 401, f"{what}: {answer.status_code} {answer.text}"


def test_access_token_names_the_user(alice: Session) -> None:
    claims = jose.claims_of(alice.access)
    assert claims.get("sub") == str(alice.account.id), f"sub is {claims.get('sub')!r}, the id {alice.account.id!r}"
    assert isinstance(claims["sub"], str)
    assert isinstance(claims.get("exp"), int | float), claims.get("exp")


def test_access_token_is_signed_with_the_secret_key(service: Any, alice: Session) -> None:
    header = jose.header_of(alice.access)
    assert header.get("alg") == "HS256", header
    body, _, given = alice.access.rpartition(".")
    assert given == jose.signature(body, service.env["SECRET_KEY"]), "the signature is not HS256 with SECRET_KEY"


def lifetime(session: Session) -> float:
    return float(jose.claims_of(session.access)["exp"]) - session.asked_at


def test_access_token_lives_900_seconds_by_default(alice: Session, chain: list[Session]) -> None:
    for what, session in (("login", alice), ("refresh", chain[-1])):
        found = lifetime(session)
        assert abs(found - 900) < 15, f"{what}, without ACCESS_TOKEN_TTL_S: the token lives {found:.0f} s"


def test_access_token_ttl_can_be_set(there: Session) -> None:
    found = lifetime(there)
    assert abs(found - REPLICA_ACCESS_TTL_S) < 15, f"ACCESS_TOKEN_TTL_S={REPLICA_ACCESS_TTL_S}: it lives {found:.0f} s"


def test_refresh_token_ttl_can_be_set(connect: Connect, replica: Any, there: Session, chain: list[Session]) -> None:
    assert chain[-1].refresh, "with the default it can be refreshed"
    time.sleep(max(0, there.answered_at + REPLICA_REFRESH_TTL_S + 0.1 - time.time()))
    late = refreshed(connect(base_url=replica.url), there.refresh)
    assert late.status_code == 401, f"REFRESH_TOKEN_TTL_S={REPLICA_REFRESH_TTL_S}, used later: {late.status_code}"


def test_access_tokens_are_good_in_every_process(connect: Connect, replica: Any, alice: Session) -> None:
    answer = me(connect(base_url=replica.url), alice.access)
    assert answer.status_code == 200, f"a second process with the same SECRET_KEY: {answer.status_code} {answer.text}"


def test_missing_token_is_401(client: httpx.Client, alice: Session) -> None:
    for method, path in (
        ("GET", "/users/me"),
        ("PATCH", "/users/me"),
        ("GET", "/users"),
        ("DELETE", f"/users/{alice.account.id}"),
    ):
        body = {"json": {"full_name": "Nobody"}} if method == "PATCH" else {}
        answer = client.request(method, path, **body)
        assert answer.status_code == 401, f"{method} {path} without a token: {answer.status_code} {answer.text}"
    assert me(client, alice.access).status_code == 200, "alice is gone"


def test_invalid_token_is_401(client: httpx.Client, alice: Session) -> None:
    head, payload, tail = alice.access.split(".")
    for token in ("x", "a.b.c", head, f"{head}.{payload}", f"{head}.{payload}.", f"{head}.{payload}.{tail[::-1]}"):
        refused(client, token, f"token {token[:12]}... of {len(token)} characters")
    assert me(client, alice.access).status_code == 200, "the genuine token is refused"


def test_answer_401_says_how_to_authenticate(client: httpx.Client) -> None:
    for what, answer in (("no token", client.get("/users/me")), ("invalid token", me(client, "a.b.c"))):
        assert answer.status_code == 401, f"{what}: {answer.status_code}"
        challenge = answer.headers.get("www-authenticate", "")
        assert challenge.lower().startswith("bearer"), f"{what}: WWW-Authenticate: {challenge or 'nothing'}"


def test_odd_authorization_headers_are_refused(client: httpx.Client) -> None:
    for value in (
        b"Bearer",
        b"Basic YWRtaW46YWRtaW4=",
        b"Bearer \xff\xfe\xfa",
        b"Bearer " + b"a." * 1500 + b"b",
    ):
        answer = client.get("/users/me", headers={b"authorization": value})
        assert answer.status_code in (400, 401, 431), f"{value[:30]!r}: {answer.status_code} {answer.text}"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE"])
def test_rejects_alg_none(client: httpx.Client, admin: Session, algorithm: str) -> None:
    header = jose.header_of(admin.access) | {"alg": algorithm}
    body = ".".join(jose.encoded(json.dumps(part).encode()) for part in (header, jose.claims_of(admin.access)))
    refused(client, f"{body}.", f"alg {algorithm} without a signature")
    refused(client, f"{body}.{admin.access.rpartition('.')[2]}", f"alg {algorithm} with an old signature")


def test_rejects_tokens_signed_with_common_keys(client: httpx.Client, admin: Session) -> None:
    claims = jose.claims_of(admin.access)
    for key in COMMON_KEYS:
        refused(client, jose.with_claims(admin.access, claims, key), f"signed with {key!r}")


def test_rejects_a_changed_payload(client: httpx.Client, alice: Session, admin: Session) -> None:
    head, _, tail = alice.access.split(".")
    stolen = jose.claims_of(alice.access) | {"sub": str(admin.account.id), "role": "admin"}
    refused(client, f"{head}.{jose.encoded(json.dumps(stolen).encode())}.{tail}", "alice's token with the admin's sub")
    refused(client, f"{head}.{admin.access.split('.')[1]}.{tail}", "the admin's payload with alice's signature")


def test_rejects_expired_tokens(client: httpx.Client, service: Any, alice: Session) -> None:
    claims = jose.claims_of(alice.access)
    for age in (3600, 10 * 365 * 86400):
        past = claims | {"exp": int(time.time()) - age}
        refused(client, jose.with_claims(alice.access, past, service.env["SECRET_KEY"]), f"expired {age} s ago")


def test_rejects_tokens_without_exp(client: httpx.Client, service: Any, alice: Session) -> None:
    claims = {name: value for name, value in jose.claims_of(alice.access).items() if name != "exp"}
    refused(client, jose.with_claims(alice.access, claims, service.env["SECRET_KEY"]), "no exp")


@pytest.mark.parametrize("sub", ["abc", "", "1" * 23, "-1", "\u0000", None, ["x"]])
def test_odd_sub_is_401(client: httpx.Client, service: Any, alice: Session, sub: Any) -> None:
    claims = jose.claims_of(alice.access) | {"sub": sub}
    refused(client, jose.with_claims(alice.access, claims, service.env["SECRET_KEY"]), f"sub {sub!r}")


def test_missing_sub_is_401(client: httpx.Client, service: Any, alice: Session) -> None:
    claims = {name: value for name, value in jose.claims_of(alice.access).items() if name != "sub"}
    refused(client, jose.with_claims(alice.access, claims, service.env["SECRET_KEY"]), "no sub")


def test_refresh_token_is_no_access_token(client: httpx.Client, alice: Session, admin: Session) -> None:
    refused(client, alice.refresh, "a refresh token as access token")
    answer = client.get("/users", headers=bearer(admin.refresh))
    assert answer.status_code == 401, f"GET /users with a refresh token: {answer.status_code} {answer.text}"


def test_access_token_is_no_refresh_token(client: httpx.Client, fresh_session: Callable[[], Session]) -> None:
    answer = refreshed(client, fresh_session().access)
    assert answer.status_code in (400, 401, 422), f"{answer.status_code} {answer.text}"
