"""The scripts run for real, in a copy of the repository's bones, with small programs in the place of Python and uv."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ["scripts/eval", "scripts/check", ".ci/run"]
# Stands for uv: notes its call, and makes environments whose Python notes its call too.
UV = """#!/bin/sh
echo "uv $* into ${UV_PROJECT_ENVIRONMENT:-.venv} ${VIRTUAL_ENV-}" >> calls
[ ! -e fail ] || exit 2
[ "$1" = sync ] || { mkdir -p .venv-service; exit 0; }
mkdir -p "${UV_PROJECT_ENVIRONMENT:-.venv}/bin"
for name in python ruff mypy lint-imports; do
    printf '#!/bin/sh\\necho "%s $*" >> calls\\ncase "$*" in *fall-short*) exit 1;; esac\\n' "$name" \\
        > "${UV_PROJECT_ENVIRONMENT:-.venv}/bin/$name"
    chmod +x "${UV_PROJECT_ENVIRONMENT:-.venv}/bin/$name"
done
"""


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def bones(tmp_path):
    """The repository's scripts and lock, without environments, and a uv of its own."""
    root = tmp_path / "with space"
    for folder in ("scripts", ".ci"):
        shutil.copytree(ROOT / folder, root / folder)
    for name in ("pyproject.toml", "uv.lock"):
        (root / name).write_text(f"# {name}\n")
    program(tmp_path / "bin" / "uv", UV)
    return root


def call(bones, script, *arguments, python=sys.executable, status=0):
    environment = {"PATH": f"{bones.parent / 'bin'}:/usr/bin:/bin", "PYTHON": str(python), "VIRTUAL_ENV": "/elsewhere"}
    done = subprocess.run(
        [bones / script, *arguments], cwd="/", env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return done


def calls(bones):
    noted = bones / "calls"
    found = noted.read_text().splitlines() if noted.exists() else []
    noted.unlink(missing_ok=True)
    return found


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_programs(script):
    assert os.access(ROOT / script, os.X_OK)
    assert (ROOT / script).read_text().startswith("#!/bin/sh\n")


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_old_python_is_refused_before_anything_is_made(bones, script):
    pretend = "import sys; sys.version_info = (3, 10, 9); "
    old = program(bones.parent / "bin" / "old", f'#!/bin/sh\nshift; exec {sys.executable} -c "{pretend}$1"\n')
    before = sorted(bones.rglob("*"))
    done = call(bones, script, python=old, status=3)
    called = "scripts/check" if script == ".ci/run" else script
    assert done.stderr == (f"{called}: needs Python 3.11 or newer; '{old}' is not. Set PYTHON to one that is.\n")
    assert done.stdout == ""
    assert sorted(bones.rglob("*")) == before


@pytest.mark.parametrize("python", ["/nowhere/python3", "/bin/false"])
def test_what_is_no_python_is_refused(bones, python):
    done = call(bones, "scripts/eval", python=python, status=3)
    assert done.stderr.splitlines() == [
        f"scripts/eval: needs Python 3.11 or newer; '{python}' is not. Set PYTHON to one that is."
    ]


def test_eval_makes_the_environments_once_and_runs_the_harness(bones):
    done = call(bones, "scripts/eval", "--task", "two words")
    assert done.stderr == "Making the environments from uv.lock; this happens once.\n"
    venv, own, service, harness = calls(bones)
    assert venv == f"uv venv --quiet --clear --relocatable --python {sys.executable} .venv-service into .venv "
    assert own == f"uv sync --quiet --frozen --python {sys.executable} --compile-bytecode into .venv "
    assert service.startswith("uv sync --quiet --frozen ")
    assert service.endswith("--only-group service into .venv-service ")
    assert harness == "python evals/run.py --task two words"
    assert call(bones, "scripts/eval").stderr == ""
    assert calls(bones) == ["python evals/run.py"]


def test_eval_ends_with_the_status_of_the_harness(bones):
    call(bones, "scripts/eval")
    call(bones, "scripts/eval", "fall-short", status=1)


@pytest.mark.parametrize("name", ["uv.lock", "scripts/environment", ".venv/state"])
def test_the_environments_are_brought_up_to_date_when_what_they_come_from_changes(bones, name):
    call(bones, "scripts/eval")
    calls(bones)
    (bones / name).write_text((bones / name).read_text() + "# changed\n")
    call(bones, "scripts/eval")
    assert [line.split()[1] for line in calls(bones)] == ["sync", "sync", "evals/run.py"]


@pytest.mark.parametrize("name", [".venv", ".venv-service"])
def test_an_environment_that_was_removed_is_made_anew(bones, name):
    call(bones, "scripts/eval")
    calls(bones)
    shutil.rmtree(bones / name)
    call(bones, "scripts/eval")
    assert len(calls(bones)) == (4 if name == ".venv-service" else 3)


def test_another_python_makes_the_services_environment_anew(bones):
    call(bones, "scripts/eval")
    calls(bones)
    (bones / ".venv-service" / "made-with").write_text("(3, 10, 9) /elsewhere")
    (bones / ".venv" / "state").unlink()
    call(bones, "scripts/eval")
    assert [line.split()[1] for line in calls(bones)] == ["venv", "sync", "sync", "evals/run.py"]


def test_a_failed_download_is_tried_with_the_systems_certificates(bones):
    program(
        bones.parent / "bin" / "uv",
        UV.replace("[ ! -e fail ]", '[ "$1" = venv ] || [ "${UV_SYSTEM_CERTS-}" = true ]'),
    )
    call(bones, "scripts/eval")
    assert [line.split()[1] for line in calls(bones)] == ["venv", "sync", "sync", "sync", "sync", "evals/run.py"]


def test_a_failure_to_make_them_is_infrastructure_and_tried_again(bones):
    (bones / "fail").touch()
    done = call(bones, "scripts/eval", status=3)
    assert done.stderr.endswith("The environments could not be made; the reason is above.\n")
    assert len(calls(bones)) == 1
    (bones / "fail").unlink()
    call(bones, "scripts/eval")
    assert len(calls(bones)) == 4


@pytest.mark.parametrize("script", ["scripts/check", ".ci/run"])
def test_check_runs_every_gate_in_turn(bones, script):
    done = call(bones, script)
    assert calls(bones)[3:] == [
        "ruff check .",
        "ruff format --check .",
        "mypy ",
        "lint-imports ",
        "python scripts/validate.py .",
        *[line for line in checked(bones) if "pytest" in line],
        "python evals/run.py prove",
    ]
    assert done.stderr.count("\n== ") == 7


def checked(bones):
    """The lines of `scripts/check` that run Python, as the small program notes them."""
    steps = [line.strip() for line in (bones / "scripts/check").read_text().splitlines()]
    return [line.removeprefix("step ") for line in steps if line.startswith("step python")]


def test_check_ends_at_the_first_gate_that_falls_short(bones):
    call(bones, "scripts/check")
    calls(bones)
    program(bones / ".venv" / "bin" / "mypy", '#!/bin/sh\necho "mypy" >> calls\nexit 1\n')
    call(bones, "scripts/check", status=1)
    assert calls(bones) == ["ruff check .", "ruff format --check .", "mypy"]


def test_ci_runs_the_check_and_nothing_else():
    lines = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if line and not line.startswith("#")]
    assert lines == ['exec "$(dirname "$0")/../scripts/check"']
