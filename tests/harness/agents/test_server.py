import json
import socket
import stat
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
from played import Player

from harness.agents import Arm
from harness.agents import server as module
from harness.agents.messages import Refusal, text
from harness.agents.server import Passed, serving

ARM = Arm("small", Path("/nowhere"), "small-pack", {"builder": "You are the builder."}, {"building": "# Building"})
ASK = {"model": "sonnet", "messages": [{"role": "user", "content": "Hello"}]}
TOKEN = "the-token-of-the-trial"


@contextmanager
def served(model):
    """A server, what it observed, and a client that has the token."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "api.sock"
        transport = httpx.HTTPTransport(uds=str(path))
        headers = {"x-api-key": TOKEN}
        client = httpx.Client(transport=transport, base_url="http://server", headers=headers)
        with serving(path, model, ARM, TOKEN) as observed, client:
            yield client, observed, path


def test_a_message_is_answered_whole_or_as_a_stream():
    with served(Player([[text("Hi.")]])) as (client, observed, path):
        whole = client.post("/v1/messages?beta=true", json=ASK)
        stream = client.post("/v1/messages", json=ASK | {"stream": True})
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (whole.status_code, whole.json()["content"][0]["text"]) == (200, "Hi.")
    assert stream.headers["content-type"] == "text/event-stream"
    assert stream.text.startswith("event: message_start\n")
    assert stream.text.endswith('data: {"type":"message_stop"}\n\n')
    assert (observed.requests, observed.answered, observed.strangers) == (2, 2, [])


def test_one_connection_carries_many_requests():
    with served(Player()) as (client, observed, _):
        for _ in range(5):
            assert client.post("/v1/messages", json=ASK).status_code == 200
    assert observed.requests == 5


def test_the_prompts_of_the_arm_are_recognised():
    with served(Player()) as (client, observed, _):
        system = [{"type": "text", "text": "First.\nYou are the builder.\nLast."}]
        # In the main thread the prompt would be a quotation.
        client.post("/v1/messages", json=ASK | {"system": system})
        assert (observed.agents, observed.skills) == (set(), set())
        loaded = {"role": "user", "content": [{"type": "tool_result", "content": "# Building\nmore"}]}
        body = ASK | {"system": system, "messages": [loaded]}
        client.post("/v1/messages", json=body, headers={"x-claude-code-agent-id": "a1"})
        assert (observed.agents, observed.skills) == ({"builder"}, {"building"})


def test_a_refusal_of_the_model_is_handed_on_and_not_counted_as_an_answer():
    with served(Player([Refusal(529, "overloaded_error", "busy")])) as (client, observed, _):
        said = client.post("/v1/messages", json=ASK)
    assert (said.status_code, said.json()["error"]) == (529, {"type": "overloaded_error", "message": "busy"})
    assert (observed.requests, observed.answered, observed.strangers) == (1, 0, [])


def test_an_upstream_is_handed_through_as_it_comes():
    parts = iter([b"one ", b"two"])
    passed = Passed(418, {"content-type": "text/plain", "request-id": "r1"}, parts)
    with served(Player([passed])) as (client, observed, _):
        said = client.post("/v1/messages", json=ASK)
    assert (said.status_code, said.text, said.headers["request-id"]) == (418, "one two", "r1")
    assert said.headers["connection"] == "close"
    assert observed.answered == 1


REFUSED = {
    "another method": (("GET", "/v1/messages", {}), 404, "only POST /v1/messages"),
    "another method without a body": (("HEAD", "/v1/messages", {}), 404, ""),
    "another path": (("POST", "/v1/complete", {"json": ASK}), 404, "only POST /v1/messages"),
    "a path that only begins so": (("POST", "/v1/messages/count_tokens", {"json": ASK}), 404, "only POST"),
    "no length": (("POST", "/v1/messages", {"content": iter([b"{}"])}), 413, "needs a length"),
    "no token": (("POST", "/v1/messages", {"json": ASK, "headers": {"x-api-key": ""}}), 403, "not the trial's token"),
    "a wrong token": (
        ("POST", "/v1/messages", {"json": ASK, "headers": {"x-api-key": b"t\xe9"}}),
        403,
        "not the trial",
    ),
    "no JSON": (("POST", "/v1/messages", {"content": b"{"}), 403, "not a Messages request"),
    "not an object": (("POST", "/v1/messages", {"content": b"[]"}), 403, "not a Messages request"),
    "no messages": (("POST", "/v1/messages", {"json": {"model": "x"}}), 403, "not a Messages request"),
    "messages without roles": (("POST", "/v1/messages", {"json": {"messages": [{}]}}), 403, "not a Messages request"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_everything_else_is_refused_and_noted(what):
    (method, path, more), status, said = REFUSED[what]
    with served(Player()) as (client, observed, _):
        answer = client.request(method, path, **more)
        assert client.post("/v1/messages", json=ASK).status_code == 200, "the server goes on"
    assert answer.status_code == status
    assert said in answer.text
    (stranger,) = observed.strangers
    assert stranger.startswith(f"{method} {path}: ")
    assert observed.answered == 1


def test_a_request_that_claims_too_much_is_refused_unread(monkeypatch):
    monkeypatch.setattr(module, "LARGEST_REQUEST", 100)
    with served(Player()) as (_, observed, path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 101\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")
        assert len(observed.strangers) == 1


class Broken:
    def answer(self, request):
        raise LookupError("a mistake of ours")


def test_a_mistake_of_a_model_is_not_hushed_up(capfd):
    with served(Broken()) as (client, observed, _), pytest.raises(httpx.RemoteProtocolError):
        client.post("/v1/messages", json=ASK)
    assert observed.answered == 0
    assert "a mistake of ours" in capfd.readouterr().err


def test_a_client_that_goes_away_disturbs_nobody(capfd):
    with served(Player()) as (client, _, path):
        with socket.socket(socket.AF_UNIX) as gone:
            gone.connect(str(path))
            gone.sendall(b"POST /v1/messages HTTP/1.1\r\ncontent-length: 100\r\n\r\n{")
        body = json.dumps(ASK | {"stream": True}).encode()
        head = f"POST /v1/messages HTTP/1.1\r\nx-api-key: {TOKEN}\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        for _ in range(3):
            with socket.socket(socket.AF_UNIX) as gone:
                gone.connect(str(path))
                gone.sendall(head + body)
        assert client.post("/v1/messages", json=ASK).status_code == 200
    assert capfd.readouterr() == ("", "")
