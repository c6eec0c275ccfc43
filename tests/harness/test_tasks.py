import pytest
import yaml
from tiny import APP, CHECKS, FILES, MUTANTS, TASK, write_tiny_task

from harness import tasks
from harness.model import Check, Kind, Limits
from harness.tasks import TaskError


def problems(root, **changes):
    """What the reader says of the tiny task with these changes."""
    write_tiny_task(root, **changes)
    with pytest.raises(TaskError) as refused:
        tasks.load("tiny", root)
    assert str(refused.value) == "\n".join(refused.value.problems)
    return list(refused.value.problems)


def with_value(text, path, value):
    """`text` with one value replaced, or removed where it is None."""
    document = yaml.safe_load(text)
    *parents, last = path
    place = document
    for part in parents:
        place = place[part]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return yaml.safe_dump(document, sort_keys=False)


def misspelt(text, path):
    document = yaml.safe_load(text)
    *parents, last = path
    place = document
    for part in parents:
        place = place[part]
    place[f"{last}x"] = place.pop(last)
    return yaml.safe_dump(document, sort_keys=False)


def test_the_tiny_task_is_read_whole(tmp_path):
    folder = write_tiny_task(tmp_path)
    task = tasks.load("tiny", tmp_path)
    assert (task.name, task.folder, task.title) == ("tiny", folder, "Keep notes behind a key")
    assert (task.difficulty, task.exercises, task.services) == ("easy", ("fastapi-database",), ("postgres",))
    assert task.limits == Limits(start_s=20, checks_s=20, memory_mb=512, processes=32)
    assert task.environment == {"SECRET_KEY": "{secret}", "NOTES_FOLDER": "{data}"}
    assert task.instruction == (folder / "instruction.md").read_text()
    assert task.checks[2] == Check("refuses_a_wrong_key", Kind.SECURITY, "Nobody reads or writes without the key", 306)
    assert [mutant.name for mutant in task.mutants] == [
        "forgets-the-note",
        "finds-what-is-not-there",
        "ignores-the-key",
    ]
    assert task.mutants[0].caught_by == {"keeps_a_note"}
    assert tasks.without_mutant(task) == []


def test_what_may_be_left_out_has_a_default(tmp_path):
    text = TASK
    for key in ("exercises", "time_limit_s", "start_limit_s", "memory_limit_mb", "process_limit", "services"):
        text = with_value(text, [key], None)
    write_tiny_task(tmp_path, **{"task.yaml": with_value(text, ["environment"], None)})
    task = tasks.load("tiny", tmp_path)
    assert (task.limits, task.services, task.exercises, task.environment) == (Limits(), ("postgres",), (), {})


@pytest.mark.parametrize("name", ["task.yaml", "instruction.md", "mutants.yaml"])
def test_a_file_that_is_missing_or_empty_or_not_text_is_named(tmp_path, name):
    assert problems(tmp_path, **{name: None}) == [f"tiny/{name}: is missing; add the file"]
    assert problems(tmp_path, **{name: " \n"}) == [f"tiny/{name}: is empty; fill it in"]
    (tmp_path / "tiny" / name).write_bytes(b"title: \xff\xfe")
    with pytest.raises(TaskError, match=rf"^tiny/{name}: is not UTF-8; save it as that$"):
        tasks.load("tiny", tmp_path)


def test_a_folder_that_is_missing_is_named(tmp_path):
    inside = [name for name in FILES if name.startswith(("starter/", "checks/", "solution/"))]
    found = problems(tmp_path, **dict.fromkeys(inside))
    assert found == [f"tiny/{name}: is missing; add the folder" for name in ("starter", "checks", "solution")]


def test_checks_and_solution_must_hold_something_and_the_starter_need_not(tmp_path):
    folder = write_tiny_task(tmp_path)
    (folder / "starter" / "README.md").unlink()
    tasks.load("tiny", tmp_path)
    (folder / "checks" / "test_notes.py").rename(folder / "checks" / "notes.py")
    (folder / "solution").rename(folder / "elsewhere")
    (folder / "solution").mkdir()
    with pytest.raises(TaskError) as refused:
        tasks.load("tiny", tmp_path)
    assert refused.value.problems == (
        "tiny/checks: is empty; add test files",
        "tiny/solution: is empty; add the right answer",
    )


REQUIRED = [
    ["title"],
    ["difficulty"],
    ["checks"],
    ["checks", "keeps_a_note", "kind"],
    ["checks", "keeps_a_note", "proves"],
]
OPTIONAL = ["exercises", "time_limit_s", "start_limit_s", "memory_limit_mb", "process_limit", "services", "environment"]
KEYS = [*REQUIRED, *([key] for key in OPTIONAL), ["checks", "refuses_a_wrong_key", "cwe"]]
MUTANT_KEYS = ["name", "file", "find", "replace", "caught_by"]


@pytest.mark.parametrize("path", REQUIRED, ids=".".join)
def test_a_missing_key_is_named(tmp_path, path):
    found = problems(tmp_path, **{"task.yaml": with_value(TASK, path, None)})
    assert found == [f"tiny/task.yaml: {'.'.join(path)}: Field required; add it"]


@pytest.mark.parametrize("path", KEYS, ids=".".join)
def test_a_misspelt_key_is_named(tmp_path, path):
    found = problems(tmp_path, **{"task.yaml": misspelt(TASK, path)})
    place = f"tiny/task.yaml: {'.'.join(path)}"
    assert f"{place}x: Extra inputs are not permitted; remove it, or mend its spelling" in found
    assert (f"{place}: Field required; add it" in found) == (path in REQUIRED)


@pytest.mark.parametrize("path", KEYS[:-1], ids=".".join)
def test_an_empty_value_is_named(tmp_path, path):
    text = with_value(TASK, path, "").replace(f"{path[-1]}: ''", f"{path[-1]}:")
    [found] = problems(tmp_path, **{"task.yaml": text})
    assert found.startswith(f"tiny/task.yaml: {'.'.join(path)}: ")
    assert "None" in found


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["title"], ""),
        (["title"], "x" * 301),
        (["difficulty"], "hardest"),
        (["exercises"], "fastapi-auth"),
        (["time_limit_s"], 0),
        (["time_limit_s"], 601),
        (["start_limit_s"], -1),
        (["start_limit_s"], "soon"),
        (["memory_limit_mb"], 1),
        (["process_limit"], 3),
        (["services"], ["oracle"]),
        (["environment"], {"lower": "x"}),
        (["environment"], {"DEBUG": 1}),
        (["checks"], {}),
        (["checks"], {"Has-Capitals": {"kind": "docs", "proves": "x"}}),
        (["checks", "keeps_a_note"], "functional"),
        (["checks", "keeps_a_note", "kind"], "important"),
        (["checks", "keeps_a_note", "proves"], ""),
        (["checks", "refuses_a_wrong_key", "cwe"], 0),
        (["checks", "refuses_a_wrong_key", "cwe"], "CWE-306"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(tmp_path, path, value):
    found = problems(tmp_path, **{"task.yaml": with_value(TASK, path, value)})
    assert all(one.startswith(f"tiny/task.yaml: {'.'.join(path)}") for one in found), found


@pytest.mark.parametrize("value", ["{secrets}", "a{}b", "{data}/{name}"])
def test_an_unknown_placeholder_of_the_environment_is_named(tmp_path, value):
    [found] = problems(tmp_path, **{"task.yaml": with_value(TASK, ["environment", "SECRET_KEY"], value)})
    assert found.startswith("tiny/task.yaml: environment.SECRET_KEY: {")
    assert found.endswith("} is not known; use {secret} or {data}")


def test_json_in_the_environment_is_no_placeholder(tmp_path):
    write_tiny_task(tmp_path, **{"task.yaml": with_value(TASK, ["environment", "LIMITS"], '{"login": 5}')})
    assert tasks.load("tiny", tmp_path).environment["LIMITS"] == '{"login": 5}'


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (TASK.replace("difficulty: easy", "difficulty: [easy"), "tiny/task.yaml, line 3"),
        (TASK.replace("title: Keep", "title: Keep: "), "tiny/task.yaml, line 1"),
        (TASK.replace("exercises:", "\texercises:"), "tiny/task.yaml, line 3"),
        (TASK.replace("  misses_an_unknown_note:", "  keeps_a_note:"), "tiny/task.yaml, line 16"),
        (TASK + "title: Again\n", "tiny/task.yaml, line 23"),
        (TASK + "? [a, b]\n: c\n", "tiny/task.yaml, line 23"),
        (TASK + "\x00", "tiny/task.yaml"),
    ],
)
def test_text_that_is_not_yaml_is_named_with_its_line(tmp_path, text, place):
    [found] = problems(tmp_path, **{"task.yaml": text})
    assert found.startswith(f"{place}: can't be read (")
    assert found.endswith("); mend the line")
    assert "\n" not in found


@pytest.mark.parametrize("text", ["- a list\n", "just a line\n", "42\n"])
def test_a_document_of_another_shape_is_refused(tmp_path, text):
    [found] = problems(tmp_path, **{"task.yaml": text})
    assert found.startswith("tiny/task.yaml: the whole file: ")
    assert found.endswith("; write it as keys with values")


def test_a_check_of_the_file_without_a_test_is_named(tmp_path):
    checks = CHECKS.replace("def test_keeps_a_note", "def keeps_a_note")
    assert problems(tmp_path, **{"checks/test_notes.py": checks}) == [
        "tiny/task.yaml: checks.keeps_a_note: there is no test_keeps_a_note under checks/; write it or remove it"
    ]


def test_a_test_that_the_file_does_not_name_is_named(tmp_path):
    assert problems(tmp_path, **{"checks/more/test_more.py": "async def test_more():\n    pass\n"}) == [
        "tiny/checks: test_more is not in task.yaml; declare it under checks"
    ]


def test_a_check_that_is_defined_twice_is_named(tmp_path):
    assert problems(tmp_path, **{"checks/test_more.py": "def test_keeps_a_note():\n    pass\n"}) == [
        "tiny/checks: test_keeps_a_note is defined 2 times; a check has one function"
    ]


@pytest.mark.parametrize(("text", "line"), [("x = 1\ndef test_more(:\n    pass\n", 2), ("# \xff\nx = (\n", 2)])
def test_a_test_file_that_does_not_parse_is_named_with_its_line(tmp_path, text, line):
    [found] = problems(tmp_path, **{"checks/test_more.py": text, "checks/test_notes.py": None})
    assert found.startswith(f"tiny/checks/test_more.py, line {line}: does not parse (")
    assert found.endswith("); mend it")


def test_a_test_file_that_is_not_text_is_named(tmp_path):
    folder = write_tiny_task(tmp_path)
    (folder / "checks" / "test_more.py").write_bytes(b"x = '\xff'\n")
    with pytest.raises(TaskError, match=r"^tiny/checks/test_more\.py.*: does not parse \("):
        tasks.load("tiny", tmp_path)


def mutants_with(**changes):
    """The tiny task's mutants, the first one changed."""
    document = yaml.safe_load(MUTANTS)
    document[0] |= changes
    return yaml.safe_dump(document)


@pytest.mark.parametrize("key", MUTANT_KEYS)
def test_a_mutants_missing_or_misspelt_key_is_named(tmp_path, key):
    required = f"tiny/mutants.yaml: mutants.0.{key}: Field required; add it"
    assert problems(tmp_path, **{"mutants.yaml": with_value(MUTANTS, [0, key], None)}) == [required]
    assert problems(tmp_path, **{"mutants.yaml": misspelt(MUTANTS, [0, key])}) == [
        required,
        f"tiny/mutants.yaml: mutants.0.{key}x: Extra inputs are not permitted; remove it, or mend its spelling",
    ]


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"name": ""}, "name"),
        ({"name": "Two words"}, "name"),
        ({"find": ""}, "find"),
        ({"replace": None}, "replace"),
        ({"caught_by": []}, "caught_by"),
        ({"caught_by": "keeps_a_note"}, "caught_by"),
    ],
)
def test_a_mutants_wrong_value_is_named(tmp_path, changes, place):
    [found] = problems(tmp_path, **{"mutants.yaml": mutants_with(**changes)})
    assert found.startswith(f"tiny/mutants.yaml: mutants.0.{place}: ")


def test_mutants_must_be_a_list(tmp_path):
    [found] = problems(tmp_path, **{"mutants.yaml": "name: forgets\n"})
    assert found.startswith("tiny/mutants.yaml: mutants: Input should be a valid list")


PLACE = "tiny/mutants.yaml: forgets-the-note"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"caught_by": ["keeps"]}, "caught_by names 'keeps', which is no check of task.yaml; mend the name"),
        ({"file": "app/gone.py"}, "there is no solution/app/gone.py with text; mend the path"),
        ({"file": "app"}, "there is no solution/app with text; mend the path"),
        ({"file": "../task.yaml"}, "there is no solution/../task.yaml with text; mend the path"),
        ({"file": "/etc/passwd"}, "there is no solution//etc/passwd with text; mend the path"),
        ({"find": "nowhere"}, "find occurs 0 times in solution/app/main.py; it must occur exactly once"),
        ({"find": "async with"}, "find occurs 3 times in solution/app/main.py; it must occur exactly once"),
        (
            {"replace": "async with engine.begin() as writing:"},
            "replace equals find, so nothing is changed; write the fault",
        ),
    ],
)
def test_a_mutant_that_does_not_fit_is_named(tmp_path, changes, problem):
    assert problems(tmp_path, **{"mutants.yaml": mutants_with(**changes)}) == [f"{PLACE}: {problem}"]


def test_a_mutant_of_a_file_that_is_not_text_is_named(tmp_path):
    folder = write_tiny_task(tmp_path)
    (folder / "solution" / "app" / "main.py").write_bytes(APP.encode() + b"\xff")
    with pytest.raises(TaskError, match=r"forgets-the-note: there is no solution/app/main\.py with text"):
        tasks.load("tiny", tmp_path)


def test_two_mutants_of_one_name_are_named(tmp_path):
    assert problems(tmp_path, **{"mutants.yaml": mutants_with(name="ignores-the-key")}) == [
        "tiny/mutants.yaml: ignores-the-key: 2 mutants have this name; rename them"
    ]


@pytest.mark.parametrize("name", ["idle", "solution"])
def test_a_mutant_may_not_take_the_name_of_another_known_answer(tmp_path, name):
    assert problems(tmp_path, **{"mutants.yaml": mutants_with(name=name)}) == [
        f"tiny/mutants.yaml: {name}: the name is taken by a known answer of every task; rename it"
    ]


def test_every_problem_is_told_at_once(tmp_path):
    found = problems(
        tmp_path,
        **{
            "task.yaml": TASK.replace("{data}", "{date}"),
            "mutants.yaml": mutants_with(find="nowhere", caught_by=["gone", "also_gone"]),
            "checks/test_more.py": "def test_more(): pass\n",
        },
    )
    assert [one.split(":")[0] for one in found] == ["tiny/task.yaml", "tiny/checks", *["tiny/mutants.yaml"] * 3]


def test_a_check_without_mutant_is_found(tmp_path):
    write_tiny_task(tmp_path, **{"mutants.yaml": "[]\n"})
    task = tasks.load("tiny", tmp_path)
    assert tasks.without_mutant(task) == ["keeps_a_note", "misses_an_unknown_note", "refuses_a_wrong_key"]


def test_names_are_the_folders_even_of_a_task_that_lacks_its_file(tmp_path):
    write_tiny_task(tmp_path, "b-task")
    write_tiny_task(tmp_path, "a-task", **{"task.yaml": None})
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "README.md").write_text("Tasks\n")
    assert tasks.names(tmp_path) == ["a-task", "b-task"]


def test_no_task_at_all_is_refused(tmp_path):
    with pytest.raises(TaskError, match=r"holds no task; a task is a folder with task\.yaml"):
        tasks.names(tmp_path)
    with pytest.raises(TaskError, match="holds no task"):
        tasks.names(tmp_path / "gone")


@pytest.mark.parametrize("name", ["tinny", "", ".", "..", "tiny/", "../tasks/tiny", "tiny/checks", "/etc"])
def test_an_unknown_task_is_refused_with_those_there_are(tmp_path, name):
    write_tiny_task(tmp_path)
    with pytest.raises(TaskError, match=r"there is no such task; there are: tiny$"):
        tasks.load(name, tmp_path)
