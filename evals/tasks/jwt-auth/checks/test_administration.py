"""GET /users and DELETE /users/{id}."""

import uuid
from collections.abc import Callable

import httpx
import pytest
from accounts import Departed, Growth, Session, emails, everybody, logged_in, me, page, refreshed

Connect = Callable[..., httpx.Client]


def test_list_holds_everybody(client: httpx.Client, admin: Session, alice: Session, bob: Session) -> None:
    answer = client.get("/users", headers=admin.headers)
    assert answer.status_code == 200, answer.text
    assert answer.json().keys() >= {"items", "total"}, answer.json().keys()
    users = everybody(client, admin)
    for user in users:
        assert user.keys() >= {"id", "email", "full_name", "role", "created_at"}, user
    assert len(set(emails(users))) == len(users), "somebody is listed twice"
    assert set(emails(users)) >= {session.account.email for session in (admin, alice, bob)}


def test_total_counts_everybody(client: httpx.Client, admin: Session, growth: Growth) -> None:
    before, after = growth.before.json()["total"], growth.after.json()["total"]
    assert len(growth.after.json()["items"]) == 1, growth.after.text
    assert after == before + 1 == len(growth.everybody), f"{before}, then one more: {after}"
    beyond = page(client, admin, limit=5, offset=after + 100)
    assert (beyond.status_code, beyond.json()["items"]) == (200, []), beyond.text
    assert beyond.json()["total"] >= after, f"beyond the end total is {beyond.json()['total']}"


def test_list_is_oldest_first(admin: Session, alice: Session, bob: Session, growth: Growth) -> None:
    found = emails(growth.everybody)
    assert found[-1] == growth.youngest.email, "the newest user is not the last one"
    pioneers = {session.account.email for session in (admin, alice, bob)}
    assert set(found[: len(pioneers)]) == pioneers, "the first users are not the first ones"


def test_list_has_pages(client: httpx.Client, admin: Session, carol: Session, departed: Departed) -> None:
    whole = emails(page(client, admin, limit=100).json()["items"])
    pages = [emails(page(client, admin, limit=2, offset=offset).json()["items"]) for offset in (0, 2, 1)]
    assert pages == [whole[:2], whole[2:4], whole[1:3]], f"pages of 2: {pages}, of 100: {whole[:4]}"


def test_limit_is_1_to_100(client: httpx.Client, admin: Session) -> None:
    for limit in (0, 101, -1, 10**30):
        answer = page(client, admin, limit=limit)
        assert answer.status_code == 422, f"limit={limit}: {answer.status_code} {answer.text}"
    for limit in (1, 100):
        answer = page(client, admin, limit=limit)
        assert answer.status_code == 200, f"limit={limit}: {answer.status_code} {answer.text}"


@pytest.mark.parametrize("query", ["offset=-1", f"offset={2**63}", f"offset={10**30}", "offset=x", "limit=x", "limit="])
def test_odd_paging_is_no_server_error(client: httpx.Client, admin: Session, query: str) -> None:
    answer = client.get(f"/users?{query}", headers=admin.headers)
    assert answer.status_code < 500, f"{query}: {answer.status_code} {answer.text}"


def test_list_is_for_admins(client: httpx.Client, alice: Session) -> None:
    answer = client.get("/users", headers=alice.headers)
    assert answer.status_code == 403, f"{answer.status_code} {answer.text}"


def test_admin_deletes_a_user(client: httpx.Client, departed: Departed, admin: Session) -> None:
    assert departed.answer.status_code == 204, f"{departed.answer.status_code} {departed.answer.text}"
    assert departed.session.account.email not in emails(everybody(client, admin)), "the deleted user is still listed"


def test_deleting_a_user_ends_the_tokens(client: httpx.Client, departed: Departed) -> None:
    assert departed.answer.status_code == 204, departed.answer.text
    for what, answer in (
        ("access token", me(client, departed.session.access)),
        ("PATCH", client.patch("/users/me", json={"full_name": "Ghost"}, headers=departed.session.headers)),
        ("refresh token", refreshed(client, departed.session.refresh)),
    ):
        assert answer.status_code in (401, 403, 404), f"{what} of a deleted user: {answer.status_code} {answer.text}"


def test_deleted_user_can_not_log_in(client: httpx.Client, departed: Departed) -> None:
    answer = logged_in(client, departed.session.account.email, departed.session.account.password)
    assert answer.status_code in (401, 403), f"{answer.status_code} {answer.text}"


def test_deleting_is_for_admins(client: httpx.Client, alice: Session, admin: Session, growth: Growth) -> None:
    victim = growth.youngest
    answer = client.delete(f"/users/{victim.id}", headers=alice.headers)
    assert answer.status_code == 403, f"{answer.status_code} {answer.text}"
    assert victim.email in emails(everybody(client, admin)), "a user was deleted by another user"


def test_deleting_twice_is_404(client: httpx.Client, departed: Departed, admin: Session) -> None:
    for what, target in (("deleted user", departed.session.account.id), ("unknown id", uuid.uuid4())):
        answer = client.delete(f"/users/{target}", headers=admin.headers)
        allowed = (404, 410) if what == "deleted user" else (400, 404, 410, 422)
        assert answer.status_code in allowed, f"{what}: {answer.status_code} {answer.text}"


@pytest.mark.parametrize("target", ["0", "-1", str(2**31), str(2**63), "abc", "%00", "%ED%A0%80"])
def test_odd_ids_are_not_found(client: httpx.Client, admin: Session, target: str) -> None:
    answer = client.delete(f"/users/{target}", headers=admin.headers)
    assert answer.status_code in (400, 404, 410, 414, 422), f"{target[:40]}: {answer.status_code} {answer.text}"
