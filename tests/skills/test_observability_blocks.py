"""What the blocks of fastapi-observability promise, over a real server."""

import json
import re
import secrets
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

DEMO = Path(__file__).parent / "demo"
TOKEN = secrets.token_hex(32)
SERIES = re.compile(r"^http_requests_total\{(.*)\} (\S+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def measured(assemble):
    workspace = assemble("metrics", "metrics_settings")
    shutil.copy(DEMO / "measured.py", workspace.path / "app")
    workspace.route("measured", "metrics")
    application = workspace.path / "app" / "application.py"
    text = (
        application.read_text().replace("from .settings import Settings\n", "").replace("Settings", "MetricsSettings")
    )
    text = text.replace("from .middleware", "from .metrics_settings import MetricsSettings\nfrom .middleware")
    text = text.replace("    add_error_handlers(app)\n", "    measured.mount(app)\n    add_error_handlers(app)\n")
    text = text.replace(
        "await app.state.engine.dispose()", "metrics.end_metrics()\n        await app.state.engine.dispose()"
    )
    text = text.rstrip() + "\n    app.add_middleware(metrics.MetricsMiddleware)\n"
    application.write_text(text)
    return workspace


@pytest.fixture(scope="module")
def measured_service(measured, fresh_url):
    with measured.serve(DATABASE_URL=fresh_url(), METRICS_TOKEN=TOKEN) as service:
        yield service


@pytest.fixture
def caller(measured_service) -> Iterator[httpx.Client]:
    with measured_service.client() as client:
        yield client


def scrape(client: httpx.Client, **headers: str) -> str:
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}", **headers})
    assert answer.status_code == 200, answer.text
    return answer.text


def counted(text: str) -> Counter[tuple[str, str, str]]:
    """Requests by method, route and status."""
    found: Counter[tuple[str, str, str]] = Counter()
    for labels, value in SERIES.findall(text):
        named = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        found[named["method"], named["route"], named["status"]] += int(float(value))
    return found


def value(text: str, name: str) -> float:
    """Of the one series that begins like this."""
    (found,) = re.findall(rf"^{re.escape(name)}\S* (\S+)$", text, re.MULTILINE)
    return float(found)


def after(client: httpx.Client, *requests: tuple[str, str]) -> Counter[tuple[str, str, str]]:
    """What these requests add, without the scrapes."""
    before = counted(scrape(client))
    for method, path in requests:
        client.request(method, path)
    deadline = time.monotonic() + 10
    while True:
        added = counted(scrape(client)) - before
        del added["GET", "/metrics", "200"]
        # A request is counted when all of the answer is out, which the client may have by then.
        if added.total() >= len(requests) or time.monotonic() > deadline:
            return added


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/acme/things/{}", "/v1/{tenant}/things/{thing_id}"),
        ("/v2/acme/things/{}", "/v2/{tenant}/things/{thing_id}"),
        ("/sub/parts/{}", "/sub/parts/{part_id}"),
    ],
)
def test_all_ids_of_a_route_are_one_series(caller, path, route):
    requests = [("GET", path.format(number)) for number in range(5)]
    assert after(caller, *requests) == {("GET", route, "200"): 5}


def test_what_matches_nothing_is_one_series(caller):
    paths = [("GET", f"/{secrets.token_hex(8)}") for _ in range(5)]
    assert after(caller, *paths) == {("GET", "unmatched", "404"): 5}


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/v1/acme/things/x", ("GET", "/v1/{tenant}/things/{thing_id}", "422")),
        ("DELETE", "/v1/acme/things/1", ("DELETE", "/v1/{tenant}/things/{thing_id}", "405")),
        ("GET", "/v1/acme/breaks", ("GET", "/v1/{tenant}/breaks", "500")),
        ("GET", "/files/health.py", ("GET", "/files/{path}", "200")),
        ("GET", "/files/nothing", ("GET", "/files/{path}", "404")),
        ("GET", "/livez", ("GET", "/livez", "200")),
        ("PROPFIND", "/livez", ("other", "/livez", "405")),
        ("LOCK", "/nowhere", ("other", "unmatched", "404")),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_each_outcome_is_counted(caller, method, path, expected):
    assert after(caller, (method, path)) == {expected: 1}


def test_time_is_measured_but_not_of_event_streams(caller):
    assert after(caller, ("GET", "/livez"), ("GET", "/stream"))["GET", "/stream", "200"] == 1
    text = scrape(caller)
    assert 'http_request_duration_seconds_count{method="GET",route="/livez"}' in text
    assert 'http_request_duration_seconds_count{method="GET",route="/stream"}' not in text


def test_requests_in_progress_are_counted(measured_service, caller):
    def ask() -> None:
        with measured_service.client() as client:
            client.get("/slow")

    thread = threading.Thread(target=ask)
    thread.start()
    deadline = time.monotonic() + 10
    # The scrape itself is one.
    while value(scrape(caller), "http_requests_in_progress") != 2:
        assert time.monotonic() < deadline
    thread.join()
    assert value(scrape(caller), "http_requests_in_progress") == 1


def test_metrics_are_not_public(caller):
    for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
        answer = caller.get("/metrics", headers=header)
        assert answer.status_code == 401
        assert "http_requests" not in answer.text
    assert "/metrics" not in caller.get("/openapi.json").text


def test_without_a_token_there_is_no_page(measured, fresh_sqlite):
    with measured.serve(DATABASE_URL=fresh_sqlite()) as service, service.client() as client:
        assert client.get("/metrics").status_code == 404
        assert client.get("/metrics", headers={"Authorization": "Bearer x"}).status_code == 404


def test_prometheus_gets_the_format_it_asks_for(caller):
    headers = {
        "Authorization": f"Bearer {TOKEN}",
        "Accept": "application/openmetrics-text; version=1.0.0",
    }
    answer = caller.get("/metrics", headers=headers)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    assert caller.get("/metrics", headers=headers | {"Accept": "*/*"}).headers["content-type"].startswith("text/plain")


def test_several_workers_are_added_up(measured, fresh_sqlite, tmp_path):
    env = {"DATABASE_URL": fresh_sqlite(), "METRICS_TOKEN": TOKEN, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    with measured.serve(workers=2, **env) as service:
        for number in range(24):
            # A connection for each, so that both workers get some.
            with service.client() as client:
                assert client.get(f"/v1/acme/things/{number}").status_code == 200
        pids = {file.stem.rpartition("_")[2] for file in tmp_path.glob("counter_*.db")}
        assert len(pids) == 2
        for _ in range(6):
            with service.client() as client:
                text = scrape(client)
                assert counted(text)["GET", "/v1/{tenant}/things/{thing_id}", "200"] == 24
                assert value(text, "http_requests_in_progress") >= 1
    assert not list(tmp_path.glob("gauge_live*"))


@pytest.mark.parametrize("tool", [("ruff", "check", "--no-cache", "app"), ("mypy", "app")], ids=lambda tool: tool[0])
def test_blocks_pass_the_tools(measured, tool):
    measured.check("-m", *tool)


TRACED = """
import asyncio
import json

import httpx2
from fastapi import APIRouter
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

spans, logged = InMemorySpanExporter(), []
router = APIRouter(prefix="/v1")


@router.get("/things/{thing_id}")
async def thing(thing_id: int) -> int:
    logged.append(add_trace_id(None, "info", {}))
    return thing_id


@app.get("/livez")
async def live() -> None:
    logged.append(add_trace_id(None, "info", {}))


class Middleware:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        await self.app(scope, receive, send)
        logged.append(add_trace_id(None, "info", {}))


app.include_router(router)
app.add_middleware(Middleware)
provider.add_span_processor(SimpleSpanProcessor(spans))


async def main():
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        parent = {"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"}
        assert (await client.get("/v1/things/7?q=1", headers=parent)).status_code == 200
        assert (await client.get("/livez")).status_code == 200


asyncio.run(main())
ended = spans.get_finished_spans()
found = [(span.name, f"{span.context.trace_id:032x}", span.attributes["url.query"]) for span in ended]
print(json.dumps([found, logged]))
"""


def test_spans_and_their_ids_are_as_told(measured):
    """The block of traces.md, with a provider whose spans can be read."""
    text = (DEMO.parents[2] / "skills/fastapi-observability/references/traces.md").read_text()
    block = text.split("```python\n")[1].split("```")[0]
    assert block.count("TracerProvider(),") == 1
    block = block.replace("app = FastAPI(", "provider = TracerProvider()\napp = FastAPI(")
    block = block.replace("TracerProvider(),", "provider,")
    found, logged = json.loads(measured.check("-W", "error", "-c", block + TRACED))
    assert found == [["GET /v1/things/{thing_id}", "a" * 32, "q=1"]]
    # In the endpoint and in middleware; the excluded path has none.
    assert logged == [{"trace_id": "a" * 32}] * 2 + [{}] * 2
