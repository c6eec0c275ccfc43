"""What upgrade.py must say of code, and what it must not; and that what it says of the installed versions is so."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import upgrade
from upgrading import code, differences, installed

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-service" / "bin" / "python"
SCRIPT = ROOT / "skills" / "fastapi-upgrade" / "scripts" / "upgrade.py"
NEWEST = {
    "fastapi": "0.165.0", "starlette": "1.10.0", "pydantic": "2.14.3", "sqlalchemy": "2.1.9", "httpx": "0.28.1",
    "httpx2": "2.16.2", "greenlet": "3.5", "prometheus-fastapi-instrumentator": "8.1.0",
}  # fmt: skip
OLD = {"fastapi": "0.104.1", "starlette": "0.27.0", "pydantic": "2.10.0", "sqlalchemy": "2.0.30", "httpx": "0.27.0"}

SESSION = """
from typing import Annotated
from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncSession
async def get_session():
    {body}
DB = Annotated[AsyncSession, Depends(get_session{scope})]
"""
COMMIT = "async with maker() as session:\n        yield session\n        await session.commit()"
BEGIN = "async with maker() as session, session.begin():\n        yield session"
READ = "async with maker() as session:\n        yield session"
SWALLOW = "try:\n        yield 1\n    except ValueError:\n        print('x')"
RERAISE = "try:\n        yield 1\n    except ValueError:\n        raise"
APP = "from fastapi import *\nfrom fastapi import FastAPI, APIRouter, Depends, Query, Body, status\napp = FastAPI()\n"
MODEL = "import pydantic\nfrom pydantic import BaseModel, ConfigDict, Field\n"
CORS = "from fastapi import FastAPI\nfrom fastapi.middleware.cors import CORSMiddleware\napp = FastAPI()\n"
CLIENT = "from fastapi.testclient import TestClient\nfrom fastapi import FastAPI\nclient = TestClient(FastAPI())\n"

TEMPLATES = "from fastapi.templating import Jinja2Templates\nt = Jinja2Templates('.')\ndef f(request):\n    "

# rule -> (code that must be flagged, code that must not)
EXAMPLES: dict[str, tuple[list[str], list[str]]] = {
    "swallowed-exception": (
        [SESSION.format(body=SWALLOW, scope="")],
        [SESSION.format(body=RERAISE, scope=""), SWALLOW.join(("def unused():\n    ", ""))],
    ),
    "late-commit": (
        [SESSION.format(body=COMMIT, scope=""), SESSION.format(body=BEGIN, scope="")],
        [SESSION.format(body=COMMIT, scope=', scope="function"'), SESSION.format(body=READ, scope="")],
    ),
    "pydantic-v1": (["from pydantic.v1 import BaseModel"], ["from pydantic import BaseModel"]),
    "orjson-response": (
        ["from fastapi.responses import ORJSONResponse", "from fastapi import responses\nx = responses.UJSONResponse"],
        ["from fastapi.responses import JSONResponse", "from own import ORJSONResponse"],
    ),
    "untyped-json": (
        [CLIENT + "client.post('/', content=b'{\"a\": 1}')",
         CLIENT + "import json\nclient.put('/', data=json.dumps({}))"],
        [CLIENT + "client.post('/', json={})", CLIENT + "client.post('/', content=b'x')",
         CLIENT + "client.post('/', content='{}', headers={'Content-Type': 'application/json'})",
         "class Board:\n    def post(self, content): ...\nBoard().post(content='{}')"],
    ),
    "underscore-header": (
        [CLIENT + "client.get('/', headers={'x_token': 'a'})"],
        [CLIENT + "client.get('/', headers={'X-Token': 'a'})", "import own\nown.get('/', headers={'x_token': 'a'})"],
    ),
    "route-tree": (
        [APP + "paths = [route.path for route in app.routes]", APP + "for r in app.routes:\n    print(r.methods)"],
        [APP + "print(len(app.routes))", APP + "import fastapi.routing\n"
         "paths = [c.path for c in fastapi.routing.iter_route_contexts(app.routes)]",
         "import own\npaths = [route.path for route in own.routes]"],
    ),
    "slowapi-defaults": (
        [APP + "from slowapi import Limiter\nl = Limiter(key_func=len, default_limits=['1/minute'])\n"
         "app.include_router(APIRouter())"],
        [APP + "from slowapi import Limiter\nl = Limiter(key_func=len)\napp.include_router(APIRouter())",
         "from slowapi import Limiter\nl = Limiter(key_func=len, default_limits=['1/minute'])"],
    ),
    "fastapi-limiter": (["from fastapi_limiter.depends import RateLimiter"], ["from limits import parse"]),
    "instrumentator": (["from prometheus_fastapi_instrumentator import Instrumentator"], ["import prometheus_client"]),
    "openapi-prefix": (["from fastapi import FastAPI\napp = FastAPI(openapi_prefix='/x')"], [APP]),
    "root-path": (
        ["import fastapi\napp = fastapi.FastAPI(root_path='/x')"], [APP, "FastAPI = dict\nFastAPI(root_path=1)"],
    ),
    "parameter-extra": (
        [APP + "Query(min_items=1)", "from fastapi import Body\nBody(max_items=3)"],
        [APP + "Query(min_length=1)", MODEL + "Field(default=1)"],
    ),
    "parameter-regex": (
        [APP + "Query(regex='a')", APP + "Body(example=1)"], [APP + "Query(pattern='a', examples=[1])"],
    ),
    "on-event": ([APP + "@app.on_event('startup')\ndef f(): ..."], [APP + "@app.get('/')\ndef f() -> int: return 1",
                 "import own\n@own.on_event('startup')\ndef f(): ..."]),
    "status-names": (
        ["from fastapi import status\nx = status.HTTP_422_UNPROCESSABLE_ENTITY",
         "from starlette.status import HTTP_413_REQUEST_ENTITY_TOO_LARGE as x"],
        ["from fastapi import status\nx = status.HTTP_422_UNPROCESSABLE_CONTENT", "x = 'HTTP_422_UNPROCESSABLE'"],
    ),
    "removed-registration": (
        [APP + "app.add_event_handler('startup', print)", APP + "@app.route('/')\ndef f(request): ...",
         "from starlette.applications import Starlette\nx = Starlette()\n@x.middleware('http')\ndef f(r, n): ..."],
        [APP + "@app.middleware('http')\nasync def f(request, call_next): ...", APP + "app.add_route('/', print)"],
    ),
    "starlette-startup": (
        ["from starlette.applications import Starlette\nStarlette(on_startup=[])"],
        ["from starlette.applications import Starlette\nStarlette(lifespan=None)"],
    ),
    "template-response": (
        [TEMPLATES + "return t.TemplateResponse('a.html', {'request': request})"],
        [TEMPLATES + "return t.TemplateResponse(request, 'a.html')"],
    ),
    "cors-reflects": (
        [CORS + "app.add_middleware(CORSMiddleware, allow_origins=['*'], allow_credentials=True)"],
        [CORS + "app.add_middleware(CORSMiddleware, allow_origins=['*'])",
         CORS + "app.add_middleware(CORSMiddleware, allow_origins=['https://a'], allow_credentials=True)"],
    ),
    "testclient-httpx2": ([CLIENT], ["import httpx2"]),
    "base-settings": (["from pydantic import BaseSettings"], ["from pydantic_settings import BaseSettings"]),
    "root-validator": (
        [MODEL + "class A(BaseModel):\n    @pydantic.root_validator\n    def f(cls, values): return values"],
        [MODEL + "class A(BaseModel):\n    @pydantic.model_validator(mode='before')\n    @classmethod\n"
         "    def f(cls, values): return values"],
    ),
    "validator": (
        [MODEL + "class A(BaseModel):\n    a: int\n    @pydantic.validator('a')\n    def f(cls, v): return v"],
        [MODEL + "class A(BaseModel):\n    a: int\n    @pydantic.field_validator('a')\n    @classmethod\n"
         "    def f(cls, v): return v"],
    ),
    "config-class": (
        [MODEL + "class A(BaseModel):\n    class Config:\n        extra = 'forbid'",
         MODEL + "class A(BaseModel): ...\nclass B(A):\n    class Config:\n        extra = 'forbid'"],
        [MODEL + "class A(BaseModel):\n    model_config = ConfigDict(extra='forbid')", "class A:\n    class Config: 1"],
    ),
    "field-regex": ([MODEL + "Field(regex='a')"], [MODEL + "Field(pattern='a')"]),
    "model-methods": (
        [MODEL + "class A(BaseModel): ...\ndef f(a: A):\n    return a.dict()\nf(A())",
         MODEL + "class A(BaseModel): ...\na = A()\na.json()"],
        [MODEL + "class A(BaseModel): ...\ndef f(a: A):\n    return a.model_dump()", "x = {}\nx.copy()",
         MODEL + "class A(BaseModel): ...\ndef f(a: A): ...\ndef g(a):\n    return a.copy()",
         MODEL + "class A(BaseModel): ...\na = A()\ndef g(a: dict):\n    return a.copy()"],
    ),
    "experimental-missing": (
        ["from pydantic.experimental.missing_sentinel import MISSING"], ["from pydantic import MISSING"],
    ),
    "select-list": (
        ["from sqlalchemy import column, select\nselect([column('a')])"],
        ["from sqlalchemy import column, select\nselect(column('a'))"],
    ),
    "declarative-base": (
        ["from sqlalchemy.ext.declarative import declarative_base\ndeclarative_base()"],
        ["from sqlalchemy.orm import declarative_base"],
    ),
    "engine-execute": (
        ["from sqlalchemy import create_engine\nengine = create_engine('sqlite://')\nengine.execute('select 1')"],
        ["from sqlalchemy import create_engine\nengine = create_engine('sqlite://')\nengine.connect()"],
    ),
    "postgresql-driver": (
        ["from sqlalchemy import create_engine\nengine = create_engine('postgresql://u@h/d')",
         "import sqlalchemy\ndef url(host): return f'postgresql://u@{host}/d'"],
        ["from sqlalchemy import create_engine\nengine = create_engine('postgresql+psycopg://u@h/d')",
         "import sqlalchemy\nurl = 'a'.replace('postgresql://', 'postgresql+asyncpg://')",
         "import asyncpg, sqlalchemy\ndef f(): return asyncpg.connect('postgresql://u@h/d')", "url = 'postgresql://u@h/d'"],
    ),
    "postgres-scheme": (
        ["import sqlalchemy\nsqlalchemy.create_engine('postgres://u@h/d')"],
        ["import sqlalchemy\nx = 'a'.startswith('postgres://')"],
    ),
    "greenlet": (["from sqlalchemy.ext.asyncio import AsyncSession"], ["from sqlalchemy.orm import Session"]),
    "client-app": (["import httpx\nhttpx.AsyncClient(app=print)"], ["import httpx\nhttpx.AsyncClient(transport=None)"]),
    "client-app-2": (["import httpx2\nhttpx2.Client(app=print)"], ["import httpx2\nhttpx2.Client()"]),
    "client-proxies": (["import httpx\nhttpx.get('http://x', proxies={})"], ["import httpx\nhttpx.Client(proxy=None)"]),
    "two-httpx": (
        ["import httpx, httpx2\ntry:\n    httpx2.get('http://x')\nexcept httpx.HTTPError:\n    pass"],
        ["import httpx, httpx2\ntry:\n    httpx2.get('http://x')\nexcept (httpx.HTTPError, httpx2.HTTPError): ..."],
    ),
    "patched-httpx": (["import httpx2, respx"], ["import httpx, respx", "import httpx2"]),
    # What came with a version: flagged where an older one is installed.
    "needs-scope": ([APP + "Depends(print, scope='function')"], [APP + "Depends(print)"]),
    "needs-strict-content-type": (["from fastapi import FastAPI\nFastAPI(strict_content_type=False)"], [APP]),
    "needs-sse": (["from fastapi.sse import EventSourceResponse"], ["from sse_starlette import EventSourceResponse"]),
    "needs-route-contexts": (
        ["from fastapi.routing import iter_route_contexts"], ["from fastapi.routing import APIRoute"],
    ),
    "needs-frontend": ([APP + "app.frontend('/', directory='.')"], [APP + "app.mount('/', None)"]),
    "needs-telemetry": (["from fastapi import FastAPI\nFastAPI(telemetry={})"], [APP]),
    "needs-union-mode": ([APP + "Query(union_mode='smart')"], [APP + "Query()"]),
    "needs-max-concurrency": ([APP + "Depends(print, max_concurrency=3)"], [APP + "Depends(print)"]),
    "needs-max-body-size": (
        [APP + "@app.post('/', max_body_size=9)\ndef f() -> int: return 1"],
        [APP + "@app.post('/')\ndef f() -> int: return 1"],
    ),
    "needs-form-limits": (["from fastapi import FastAPI\nFastAPI(form_limits={'max_files': 1})"], [APP]),
    "needs-status-names": (
        ["from fastapi import status\nx = status.HTTP_422_UNPROCESSABLE_CONTENT"],
        ["from fastapi import status\nx = status.HTTP_200_OK"],
    ),
    "needs-body-limit": (
        ["from starlette.middleware.body_limit import RequestBodyLimitMiddleware"],
        ["from starlette.middleware.gzip import GZipMiddleware"],
    ),
    "needs-missing": (["from pydantic import MISSING"], ["from pydantic import BaseModel"]),
    "needs-exclude-if": ([MODEL + "Field(exclude_if=bool)"], [MODEL + "Field(exclude=True)"]),
}  # fmt: skip
RULES = {rule.name: rule for rule in differences.RULES}


def versions_for(rule: differences.Rule) -> dict[str, str]:
    """Installed versions on the side where the rule speaks."""
    given = dict(OLD if rule.kind == "needs" else NEWEST)
    if rule.also:
        name, bound = rule.also
        given.pop(name, None)
        if bound:
            given[name] = "8.0"
    return given


def names_in(path: Path, versions: dict[str, str]) -> set[str]:
    found = differences.differences(code.read_code([path]), installed.Installed(versions, None))
    return {each.rule.name for each in found}


def test_every_rule_has_both_kinds_of_examples():
    assert set(EXAMPLES) == set(RULES)
    assert len(RULES) == len(differences.RULES)
    assert all(bad and good for bad, good in EXAMPLES.values())


@pytest.mark.parametrize("name", EXAMPLES)
def test_flags_what_it_must_and_nothing_else(tmp_path, name):
    rule = RULES[name]
    bad, good = EXAMPLES[name]
    for number, text in enumerate(bad):
        file = tmp_path / f"bad{number}.py"
        file.write_text(text)
        assert name in names_in(file, versions_for(rule)), text
    for number, text in enumerate(good):
        file = tmp_path / f"good{number}.py"
        file.write_text(text)
        assert name not in names_in(file, versions_for(rule)), text


@pytest.mark.parametrize("name", EXAMPLES)
def test_speaks_only_on_one_side_of_the_version(tmp_path, name):
    rule = RULES[name]
    file = tmp_path / "bad.py"
    file.write_text(EXAMPLES[name][0][0])
    versions = versions_for(rule)
    first, *rest = installed.number(rule.since)
    at = ".".join(str(part) for part in (first, *rest))
    before = ".".join(str(part) for part in (first, *rest[:-1], rest[-1] - 1)) if rest[-1] else f"{first - 1}.99"
    assert (name in names_in(file, versions | {rule.package: at})) == (rule.kind != "needs")
    assert (name in names_in(file, versions | {rule.package: before})) == (rule.kind == "needs")
    assert name not in names_in(file, {other: version for other, version in versions.items() if other != rule.package})


# Of these the package is not at hand, or they can't be shown by running a few lines.
UNSHOWN = {"fastapi-limiter", "instrumentator", "testclient-httpx2", "greenlet", "patched-httpx", "two-httpx"}
SHOWING = """
import json, sys, warnings
import fastapi, fastapi.testclient, httpx2, starlette.applications, pydantic, sqlalchemy.ext.asyncio
said = {}
def fails(action, text):
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        try:
            exec(compile(text, "example", "exec"), {"__name__": "shown"})
        except Exception:
            return True
    return False
for name, text in json.load(sys.stdin):
    said[name] = "breaks" if fails("ignore", text) else "warns" if fails("error", text) else ""
print(json.dumps(said))
"""
# What only a request or a call shows.
USED = {
    "pydantic-v1": "\nfrom fastapi import FastAPI\napp = FastAPI()\nclass A(BaseModel): ...\n"
    "@app.post('/')\ndef f(a: A): ...",
    "route-tree": "\nrouter = APIRouter()\n@router.get('/x')\ndef f() -> int: return 1\napp.include_router(router)\n"
    "paths = [route.path for route in app.routes]",
    "template-response": "\nf(None)",
    # With a stand-in for orjson, which is not at hand.
    "orjson-response": "\nimport fastapi.responses\nclass orjson:\n    OPT_NON_STR_KEYS = OPT_SERIALIZE_NUMPY = 0\n"
    "    dumps = staticmethod(lambda *a, **k: b'')\nfastapi.responses.orjson = orjson\nORJSONResponse({})",
}


@pytest.fixture(scope="module")
def shown() -> dict[str, str]:
    """What the installed versions do with each example, bad ones as `name`, good ones as `name/0`."""
    programs = []
    for name, (bad, good) in EXAMPLES.items():
        if RULES[name].kind in ("breaks", "warns") and name not in UNSHOWN:
            programs.append((name, bad[0] + USED.get(name, "")))
            programs.append((f"{name}/0", good[0]))
    done = subprocess.run(
        [PYTHON, "-c", SHOWING], input=json.dumps(programs), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return said


@pytest.mark.parametrize(
    "name", [name for name, rule in RULES.items() if rule.kind in ("breaks", "warns") and name not in UNSHOWN]
)
def test_what_it_says_of_the_installed_versions_is_so(shown, name):
    assert shown[name] == RULES[name].kind
    assert shown[f"{name}/0"] == ""


LATE = """
import asyncio, json
from typing import Annotated
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
app = FastAPI()
async def late():
    yield
    raise RuntimeError("the commit failed")
async def swallowing():
    try:
        yield
    except ValueError:
        pass
@app.post("/late", status_code=201)
async def a(_: Annotated[None, Depends(late)]) -> int: return 1
@app.post("/early", status_code=201)
async def b(_: Annotated[None, Depends(late, scope="function")]) -> int: return 1
@app.post("/swallowed")
async def c(_: Annotated[None, Depends(swallowing)]) -> int: raise ValueError
@app.post("/json")
async def d(body: dict[str, int]) -> int: return 1
client = TestClient(app, raise_server_exceptions=False)
print([client.post("/late").status_code, client.post("/early").status_code, client.post("/swallowed").status_code,
       client.post("/json", content=b'{"a": 1}').status_code, client.post("/json", json={"a": 1}).status_code])
"""


def test_what_it_says_of_changed_behaviour_is_so():
    done = subprocess.run([PYTHON, "-c", LATE], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == [201, 500, 500, 422, 200]


# ---------------------------------------------------------------------- across files, and the command


def test_follows_names_from_file_to_file(tmp_path):
    (tmp_path / "service.py").write_text("from fastapi import FastAPI\napp = FastAPI()\n")
    (tmp_path / "schemas.py").write_text("from pydantic import BaseModel\nclass Base(BaseModel): ...\n")
    (tmp_path / "items.py").write_text(
        "from .service import app\nfrom .schemas import Base\nclass Item(Base):\n    class Config: ...\n"
        "@app.on_event('startup')\ndef f(item: Item):\n    return item.dict()\n"
    )
    assert names_in(tmp_path, NEWEST) == {"on-event", "config-class", "model-methods"}


def test_a_line_may_be_left_out(tmp_path):
    line = "from fastapi.responses import ORJSONResponse  # upgrade: ignore[{}]\n"
    (tmp_path / "a.py").write_text(line.format("orjson-response"))
    (tmp_path / "b.py").write_text(line.format("on-event"))
    found = differences.differences(code.read_code([tmp_path]), installed.Installed(NEWEST, None))
    assert [place.rpartition("/")[2] for each in found for place in each.places] == ["b.py:1"]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )


def test_our_own_code_has_no_differences():
    done = run("--python", PYTHON, ROOT / "skills", ROOT / "evals" / "tasks")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no differences in" in done.stdout


def test_command_names_versions_skill_and_places(tmp_path):
    (tmp_path / "app.py").write_text("\n" + EXAMPLES["on-event"][0][0] + "\nFastAPI(openapi_prefix='/x')\n")
    done = run("--python", PYTHON, tmp_path)
    assert done.returncode == 1
    first, skill, *rest = done.stdout.splitlines()
    assert first.startswith("fastapi 0.165")
    assert "fastapi/.agents/skills/fastapi/SKILL.md" in skill
    assert Path(skill.partition(": ")[2]).is_file()
    assert rest[0].startswith("breaks, fastapi 0.145 [openapi-prefix]:")
    assert rest[1].strip() == f"{tmp_path}/app.py:7"
    assert rest[2].startswith("warns, fastapi 0.93 [on-event]:")
    assert rest[-1] == "2 differences in 1 files"


def test_json_says_the_same(tmp_path):
    (tmp_path / "app.py").write_text(EXAMPLES["on-event"][0][0])
    done = run("--python", PYTHON, "--json", tmp_path)
    (each,) = json.loads(done.stdout)["differences"]
    assert each["name"] == "on-event"
    assert each["places"] == [f"{tmp_path}/app.py:4"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--python", "/nowhere/python", "."], "--python /nowhere/python: can't ask it"),
        (["--python", str(PYTHON), "nowhere"], "there is no such file"),
        (["--python", str(PYTHON), "empty"], "there is no Python file"),
        (["--python", str(PYTHON), "broken.py"], "broken.py: can't be read as Python"),
    ],
    ids=range(4),
)
def test_wrong_use_is_one_clear_line(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.py").write_text("def\n")
    assert upgrade.main(arguments) == 2
    assert said in capsys.readouterr().err


def test_an_interpreter_without_fastapi_is_named(tmp_path, capsys, monkeypatch):
    (tmp_path / "a.py").write_text("")
    monkeypatch.setattr(upgrade, "here", lambda: installed.Installed({}, None))
    assert upgrade.main([str(tmp_path)]) == 2
    assert "has no FastAPI; name the project's own" in capsys.readouterr().err
