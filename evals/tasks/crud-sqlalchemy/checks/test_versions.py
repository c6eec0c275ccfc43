"""ETag and If-Match."""

from __future__ import annotations

import re
from functools import partial

import httpx
from api import (
    DONE,
    Commits,
    Connect,
    Json,
    Together,
    add_task,
    etag,
    expect,
    patch,
    read,
    refused,
    task_url,
    word,
)

ENTITY_TAG = re.compile(r'(W/)?"[\x21\x23-\x7e\x80-\xff]*"')


def test_patches_the_version_that_was_read(client: httpx.Client, task: Json) -> None:
    for priority in (1, 5):
        expect(patch(client, task_url(task), {"priority": priority}, if_match=etag(client, task)), *DONE)
        assert read(client, task_url(task))["priority"] == priority


def test_refuses_to_patch_another_version(client: httpx.Client, task: Json) -> None:
    old = etag(client, task)
    title = word()
    expect(patch(client, task_url(task), {"title": title}), *DONE)
    new = etag(client, task)
    for tag in (old, f'"{word()}"', f'{old}, "{word()}"'):
        expect(patch(client, task_url(task), {"title": word(), "priority": 1}, if_match=tag), 412)
    kept = read(client, task_url(task))
    assert (kept["title"], kept["priority"], etag(client, task)) == (title, task["priority"], new), kept


def test_one_of_many_patches_of_a_version_wins(
    client: httpx.Client, task: Json, connect: Connect, together: Together, slow_commits: Commits
) -> None:
    tag = etag(client, task)
    titles = [word() for _ in range(5)]
    with slow_commits(0.1):
        answers = together(
            [partial(connect().patch, task_url(task), json={"title": t}, headers={"if-match": tag}) for t in titles]
        )
    statuses = [answer.status_code for answer in answers]
    winners = [title for title, status in zip(titles, statuses, strict=True) if status in DONE]
    assert len(winners) == 1, f"{len(winners)} of 5 changed the same version: {statuses}"
    assert statuses.count(412) == 4, f"{statuses}: {[answer.text[:200] for answer in answers]}"
    assert read(client, task_url(task))["title"] == winners[0]


def test_patches_at_the_same_moment_lose_nothing(
    client: httpx.Client, task: Json, connect: Connect, together: Together, slow_commits: Commits
) -> None:
    """Without If-Match nobody asked for a version: other fields stay, and nothing breaks."""
    changes: list[Json] = [{"title": word()}, {"priority": 1}, {"status": "done"}]
    with slow_commits(0.1):
        answers = together([partial(connect().patch, task_url(task), json=change) for change in changes])
    kept = read(client, task_url(task))
    for change, answer in zip(changes, answers, strict=True):
        expect(answer, *DONE, 409)
        if answer.status_code in DONE:
            assert {key: kept[key] for key in change} == change, f"{change} was lost: {kept}"
    assert any(answer.status_code in DONE for answer in answers)


def test_survives_a_malformed_if_match(client: httpx.Client, task: Json) -> None:
    for header in ("garbage", '"unfinished', "W/", '""', ",,", "-1", '"' + "9" * 5000 + '"', '"\xff"'):
        sent = httpx.Headers({"if-match": header}, encoding="latin-1")
        refused(client.patch(task_url(task), json={"title": word()}, headers=sent))
    assert read(client, task_url(task))["title"] == task["title"]


def test_sends_a_valid_etag(client: httpx.Client, project: Json, task: Json) -> None:
    """The same one as long as the task does not change."""
    sent = etag(client, task)
    assert ENTITY_TAG.fullmatch(sent), f"{sent} is not an entity tag: a text in double quotes"
    other = add_task(client, project)
    expect(patch(client, task_url(other), {"title": word()}), *DONE)
    expect(patch(client, task_url(task), {"priority": 9}), 422)
    assert etag(client, task) == sent


def test_the_etag_changes_with_every_change(client: httpx.Client, task: Json) -> None:
    tags = [etag(client, task)]
    for changes in ({"title": word()}, {"status": "done"}, {"priority": 1}, {"due_date": None}, {"tags": []}):
        answer = expect(patch(client, task_url(task), changes), *DONE)
        tags.append(etag(client, task))
        assert len(set(tags)) == len(tags), f"the ETag {tags[-1]} was there before {changes}"
        assert answer.headers.get("etag", tags[-1]) == tags[-1], "PATCH sends an ETag that is not current"


def test_takes_every_form_of_if_match(client: httpx.Client, task: Json) -> None:
    """Several versions, or any."""
    for priority, form in ((1, '"{other}", {tag}'), (2, '{tag},"{other}"'), (5, "*")):
        header = form.format(other=word(), tag=etag(client, task))
        expect(patch(client, task_url(task), {"priority": priority}, if_match=header), *DONE)
        assert read(client, task_url(task))["priority"] == priority
