"""A loopback server plays the upstream, and remembers what it was sent. No real credentials are looked for."""

import gzip
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from harness.agents.live import UPSTREAM, Credentials, CredentialsError, LiveModel, credentials
from harness.agents.messages import Refusal, Request
from harness.agents.server import Passed

KEY = "sk-test-0123456789"
SENT = {
    "host": "127.0.0.1:8080",
    "content-length": "2",
    "transfer-encoding": "chunked",
    "connection": "keep-alive",
    "x-api-key": "the-trials-token",
    "authorization": "Bearer the-trials-token",
    "proxy-authorization": "Basic x",
    "cookie": "session=1",
    "accept-encoding": "gzip, br",
    "content-type": "application/json",
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "a-beta",
    "user-agent": "claude-cli",
}
REQUEST = Request(SENT, {"messages": []}, b'{"messages": []}')


class Upstream(BaseHTTPRequestHandler):
    """Answers as `self.server.reply` says: status, headers, parts; a part may be an event to wait for."""

    def log_message(self, *arguments):
        pass

    def do_POST(self):
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        self.server.seen.append((self.path, headers, body))
        status, answer, parts = self.server.reply
        self.send_response(status)
        for name, value in answer.items():
            self.send_header(name, value)
        self.end_headers()
        for part in parts:
            if isinstance(part, threading.Event):
                part.wait(5)
            else:
                self.wfile.write(part)
                self.wfile.flush()


@contextmanager
def upstream(status=200, headers=None, parts=(b"{}",)):
    with ThreadingHTTPServer(("127.0.0.1", 0), Upstream) as server:
        server.seen, server.reply = [], (status, headers or {}, parts)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def model(server, **options):
    made = LiveModel(Credentials("x-api-key", KEY, f"http://127.0.0.1:{server.server_port}", **options))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def test_the_proxy_adds_the_key_and_drops_the_sandboxs_own_headers():
    with upstream() as server, model(server) as live:
        answer = live.answer(REQUEST)
        assert isinstance(answer, Passed)
        assert b"".join(answer.body) == b"{}"
    [(path, headers, body)] = server.seen
    assert (path, body) == ("/v1/messages?beta=true", REQUEST.raw)
    assert headers.pop("x-api-key") == KEY
    assert headers.pop("host") == f"127.0.0.1:{server.server_port}"
    assert headers == {
        "content-length": str(len(REQUEST.raw)),
        "accept-encoding": "identity",
        "content-type": "application/json",
        "anthropic-version": "2023-06-01",
        "anthropic-beta": "a-beta",
        "user-agent": "claude-cli",
        "accept": "*/*",
        "connection": "keep-alive",
    }
    assert "token" not in str(headers)


def test_a_subscriptions_token_goes_with_its_flag():
    with upstream() as server, model(server, beta="a-flag") as live:
        for sent in (REQUEST, Request({}, {}, b"{}")):
            b"".join(live.answer(sent).body)
    assert [headers["anthropic-beta"] for _, headers, _ in server.seen] == ["a-beta,a-flag", "a-flag"]


def test_a_stream_is_handed_through_as_it_comes():
    more = threading.Event()
    reply = {"content-type": "text/event-stream"}
    with upstream(200, reply, (b"event: a\n\n", more, b"event: b\n\n")) as server, model(server) as live:
        answer = live.answer(REQUEST)
        parts = iter(answer.body)
        assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
        assert next(parts) == b"event: a\n\n"
        assert not more.is_set()
        more.set()
        assert b"".join(parts) == b"event: b\n\n"
        assert live.problems() == []


def test_a_stream_that_nobody_reads_to_its_end_is_closed():
    with upstream(200, {}, (b"event: a\n\n", threading.Event())) as server, model(server) as live:
        body = live.answer(REQUEST).body
        assert next(iter(body)) == b"event: a\n\n"
        body.close()
        server.reply = (200, {}, (b"again",))
        assert b"".join(live.answer(REQUEST).body) == b"again"


def test_a_stream_that_breaks_off_ends():
    with upstream(200, {"content-length": "1000"}, (b"event: a\n\n",)) as server, model(server) as live:
        assert b"".join(live.answer(REQUEST).body) == b"event: a\n\n"


@pytest.mark.parametrize("status", [400, 401, 429, 500, 529])
def test_an_error_of_the_api_is_handed_through_with_its_advice(status):
    sent = {"retry-after": "7", "x-should-retry": "true", "request-id": "req_1", "set-cookie": "a=b", "server": "x"}
    with upstream(status, sent, (b'{"type": "error"}',)) as server, model(server) as live:
        answer = live.answer(REQUEST)
        assert (answer.status, b"".join(answer.body)) == (status, b'{"type": "error"}')
        assert answer.headers == {"retry-after": "7", "x-should-retry": "true", "request-id": "req_1"}


def test_a_redirect_is_not_followed_with_the_key():
    with upstream() as other:
        place = f"http://127.0.0.1:{other.server_port}/"
        with upstream(307, {"location": place}) as server, model(server) as live:
            answer = live.answer(REQUEST)
            b"".join(answer.body)
        assert (answer.status, other.seen) == (307, [])


def test_an_answer_that_is_packed_all_the_same_says_so():
    with upstream(200, {"content-encoding": "gzip"}, (gzip.compress(b"{}"),)) as server, model(server) as live:
        answer = live.answer(REQUEST)
        assert gzip.decompress(b"".join(answer.body)) == b"{}"
        assert answer.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize("place", ["http://127.0.0.1:1", "no-url", "http://"])
def test_an_api_that_can_not_be_reached_is_a_refusal(place):
    live = LiveModel(Credentials("x-api-key", KEY, place))
    answer = live.answer(REQUEST)
    live.close()
    assert isinstance(answer, Refusal)
    assert (answer.status, answer.kind) == (502, "api_error")
    assert answer.text.startswith("the API can't be reached: ")
    assert KEY not in answer.text


def test_an_api_that_breaks_off_before_it_answers_is_a_refusal():
    with socket.create_server(("127.0.0.1", 0)) as server:
        hang_up = threading.Thread(target=lambda: server.accept()[0].close())
        hang_up.start()
        live = LiveModel(Credentials("x-api-key", KEY, f"http://127.0.0.1:{server.getsockname()[1]}"))
        assert isinstance(live.answer(REQUEST), Refusal)
        hang_up.join()
        live.close()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"ANTHROPIC_API_KEY": ""}, None),
        ({"ANTHROPIC_BASE_URL": "http://x"}, None),
        ({"ANTHROPIC_API_KEY": " k\n"}, Credentials("x-api-key", "k")),
        ({"ANTHROPIC_API_KEY": "k", "ANTHROPIC_AUTH_TOKEN": "t"}, Credentials("x-api-key", "k")),
        ({"ANTHROPIC_AUTH_TOKEN": "t"}, Credentials("authorization", "Bearer t")),
        ({"CLAUDE_CODE_OAUTH_TOKEN": "t"}, Credentials("authorization", "Bearer t", beta="oauth-2025-04-20")),
        ({"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": "http://x"}, Credentials("x-api-key", "k", "http://x")),
        ({"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": ""}, Credentials("x-api-key", "k", UPSTREAM)),
    ],
)
def test_credentials_are_what_the_environment_offers(environment, expected):
    assert credentials(environment) == expected


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"])
@pytest.mark.parametrize("value", [f"{KEY}\N{RIGHT SINGLE QUOTATION MARK}", f"{KEY}\nx-evil: 1"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(name, value):
    with pytest.raises(CredentialsError, match=rf"^{name}: holds characters that no key has; set it anew$"):
        credentials({name: value})


def test_a_key_is_never_shown():
    assert KEY not in repr(Credentials("x-api-key", KEY))
