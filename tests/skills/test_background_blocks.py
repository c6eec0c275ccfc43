"""What the blocks of fastapi-background promise, on SQLite and on PostgreSQL, over a real server where it matters."""

import base64
import hmac
import json
import os
import secrets
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-service" / "bin" / "python"
DEMO = Path(__file__).parent / "demo"
PYTEST = ("-W", "error", "-m", "pytest", "-q")


def wait_for(holds: Callable[[], object], limit_s: float = 15) -> None:
    deadline = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def queue(assemble):
    workspace = assemble("jobs", "worker")
    shutil.copy(DEMO / "notes.py", workspace.path / "app")
    shutil.copy(DEMO / "jobs_suite.py", workspace.path / "tests" / "test_jobs.py")
    workspace.route("notes")
    return workspace


def test_jobs_keep_their_promises(queue, fresh_url):
    assert "19 passed" in queue.check(*PYTEST, "tests/test_jobs.py", TEST_DATABASE_URL=fresh_url())


@contextmanager
def working(workspace, **env: str) -> Iterator[subprocess.Popen[str]]:
    """A worker process; it is killed at the end unless it has ended."""
    process = subprocess.Popen(
        [str(PYTHON), "-W", "error", "-m", "app.worker"],
        cwd=workspace.path, env=workspace.environment(**env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def slow_queue(assemble):
    """Its worker gives an attempt a second, and half a second of margin."""
    workspace = assemble("jobs", "worker")
    for name in ("notes.py", "slow_jobs.py"):
        shutil.copy(DEMO / name, workspace.path / "app")
    workspace.route("notes", "slow_jobs")
    workspace.replace("app/jobs.py", "LEASE_MARGIN = timedelta(seconds=15)", "LEASE_MARGIN = timedelta(seconds=0.5)")
    workspace.replace(
        "app/worker.py", "HANDLERS: dict[str, Handler] = {}", 'HANDLERS: dict[str, Handler] = {"slow": slow}'
    )
    workspace.replace("app/worker.py", "from .settings", "from .slow_jobs import slow\nfrom .settings")
    workspace.replace("app/worker.py", "HANDLERS):", "HANDLERS, timeout_s=1, grace_s=0.3, poll_s=0.05):")
    return workspace


def titles(client: httpx.Client) -> list[str]:
    return [note["title"] for note in client.get("/notes").json()["items"]]


def test_a_killed_workers_job_is_run_again(slow_queue, fresh_url, tmp_path):
    marks = tmp_path / "marks"
    marks.touch()
    env = {"DATABASE_URL": fresh_url(), "MARKS": str(marks)}
    with slow_queue.serve(**env) as service, service.client() as client:
        assert client.post("/slow-jobs", params={"fails": True}).status_code == 500
        started = client.post("/slow-jobs")
        assert started.status_code == 202
        with working(slow_queue, TAKES_S="60", **env) as killed:
            wait_for(marks.read_text)
            killed.send_signal(signal.SIGKILL)
            killed.wait()
        assert titles(client) == []
        with working(slow_queue, TAKES_S="0", **env):
            wait_for(lambda: titles(client))
        first, second = (line.split() for line in marks.read_text().splitlines())
    assert (first[1], second[1]) == ("1", "2")
    assert first[0] == second[0]
    assert first[2] == second[2] == started.headers["x-request-id"]


def test_a_worker_that_is_told_to_stop_puts_its_job_back(slow_queue, fresh_url, tmp_path):
    marks = tmp_path / "marks"
    marks.touch()
    env = {"DATABASE_URL": fresh_url(), "MARKS": str(marks)}
    with slow_queue.serve(**env) as service, service.client() as client:
        client.post("/slow-jobs")
        with working(slow_queue, TAKES_S="0.9", **env) as stopped:
            wait_for(marks.read_text)
            stopped.terminate()
            assert stopped.wait(5) == 0
        with working(slow_queue, TAKES_S="0", **env):
            wait_for(lambda: titles(client))
    assert [line.split()[1] for line in marks.read_text().splitlines()] == ["1", "1"]


# ---------------------------------------------------------------------- webhooks

OLD, NEW = ("whsec_" + base64.b64encode(os.urandom(32)).decode() for _ in range(2))


@pytest.fixture(scope="module")
def hooked(assemble):
    workspace = assemble("jobs", "webhooks", "webhook_settings", "webhooks_in", "webhooks_out")
    for name in ("notes.py", "hooks.py"):
        shutil.copy(DEMO / name, workspace.path / "app")
    workspace.route("notes", "hooks")
    workspace.replace("app/jobs.py", "FIRST_WAIT = timedelta(seconds=5)", "FIRST_WAIT = timedelta(seconds=0.02)")
    workspace.replace(
        "app/application.py", "        yield\n", "        async with hooks.working(app):\n            yield\n"
    )
    application = workspace.path / "app" / "application.py"
    text = (
        application.read_text().replace("from .settings import Settings\n", "").replace("Settings", "WebhookSettings")
    )
    text = text.replace("\n\nROUTERS", "\nfrom .webhook_settings import WebhookSettings\n\nROUTERS")
    application.write_text(text)
    workspace.env |= {"WEBHOOK_KEY": "k" * 40, "WEBHOOK_SECRETS": f"{OLD},{NEW}"}
    return workspace


@pytest.fixture(scope="module")
def hooks_service(hooked, fresh_url):
    with hooked.serve(DATABASE_URL=fresh_url()) as service:
        yield service


@pytest.fixture
def caller(hooks_service) -> Iterator[httpx.Client]:
    with hooks_service.client() as client:
        yield client


@dataclass
class Receiver:
    """A server that answers with `statuses`, one after the other, then with 204."""

    statuses: list[int] = field(default_factory=list)
    seen: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    @contextmanager
    def listen(self) -> Iterator[str]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status = receiver.statuses.pop(0) if receiver.statuses else 204
                receiver.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()

            def do_GET(self) -> None:
                receiver.seen.append((self.path, {}, b""))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/hook"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


@pytest.fixture
def receiver() -> Iterator[tuple[Receiver, str]]:
    made = Receiver()
    with made.listen() as url:
        yield made, url


def word() -> str:
    return f"w{secrets.token_hex(6)}"


def register(client: httpx.Client, url: str) -> tuple[str, dict[str, str]]:
    owner = word()
    return owner, client.post("/endpoints", params={"owner": owner, "url": url}).json()


def signature(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = b".".join([message_id.encode(), timestamp.encode(), body])
    return "v1," + base64.b64encode(hmac.new(key, signed, "sha256").digest()).decode()


def test_signatures_are_those_of_standard_webhooks(hooked):
    """The example that its libraries are tested with."""
    hooked.check(
        "-c",
        """
from app.webhooks import read_secret, sign
secret = read_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
headers = sign([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", headers
""",
    )


def test_an_event_is_delivered_signed(caller, receiver):
    receiver, url = receiver
    owner, endpoint = register(caller, url)
    register(caller, url)
    assert caller.post("/orders", params={"owner": owner, "number": 7}).status_code == 200
    wait_for(lambda: receiver.seen)
    ((path, headers, body),) = receiver.seen
    assert path == "/hook"
    event = json.loads(body)
    assert (event["type"], event["data"]) == ("order.created", {"number": 7})
    assert headers["content-type"] == "application/json"
    sent = headers["webhook-id"], headers["webhook-timestamp"]
    assert abs(time.time() - int(sent[1])) < 60
    assert headers["webhook-signature"] == signature(endpoint["secret"], *sent, body)


def test_nothing_is_sent_for_a_change_that_was_rolled_back(caller, receiver):
    receiver, url = receiver
    owner, _ = register(caller, url)
    assert caller.post("/orders", params={"owner": owner, "number": 1, "fails": True}).status_code == 409
    caller.post("/orders", params={"owner": owner, "number": 2})
    wait_for(lambda: receiver.seen)
    assert [json.loads(body)["data"]["number"] for _, _, body in receiver.seen] == [2]


def test_a_failed_delivery_is_sent_again_the_same(caller, receiver):
    receiver, url = receiver
    receiver.statuses = [500, 302, 404]
    owner, endpoint = register(caller, url)
    caller.post("/orders", params={"owner": owner, "number": 7})
    wait_for(lambda: len(receiver.seen) == 4)
    assert {path for path, _, _ in receiver.seen} == {"/hook"}
    assert len({(headers["webhook-id"], body) for _, headers, body in receiver.seen}) == 1
    for _, headers, body in receiver.seen:
        sent = headers["webhook-id"], headers["webhook-timestamp"]
        assert headers["webhook-signature"] == signature(endpoint["secret"], *sent, body)


def test_an_endpoint_that_is_gone_is_not_called_again(caller, receiver):
    receiver, url = receiver
    receiver.statuses = [410]
    owner, _ = register(caller, url)
    other, _ = register(caller, url)
    caller.post("/orders", params={"owner": owner, "number": 1})
    wait_for(lambda: receiver.seen)

    def is_off() -> bool:
        caller.post("/orders", params={"owner": owner, "number": 2})
        before = len(receiver.seen)
        caller.post("/orders", params={"owner": other, "number": 3})
        wait_for(lambda: len(receiver.seen) > before)
        return json.loads(receiver.seen[-1][2])["data"]["number"] == 3

    wait_for(is_off)


def test_a_changed_secret_overlaps_with_the_one_before(caller, receiver):
    receiver, url = receiver
    owner, before = register(caller, url)
    after = caller.post(f"/endpoints/{before['id']}/secret").json()
    assert after["secret"] != before["secret"]
    caller.post("/orders", params={"owner": owner, "number": 1})
    wait_for(lambda: receiver.seen)
    _, headers, body = receiver.seen[0]
    sent = headers["webhook-id"], headers["webhook-timestamp"], body
    expected = [signature(one["secret"], *sent) for one in (after, before)]
    assert headers["webhook-signature"].split(" ") == expected


def delivery(title: str, secret: str = NEW, message_id: str = "", age_s: int = 0) -> tuple[dict[str, str], bytes]:
    body = json.dumps({"title": title}, indent=3).encode()
    message_id, timestamp = message_id or word(), str(int(time.time()) - age_s)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1a,abc {signature(secret, message_id, timestamp, body)}",
    }, body


def deliver(client: httpx.Client, headers: dict[str, str], body: bytes) -> int:
    return client.post("/webhooks/payments", headers=headers, content=body).status_code


@pytest.mark.parametrize("secret", [OLD, NEW], ids=["old", "new"])
def test_a_genuine_delivery_is_handled_once(caller, secret):
    title = word()
    sent = delivery(title, secret)
    assert [deliver(caller, *sent), deliver(caller, *sent)] == [204, 204]
    assert titles(caller).count(title) == 1


def test_of_the_same_delivery_at_once_one_is_handled(hooks_service):
    title = word()
    sent = delivery(title)

    def one(_: int) -> int:
        with hooks_service.client() as client:
            return deliver(client, *sent)

    with ThreadPoolExecutor(5) as pool:
        assert list(pool.map(one, range(5))) == [204] * 5
    with hooks_service.client() as client:
        assert titles(client).count(title) == 1


def test_a_delivery_whose_work_failed_is_handled_at_the_next_attempt(caller):
    title = word()
    assert deliver(caller, *delivery(title)) == 204
    again = delivery(title)
    # The title is taken.
    assert deliver(caller, *again) == 409
    caller.delete(f"/titles/{title}").raise_for_status()
    assert deliver(caller, *again) == 204
    assert titles(caller).count(title) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-signature": None},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1," + base64.b64encode(b"x" * 32).decode()},
        {"webhook-signature": "v1,\xff".encode("latin-1")},
        {"webhook-id": None},
        {"webhook-id": "other"},
        {"webhook-id": "x" * 101},
        {"webhook-timestamp": None},
        {"webhook-timestamp": "1e9"},
        {"webhook-timestamp": "-5"},
        {"webhook-timestamp": "9" * 5000},
        {"body": b'{"title": "forged"}'},
        {"secret": "whsec_" + base64.b64encode(b"z" * 32).decode()},
        {"age_s": 400},
        {"age_s": -400},
    ],
    ids=lambda change: f"{change!r:.60}",
)
def test_what_is_not_genuine_is_refused(caller, change):
    title = word()
    options = {name: value for name, value in change.items() if name in ("secret", "age_s")}
    headers, body = delivery(title, **options)
    headers |= {name: value for name, value in change.items() if name.startswith("webhook")}
    headers = {name: value for name, value in headers.items() if value is not None}
    answer = caller.post("/webhooks/payments", headers=headers, content=change.get("body", body))
    assert answer.status_code == 401, answer.text
    assert answer.json()["detail"] == "The signature is not valid"
    assert title not in titles(caller)


@pytest.mark.parametrize("bad", ["whsec_short", "hunter2", "whsec_!!!", ""])
def test_the_service_does_not_start_with_a_bad_secret(hooked, fresh_sqlite, bad):
    done = hooked.run("-c", "import app.main", DATABASE_URL=fresh_sqlite(), WEBHOOK_SECRETS=bad)
    assert done.returncode != 0
    assert "webhook_secrets" in done.stderr
    assert not bad or bad not in done.stderr


@pytest.mark.parametrize(
    "tool",
    [("ruff", "check", "--no-cache", "app"), ("ruff", "format", "--no-cache", "--check", "app"), ("mypy", "app")],
    ids=lambda tool: "-".join(tool[:2]),
)
def test_blocks_pass_the_tools(hooked, tool):
    hooked.check("-m", *tool)
