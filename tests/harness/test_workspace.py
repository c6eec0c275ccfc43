import os
import subprocess

import pytest
from tiny import APP, TEST, write_tiny_task

from harness import tasks, workspace

SOLVED = {"README.md": "Notes\n", "app/main.py": APP, "app/__init__.py": "", "tests/test_app.py": TEST}


@pytest.fixture
def task(tmp_path):
    starter = {"starter/app/main.py": "# here it begins\n", "starter/.gitkeep": "", "starter/app/old.pyc": "litter"}
    write_tiny_task(tmp_path, **starter, **{"solution/__pycache__/main.pyc": "litter"})
    return tasks.load("tiny", tmp_path)


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def git(folder, *command):
    return subprocess.run(["git", *command], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def test_the_starter_is_copied_without_litter(task, tmp_path):
    made = workspace.starter(task, tmp_path / "made")
    assert made == tmp_path / "made"
    assert files(made) == {"README.md": "Notes\n", "app/main.py": "# here it begins\n"}


def test_the_solution_lies_over_the_starter(task, tmp_path):
    made = workspace.solution(task, tmp_path / "made")
    assert files(made) == SOLVED


def test_the_files_of_a_read_only_checkout_can_be_written(task, tmp_path):
    for path in (task.starter / "app", task.starter / "app" / "main.py", task.solution / "app"):
        path.chmod(path.stat().st_mode & ~0o222)
    for make in (workspace.starter, workspace.solution):
        made = make(task, tmp_path / make.__name__)
        assert all(path.stat().st_mode & 0o200 for path in made.rglob("*"))


def test_a_mutant_is_the_solution_with_one_fault(task, tmp_path):
    for mutant in task.mutants:
        found = files(workspace.mutated(task, mutant, tmp_path / mutant.name))
        assert found["app/main.py"] == APP.replace(mutant.find, mutant.replace) != APP
        assert found == SOLVED | {"app/main.py": found["app/main.py"]}


def test_a_folder_that_exists_is_never_written_to(task, tmp_path):
    (tmp_path / "made").mkdir()
    for make in (workspace.starter, workspace.solution):
        with pytest.raises(FileExistsError):
            make(task, tmp_path / "made")
    assert files(tmp_path / "made") == {}


def test_the_starter_is_committed_under_a_neutral_name(task, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setenv("GIT_DIR", str(elsewhere))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "The user of this machine")
    made = workspace.starter(task, tmp_path / "made")
    workspace.commit(made)
    monkeypatch.delenv("GIT_DIR")
    assert list(elsewhere.iterdir()) == []
    assert git(made, "log", "--format=%an %ae %cn %s %D") == "starter starter@example.com starter Start HEAD -> main"
    assert git(made, "ls-files").splitlines() == ["README.md", "app/main.py"]
    assert git(made, "status", "--porcelain") == ""


def test_an_empty_starter_is_committed_too(tmp_path):
    workspace.commit(tmp_path)
    assert git(tmp_path, "rev-list", "--count", "HEAD") == "1"


def test_without_git_the_folder_stays_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", os.devnull)
    workspace.commit(tmp_path)
    assert list(tmp_path.iterdir()) == []
