import ast
import fcntl
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import pytest
from kill_points import files

import install
from harness import sandbox
from install import Verdict

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "install.py"
AGENT = "---\nname: builder\ndescription: Builds\nskills: laying\n---\nYou build.\n"
SKILL = "---\nname: {0}\ndescription: Use when {0}\n---\n{1}\n"
PACK = {
    ".claude-plugin/plugin.json": '{"name": "small-pack", "version": "1.0.0"}',
    "agents/builder.md": AGENT,
    "skills/laying/SKILL.md": SKILL.format("laying", "Blocks: ${CLAUDE_SKILL_DIR}/../mixing/snippets"),
    "skills/laying/references/rows.md": "Rows.\n",
    "skills/mixing/SKILL.md": SKILL.format("mixing", "Mix."),
    "skills/mixing/snippets/mortar.py": "mortar = 1\n",
    "skills/painting/SKILL.md": SKILL.format("painting", "Paint."),
    "skills/painting/scripts/paint.py": "paint = 1\n",
}
INSTALLED = {f".claude/{path}": text for path, text in PACK.items() if not path.startswith(".")}
MANIFEST = ".claude/small-pack.json"
BUILDER = ".claude/agents/builder.md"
ROWS = ".claude/skills/laying/references/rows.md"
MORTAR = ".claude/skills/mixing/snippets/mortar.py"
PAINT = ".claude/skills/painting/scripts/paint.py"
# The next version of the pack: one changed, one gone, one new.
NEWER = {
    "skills/mixing/snippets/mortar.py": "mortar = 2\n",
    "skills/painting/scripts/paint.py": None,
    "agents/painter.md": AGENT.replace("builder", "painter"),
}


def write(folder, made):
    for path, text in made.items():
        place = folder / path
        if text is None:
            place.unlink()
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
    return folder


@pytest.fixture
def pack(tmp_path, monkeypatch):
    folder = write(tmp_path / "pack", PACK)
    (folder / "skills/painting/scripts/paint.py").chmod(0o755)
    monkeypatch.setattr(install, "ROOT", folder)
    return folder


@pytest.fixture
def project(tmp_path, monkeypatch):
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run(pack, project, capsys):
    """`run(*arguments, status=0)` in the project's folder: what was printed."""

    def run(*arguments, status=0):
        capsys.readouterr()
        given = install.main([*arguments])
        said = capsys.readouterr()
        assert given == status, said
        assert bool(said.err) == (status > 1)
        return said.err or said.out

    return run


def without_manifest(folder):
    return {path: text for path, text in files(folder).items() if path != MANIFEST}


# ---------------------------------------------------------------------- installing, upgrading


def test_a_first_run_copies_everything_and_a_second_one_changes_nothing(run, project):
    said = run()
    assert without_manifest(project) == INSTALLED
    assert "laying: 2 added" in said
    assert said.endswith(
        f"small-pack 1.0.0: installed into {project}/.claude. Start a new session of Claude Code to load it.\n"
    )
    assert os.access(project / PAINT, os.X_OK)
    assert not os.access(project / MORTAR, os.X_OK)
    recorded = json.loads((project / MANIFEST).read_text())
    assert (recorded["pack"], recorded["version"], recorded["beside"]) == ("small-pack", "1.0.0", {})
    assert {f".claude/{path}" for path in recorded["files"]} == set(INSTALLED)
    stamps = {path: path.stat().st_mtime_ns for path in project.rglob("*")}
    assert "nothing to do" in run()
    assert {path: path.stat().st_mtime_ns for path in project.rglob("*")} == stamps


def test_litter_of_tools_is_not_copied(run, pack, project):
    write(
        pack,
        {"skills/mixing/snippets/__pycache__/mortar.pyc": "", "skills/mixing/.DS_Store": "", "agents/notes.txt": ""},
    )
    run()
    assert without_manifest(project) == INSTALLED


def test_hooks_are_said_to_need_the_plugin(run, pack):
    (pack / "hooks").mkdir()
    assert "Hooks come only with the plugin" in run()


A, B, C = "a" * 64, "b" * 64, "c" * 64


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "verdict"),
    [
        (None, None, B, Verdict.ADDED),
        (None, A, A, Verdict.SAME),  # the same file was there already
        (None, A, B, Verdict.CONFLICT),  # another file of that name was
        (A, A, A, Verdict.SAME),
        (A, A, B, Verdict.UPDATED),
        (A, A, None, Verdict.REMOVED),
        (A, B, A, Verdict.KEPT),
        (A, B, B, Verdict.SAME),  # both made the same change
        (A, B, C, Verdict.CONFLICT),
        (A, B, None, Verdict.KEPT),
        (A, None, A, Verdict.KEPT),
        (A, None, B, Verdict.CONFLICT),
        (A, None, None, Verdict.SAME),
    ],
)
def test_three_versions_decide(base, mine, theirs, verdict):
    assert install.judge(base, mine, theirs) is verdict


def test_no_verdict_of_any_three_versions_loses_an_edit():
    for base, mine, theirs in product((None, A, B, C), repeat=3):
        if mine not in (None, base, theirs):
            assert install.judge(base, mine, theirs) in (Verdict.KEPT, Verdict.CONFLICT), (base, mine, theirs)


def test_an_upgrade_replaces_what_is_unchanged_and_keeps_what_was_edited(run, pack, project):
    run()
    write(project, {BUILDER: "Ours.\n", ".claude/agents/own.md": "Own.\n"})
    write(pack, NEWER)
    said = run()
    assert (project / MORTAR).read_text() == "mortar = 2\n"
    assert (project / BUILDER).read_text() == "Ours.\n"
    assert (project / ".claude/agents/own.md").read_text() == "Own.\n"
    assert (project / ".claude/agents/painter.md").is_file()
    assert not (project / ".claude/skills/painting/scripts").exists()
    assert "kept  agents/builder.md  (edited here)" in said
    assert "mixing: 1 unchanged, 1 updated" in said


def test_a_conflict_is_named_and_nothing_is_lost(run, pack, project):
    run()
    write(project, {MORTAR: "mortar = 'ours'\n"})
    write(pack, NEWER)
    said = run(status=1)
    assert "conflict  skills/mixing/snippets/mortar.py  (edited here and changed in the pack)" in said
    assert "written beside  skills/mixing/snippets/mortar.py.new" in said
    assert (project / MORTAR).read_text() == "mortar = 'ours'\n"
    assert (project / f"{MORTAR}.new").read_text() == "mortar = 2\n"
    said = run()
    assert "still beside  skills/mixing/snippets/mortar.py.new" in said
    assert "nothing to do" in said


def test_a_conflict_is_over_when_the_new_version_is_taken(run, pack, project):
    run()
    write(project, {MORTAR: "mortar = 'ours'\n"})
    write(pack, NEWER)
    run(status=1)
    shutil.copy(project / f"{MORTAR}.new", project / MORTAR)
    run()
    assert not (project / f"{MORTAR}.new").exists()
    assert json.loads((project / MANIFEST).read_text())["beside"] == {}


def test_a_conflict_is_over_when_the_file_beside_was_deleted(run, pack, project):
    run()
    write(project, {MORTAR: "mortar = 'ours'\n"})
    write(pack, NEWER)
    run(status=1)
    (project / f"{MORTAR}.new").unlink()
    assert "kept  skills/mixing/snippets/mortar.py" in run()
    assert json.loads((project / MANIFEST).read_text())["beside"] == {}


def test_a_later_conflict_replaces_the_version_beside_unless_it_was_edited(run, pack, project):
    run()
    write(project, {MORTAR: "mortar = 'ours'\n"})
    write(pack, NEWER)
    run(status=1)
    write(pack, {"skills/mixing/snippets/mortar.py": "mortar = 3\n"})
    run(status=1)
    assert (project / f"{MORTAR}.new").read_text() == "mortar = 3\n"
    write(project, {f"{MORTAR}.new": "half merged\n"})
    write(pack, {"skills/mixing/snippets/mortar.py": "mortar = 4\n"})
    run(status=1)
    assert (project / f"{MORTAR}.new").read_text() == "half merged\n"
    assert (project / f"{MORTAR}.new2").read_text() == "mortar = 4\n"


def test_a_file_of_the_teams_own_is_a_conflict_and_an_equal_one_is_taken_over(run, project):
    write(project, {BUILDER: "Own.\n", ROWS: "Rows.\n"})
    said = run(status=1)
    assert "conflict  agents/builder.md" in said
    assert (project / BUILDER).read_text() == "Own.\n"
    assert (project / f"{BUILDER}.new").read_text() == AGENT
    assert "laying: 1 added, 1 unchanged" in said
    run("uninstall")
    assert files(project) == {BUILDER: "Own.\n"}


def test_what_was_deleted_stays_so_until_it_is_restored(run, pack, project):
    run()
    (project / BUILDER).unlink()
    assert "kept  agents/builder.md  (deleted here; --restore brings it back)" in run()
    assert not (project / BUILDER).exists()
    write(pack, {"agents/builder.md": AGENT + "More.\n"})
    assert "conflict  agents/builder.md  (deleted here, changed in the pack)" in run(status=1)
    run("--restore")
    assert (project / BUILDER).read_text() == AGENT + "More.\n"
    assert not (project / f"{BUILDER}.new").exists()


def test_what_is_gone_from_the_pack_but_was_edited_stays(run, pack, project):
    run()
    write(project, {PAINT: "ours = 1\n"})
    write(pack, NEWER)
    assert "kept  skills/painting/scripts/paint.py" in run()
    assert (project / PAINT).read_text() == "ours = 1\n"


# ---------------------------------------------------------------------- choosing


def test_only_brings_what_the_named_ones_need(run, project):
    run("--only", "builder")
    assert {path.name for path in (project / ".claude/skills").iterdir()} == {"laying", "mixing"}
    run("--only", "painting")
    assert without_manifest(project) == INSTALLED
    run("uninstall", "--only", "laying", "--only", "mixing")
    assert {path.name for path in (project / ".claude/skills").iterdir()} == {"painting"}
    assert (project / BUILDER).is_file()


def test_a_list_of_preloads_may_stand_on_lines_of_its_own(pack):
    write(
        pack,
        {"agents/builder.md": AGENT.replace("skills: laying", "skills:\n  - painting\n  - other:mixing\nmodel: x")},
    )
    assert install.needed(install.read_pack(pack), {"builder"}) == {"builder", "painting", "mixing"}


def test_only_leaves_the_rest_as_it_is(run, pack, project):
    run()
    write(pack, NEWER)
    run("--only", "painting")
    assert (project / MORTAR).read_text() == "mortar = 1\n"
    assert not (project / ".claude/skills/painting/scripts").exists()
    run()
    assert (project / MORTAR).read_text() == "mortar = 2\n"


def test_a_name_that_is_not_there_is_refused(run, project):
    said = run("--only", "weeding", status=2)
    assert said == (
        "install.py: --only weeding: there is no such agent or skill; there are builder, laying, mixing, painting."
        " Nothing was changed.\n"
    )
    assert files(project) == {}


@pytest.mark.parametrize("action", ["install", "uninstall"])
def test_a_dry_run_tells_each_file_and_changes_nothing(run, pack, project, action):
    assert "added  agents/builder.md" in run("--dry-run")
    assert files(project) == {}
    assert not (project / ".claude").exists()
    run()
    write(pack, NEWER)
    before = files(project)
    said = run(action, "--dry-run")
    assert f"{'removed':>14}  skills/painting/scripts/paint.py" in said
    assert "nothing was changed" in said
    assert files(project) == before


def test_the_users_own_folder_is_the_one_that_claude_code_uses(run, project, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    (tmp_path / "home").mkdir()
    run("--user")
    assert without_manifest(tmp_path / "home") == INSTALLED
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "config"))
    run("--user")
    assert (tmp_path / "config/agents/builder.md").is_file()
    run("uninstall", "--user")
    assert list((tmp_path / "config").iterdir()) == []
    assert files(project) == {}


# ---------------------------------------------------------------------- uninstalling


def test_uninstalling_leaves_nothing_behind(run, project):
    write(project, {"README.md": "Ours.\n"})
    run()
    run("uninstall")
    assert files(project) == {"README.md": "Ours.\n"}
    assert not (project / ".claude").exists()
    assert "nothing to do" in run("uninstall")


def test_uninstalling_removes_only_what_was_installed_and_not_edited(run, pack, project):
    own = {
        ".claude/settings.json": "{}",
        ".claude/skills/mixing/notes.md": "Ours.\n",
        ".claude/agents/own.md": "Own.\n",
    }
    write(project, own)
    run()
    edited = {BUILDER: "Ours.\n", MORTAR: "mortar = 'ours'\n"}
    write(project, edited)
    write(pack, NEWER)
    run(status=1)
    assert (project / f"{MORTAR}.new").exists()
    said = run("uninstall")
    assert "kept  agents/builder.md  (edited here)" in said
    assert files(project) == own | edited


# ---------------------------------------------------------------------- refusals


def emptied(place):
    """The place, with room for something else."""
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def link(place, target="{outside}"):
    return lambda project, outside: emptied(project / place).symlink_to(target.format(outside=outside))


def file(place):
    return lambda project, outside: emptied(project / place).write_text("A file.\n")


def folder(place):
    return lambda project, outside: emptied(project / place).mkdir()


@pytest.mark.parametrize(
    ("obstacle", "said"),
    [
        (link(".claude"), r"\.claude is a symbolic link out of the project: "),
        (link(".claude", "nowhere/else"), r"nowhere is no folder: make it first"),
        (link(".claude/agents"), r"\.claude/agents is a symbolic link, which is not followed: "),
        (link(".claude/skills/mixing"), r"skills/mixing is a symbolic link, "),
        (link(".claude/skills/mixing/snippets", "../painting"), r"mixing/snippets is a symbolic link, "),
        (link(BUILDER, "own.md"), r"agents/builder\.md is not a plain file, "),
        (link(MANIFEST, "own.json"), r"small-pack\.json is not a plain file, "),
        (link(".claude/.small-pack"), r"\.small-pack is a symbolic link, "),
        (file(".claude"), r"\.claude is a file where a folder is needed: move it away"),
        (file(".claude/skills"), r"skills is a file where a folder is needed: "),
        (file(".claude/skills/mixing/snippets"), r"snippets is a file where a folder is needed: "),
        (file(".claude/.small-pack"), r"\.small-pack is a file where a folder is needed: "),
        (folder(BUILDER), r"builder\.md is not a plain file, where one is needed: move it away"),
    ],
)
@pytest.mark.parametrize("action", ["install", "uninstall"])
def test_what_leads_elsewhere_or_is_in_the_way_is_refused(run, project, tmp_path, obstacle, said, action):
    outside = write(tmp_path / "outside", {"builder.md": AGENT, "SKILL.md": "", "journal.json": "{}"})
    if action == "uninstall":
        run()
    obstacle(project, outside)
    before, elsewhere = files(project), files(outside)
    error = run(action, status=2)
    assert error.count("\n") == 1
    assert re.search(said, error), error
    assert (files(project), files(outside)) == (before, elsewhere)


def test_a_project_that_is_not_there_is_refused(run, tmp_path):
    assert "no folder: give the project's with --project" in run("--project", str(tmp_path / "gone"), status=2)


def unmeasured(command, **more):
    """A run where coverage, too, could not write its data."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, **more)


@pytest.mark.parametrize("existing", [True, False])
def test_a_target_that_is_not_writable_is_refused(project, existing):
    if existing:
        (project / ".claude").mkdir()
    # A sandbox where nothing can be written to, even by root.
    box = [sandbox.bubblewrap(), "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    done = unmeasured([*box, "--", sys.executable, SCRIPT])
    assert (done.returncode, done.stdout) == (2, "")
    place = project / ".claude" if existing else project
    assert done.stderr == f"install.py: {place} can't be written to: change its owner or mode. Nothing was changed.\n"


def test_another_file_system_below_the_target_is_refused(project):
    skills = project / ".claude" / "skills"
    skills.mkdir(parents=True)
    box = [sandbox.bubblewrap(), "--bind", "/", "/", "--dev", "/dev", "--tmpfs", skills]
    done = unmeasured([*box, "--", sys.executable, SCRIPT])
    assert done.returncode == 2
    assert f"{skills} is on another file system than {project}/.claude" in done.stderr
    assert files(project) == {".claude/skills/": None}


@pytest.mark.parametrize("existing", [True, False])
def test_what_the_system_calls_not_writable_is_refused(run, project, monkeypatch, existing):
    if existing:
        (project / ".claude").mkdir()
    monkeypatch.setattr(install.os, "access", lambda path, mode: not mode & os.W_OK)
    assert "can't be written to: change its owner or mode" in run(status=2)


def test_a_file_that_can_not_be_read_is_refused(run, project, monkeypatch):
    run()
    reading = Path.read_bytes

    def read(path):
        if path == project / MORTAR:
            raise PermissionError(13, "Permission denied", path)
        return reading(path)

    monkeypatch.setattr(Path, "read_bytes", read)
    assert "mortar.py can't be read: change its owner or mode" in run(status=2)


def test_a_failure_to_stage_leaves_the_old_state(run, project, monkeypatch):
    def write(path, file):
        raise OSError(28, "No space left on device", path)

    monkeypatch.setattr(install, "_write", write)
    assert "No space left on device. Nothing was changed." in run(status=2)
    assert not (project / ".claude").exists()


def test_a_full_disk_leaves_the_old_state(project):
    before = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))  # noqa: E731
    done = unmeasured([sys.executable, SCRIPT], preexec_fn=before)
    assert done.returncode == 2, done
    assert done.stderr.endswith("File too large. Nothing was changed.\n")
    assert not (project / ".claude").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "can't be read"),
        ("[]", "written by another version"),
        ('{"format": 2}', "written by another version"),
        ('{"format": 1, "files": [], "beside": {}}', "must map paths to digests"),
        (
            '{"format": 1, "files": {"agents/../../../victim": "%s"}, "beside": {}}',
            "'agents/../../../victim' is nothing",
        ),
        ('{"format": 1, "files": {"settings.json": "%s"}, "beside": {}}', "'settings.json' is nothing"),
        ('{"format": 1, "files": {}, "beside": {"/etc/victim": "%s"}}', "'/etc/victim' is nothing"),
        ('{"format": 1, "files": {"agents/x.md": "short"}, "beside": {}}', "'agents/x.md' is nothing"),
    ],
)
def test_a_manifest_that_can_not_be_ours_is_refused(run, project, content, said):
    write(project, {MANIFEST: content.replace("%s", A), ".claude/settings.json": "{}"})
    before = files(project)
    for action in ("install", "uninstall"):
        assert said in run(action, status=2)
    assert files(project) == before


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([{"path": "../../victim", "before": None, "after": A}], "'../../victim' is nothing"),
        ([{"path": "skills/x/../../../../victim", "before": None, "after": A}], "is nothing that this program writes"),
        ([{"path": "agents/x.md"}], "is nothing that this program writes"),
        ([{"path": 1, "before": None, "after": None}], "1 is nothing"),
    ],
)
def test_a_journal_that_can_not_be_ours_is_refused(run, project, steps, said):
    journal = json.dumps({"format": 1, "steps": steps})
    write(project, {".claude/.small-pack/journal.json": journal, ".claude/.small-pack/0": "evil"})
    before = files(project)
    assert said in run(status=2)
    assert files(project) == before


def test_staged_content_that_is_not_what_the_journal_names_stops_the_run(run, project):
    journal = json.dumps({"format": 1, "steps": [{"path": "agents/x.md", "before": None, "after": A}]})
    write(project, {".claude/.small-pack/journal.json": journal, ".claude/.small-pack/0": "torn"})
    assert "is not what the journal names" in run(status=3)
    assert not (project / ".claude/agents").exists()


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({".claude-plugin/plugin.json": None}, "plugin.json can't be read"),
        ({".claude-plugin/plugin.json": "[]"}, "plugin.json can't be read"),
        ({".claude-plugin/plugin.json": '{"name": "../x"}'}, "needs small letters, digits and hyphens"),
    ],
)
def test_a_pack_that_is_not_whole_is_refused(run, pack, made, said):
    write(pack, made)
    assert said in run(status=2)


def test_an_empty_pack_and_one_with_links_are_refused(run, pack):
    (pack / "skills/mixing/link.py").symlink_to("/etc/hostname")
    assert "link.py is a symbolic link: put the file itself into the pack" in run(status=2)
    shutil.rmtree(pack / "skills")
    shutil.rmtree(pack / "agents")
    assert "there is nothing to install" in run(status=2)


def test_wrong_arguments_are_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        install.main(["--user", "--project", "x"])
    assert "not allowed with" in capsys.readouterr().err


# ---------------------------------------------------------------------- one at a time


def test_a_run_waits_for_another_one_and_gives_up(run, project, monkeypatch):
    monkeypatch.setattr(install, "WAIT_S", 0.1)
    holder = os.open(project, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    assert "another run is at work on" in run(status=2)
    os.close(holder)
    run()


def test_many_runs_at_once_give_one_good_state(project):
    command = [sys.executable, str(SCRIPT)]
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(6)]
    assert [one.wait(60) for one in running] == [0] * 6
    assert (project / ".claude/agents/fastapi-backend-developer.md").is_file()
    assert not (project / ".claude/.fastapi-pack").exists()


def test_without_file_locks_nothing_is_done(run, monkeypatch, project):
    monkeypatch.setattr(install, "fcntl", None)
    assert "use WSL" in run(status=2)
    assert files(project) == {}


def test_a_folder_that_can_not_be_opened_is_named(run, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(install.os, "open", refuse)
    assert "can't be read (Permission denied)" in run(status=2)


def test_an_interruption_is_told(run, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(install, "read_pack", interrupted)
    assert run(status=3) == "install.py: stopped (interrupted). Run it again: it goes on from here.\n"


# ---------------------------------------------------------------------- killed


@pytest.fixture
def killed_everywhere(pack, project, tmp_path, run):
    """`killed_everywhere(*arguments)`: what was left by a kill at each moment, and the state before."""
    (pack / "scripts").mkdir()
    shutil.copy(SCRIPT, pack / "scripts/install.py")

    def killed_everywhere(*arguments):
        before = files(project)
        driver = Path(__file__).with_name("kill_points.py")
        command = [sys.executable, driver, pack / "scripts/install.py", project, tmp_path / "work", *arguments]
        (tmp_path / "work").mkdir()
        done = unmeasured(command)
        assert done.returncode == 0, done.stderr
        return before, [json.loads(line) for line in done.stdout.splitlines()]

    return killed_everywhere


@pytest.mark.parametrize("scenario", ["first", "upgrade", "uninstall"])
def test_a_kill_at_any_moment_leaves_the_old_or_the_new_state(killed_everywhere, run, pack, project, scenario):
    write(project, {".claude/settings.json": "{}", "README.md": "Ours.\n"})
    if scenario != "first":
        run()
        write(project, {ROWS: "Our rows.\n", BUILDER: "Ours.\n"})
        write(pack, NEWER | {"skills/laying/references/rows.md": "New rows.\n"})
    before, moments = killed_everywhere(*(["uninstall"] if scenario == "uninstall" else []))
    *killed, last = moments
    assert not last["killed"]
    assert all(one["killed"] for one in killed)
    assert len(killed) > 15
    after = last["left"]
    assert last["recovered"] == last["again"] == after != before
    outcomes = [one["recovered"] for one in killed]
    assert all(outcome in (before, after) for outcome in outcomes)
    assert before in outcomes
    assert after in outcomes
    # Old before the deciding moment, new from then on.
    assert [outcome == after for outcome in outcomes] == sorted(outcome == after for outcome in outcomes)
    for one in killed:
        assert one["again"] == after
        seen = {
            path: text for path, text in one["left"].items() if "/.small-pack" not in path and not path.endswith("/")
        }
        for path, text in seen.items():
            assert text in (before.get(path), after.get(path)), path
        # What both states have is never away, and a skill or agent is loaded only when the files it needs are there.
        assert {path for path in before if path in after} <= set(seen)
        if scenario == "first":
            for skill in [path for path in seen if path.endswith("/SKILL.md")]:
                folder = skill.removesuffix("SKILL.md")
                assert {path for path in after if path.startswith(folder)} <= set(seen)


def test_a_kill_at_random_moments_loses_nothing(tmp_path, project):
    """The whole pack, in a process that nobody prepared, while it is upgraded over a team's edits."""
    seed = random.randrange(1 << 32)  # noqa: S311  moments, not secrets
    print(f"seed {seed}")  # noqa: T201  shown when it fails
    chance = random.Random(seed)  # noqa: S311
    pack = tmp_path / "fastapi-pack"
    for part in (".claude-plugin", "agents", "skills"):
        shutil.copytree(ROOT / part, pack / part, ignore=shutil.ignore_patterns("__pycache__"))
    (pack / "scripts").mkdir()
    command = [sys.executable, shutil.copy(SCRIPT, pack / "scripts")]
    subprocess.run(command, check=True, capture_output=True)
    write(project, {".claude/skills/fastapi-auth/SKILL.md": "Ours.\n"})
    before = files(project)
    for path in pack.rglob("*.md"):
        path.write_text(path.read_text() + "\nNewer.\n")
    started = time.monotonic()
    assert subprocess.run(command, check=False, capture_output=True).returncode == 1
    whole_s, after = time.monotonic() - started, files(project)
    for _ in range(8):
        shutil.rmtree(project / ".claude")
        write(project, before)
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.2, 1.0) * whole_s)
        running.send_signal(signal.SIGKILL)
        running.wait()
        target = install.project_target(project, "fastapi-pack")
        list(install.recover(target))
        assert files(project) in (before, after)


def test_a_dry_run_leaves_an_interrupted_run_to_a_real_one(run, project):
    write(project, {".claude/.small-pack/0": "half"})
    assert "run without --dry-run, which finishes it first" in run("--dry-run", status=2)
    assert "what it left is cleared away" in run()
    assert without_manifest(project) == INSTALLED


@pytest.fixture
def interrupted(run, monkeypatch):
    """Begin a run that ends right after it was decided on."""

    def interrupted(*arguments):
        def end(_):
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(install, "carry_out", end)
            run(*arguments, status=3)

    return interrupted


def test_an_edit_during_the_run_is_kept(run, pack, project, monkeypatch):
    run()
    write(pack, NEWER)
    carry_out = install.carry_out

    def edited_before(target):
        write(project, {MORTAR: "mortar = 'ours'\n"})
        return carry_out(target)

    monkeypatch.setattr(install, "carry_out", edited_before)
    assert "Edited during this run and kept: skills/mixing/snippets/mortar.py" in run()
    assert (project / MORTAR).read_text() == "mortar = 'ours'\n"
    assert (project / f"{MORTAR}.new").read_text() == "mortar = 2\n"


def test_an_edit_between_kill_and_recovery_is_kept(run, pack, project, interrupted):
    run()
    write(pack, NEWER)
    interrupted()
    edits = {MORTAR: "mortar = 'ours'\n", PAINT: "ours = 1\n"}
    write(project, edits)
    said = run()
    assert "An earlier run was interrupted; it is finished now." in said
    assert "Edited in the meantime and kept: skills/mixing/snippets/mortar.py" in said
    assert edits.items() <= files(project).items()
    assert (project / f"{MORTAR}.new").read_text() == "mortar = 2\n"


def test_a_link_that_came_between_kill_and_recovery_is_not_followed(run, pack, project, tmp_path, interrupted):
    run()
    write(pack, NEWER)
    interrupted()
    shutil.move(project / ".claude/skills/mixing", tmp_path / "mixing")
    (project / ".claude/skills/mixing").symlink_to(tmp_path / "mixing")
    assert "mixing is a symbolic link" in run(status=2)
    assert (tmp_path / "mixing/snippets/mortar.py").read_text() == "mortar = 1\n"


# ---------------------------------------------------------------------- where it runs


def test_it_needs_only_the_standard_library_of_python_3_10(project):
    ast.parse(SCRIPT.read_text(), feature_version=(3, 10))
    done = subprocess.run([sys.executable, "-I", "-S", SCRIPT, "--help"], capture_output=True, text=True, check=True)
    assert "Exit codes: 0 done, 1 done with conflicts" in done.stdout
