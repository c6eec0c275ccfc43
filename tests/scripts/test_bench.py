import os
import re
import signal
import subprocess
import sys
import time

import pytest
from tiny import write_tiny_task

import bench
from benchmarks import harness, measure, pack
from harness import tasks
from harness.agents import packs


@pytest.fixture(autouse=True)
def small(tmp_path, monkeypatch):
    """One round on the tiny task, with a plugin of one skill."""
    plugin = tmp_path / "plugin"
    for path, text in (
        (".claude-plugin/plugin.json", '{"name": "tiny-pack", "version": "1.0.0"}'),
        (
            "skills/notes/SKILL.md",
            "---\nname: notes\ndescription: Use when notes are kept\n---\n\nNotes are kept behind a key.\n",
        ),
    ):
        (plugin / path).parent.mkdir(parents=True)
        (plugin / path).write_text(text)
    write_tiny_task(tmp_path / "tasks")
    monkeypatch.setattr(tasks, "TASKS", tmp_path / "tasks")
    monkeypatch.setattr(packs, "ROOT", plugin)
    monkeypatch.setattr(harness, "ROOT", plugin)
    monkeypatch.setattr(measure, "ROUNDS", 1)


def test_costs_are_told_beside_those_without_the_harness(capsys):
    bench.main(["overhead", "start"])
    first, trial, start = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"\d+ cores, Python 3\.\d+\.\d+, medians of 1", first)
    assert re.fullmatch(r"scripted trial, tiny: [\d.]+ CPU s; bare SDK script: [\d.]+ CPU s; ratio .*", trial)
    assert re.fullmatch(
        r"start of a graded service, tiny: [\d.]+ s; plain uvicorn: [\d.]+ s; the harness adds .*", start
    )


def test_a_whole_command_is_told_with_its_status(capsys, tmp_path):
    program = tmp_path / "plugin" / "evals" / "run.py"
    program.parent.mkdir()
    program.write_text("import sys\nsys.exit(len(sys.argv))\n")
    bench.main(["eval", "prove"])
    _, run, prove = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"scripts/eval, every task, scripted \(.*\): [\d.]+ s, exit code 6", run)
    assert re.fullmatch(r"prove, every task \(.*\): [\d.]+ s, exit code 2", prove)


def test_what_can_not_be_measured_is_refused():
    with pytest.raises(
        SystemExit,
        match=r"^scripts/bench: weight is not one of overhead, start, audit, hook, assemble, tokens, eval, prove$",
    ):
        bench.main(["weight"])


def test_programs_of_the_pack_are_told_beside_others(capsys):
    bench.main(["audit", "hook", "assemble"])
    _, audit, hook, assemble = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"audit.py, 2\d{4} lines: [\d.]+ s, [\d.]+ CPU s; ruff check: [\d.]+ CPU s \(goal.*\)", audit)
    assert re.fullmatch(r"hook after a write: \d+ ms; Python alone: \d+ ms; the hook adds \d+ ms \(goal.*\)", hook)
    assert re.fullmatch(r"assemble.py --with [\w,]+: [\d.]+ s \(goal.*\); its tests: [\d.]+ s", assemble)


def test_nothing_to_review_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(pack, "ROOT", tmp_path)
    with pytest.raises(RuntimeError, match=r"has no solution to review$"):
        bench.main(["audit"])


def test_tokens_are_told_beside_those_of_the_official_skill(capsys):
    bench.main(["tokens"])
    _, _, *lines = capsys.readouterr().out.splitlines()
    sizes = {name.strip(): int(size) for name, size in (line.rsplit(maxsplit=1) for line in lines)}
    assert {"always loaded", "fastapi-backend-developer", "fastapi-auth", "FastAPI's own skill"} <= sizes.keys()
    assert min(sizes.values()) > 100


BUSY = "import time; end = time.process_time() + 0.5\nwhile time.process_time() < end: pass"


def test_cost_counts_programs_that_nobody_waited_for():
    def waited():
        subprocess.run([sys.executable, "-c", BUSY], check=True)

    def killed():
        """A child of a child is killed with its parent, as the programs of a sandbox are."""
        inner = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY + chr(10) + 'time.sleep(60)'!r}])"
        process = subprocess.Popen([sys.executable, "-c", inner], start_new_session=True)
        deadline = time.monotonic() + 20
        while measure.cpu_seconds() - before < 0.5 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    before = measure.cpu_seconds()
    assert measure.cost(killed) >= 0.4
    assert measure.cost(waited) >= 0.4
    assert measure.cost(lambda: time.sleep(0.3)) < 0.2
