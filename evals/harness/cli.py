"""The command line: the one module that prints and exits."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from . import proof, report, sandbox, tasks
from .grade import GraderError, grader
from .model import Task
from .postgres import PostgresError

DONE, SHORT, MISUSE, BROKEN = 0, 1, 2, 3
app = typer.Typer(add_completion=False, no_args_is_help=False, pretty_exceptions_enable=False)
told = Console(stderr=True, highlight=False)
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Unconfined = Annotated[bool, typer.Option("--unconfined", help="Run without bubblewrap; results say so.")]
Jobs = Annotated[int, typer.Option("--jobs", "-j", min=1, max=64, help="How many at once.")]


@contextmanager
def refusals() -> Iterator[None]:
    """Turn the errors that a person can mend into one message and the right exit code."""
    try:
        yield
    except tasks.TaskError as error:
        _refuse(str(error), MISUSE)
    except (GraderError, PostgresError, sandbox.SandboxError) as error:
        _refuse(str(error), BROKEN)


def _refuse(message: str, code: int) -> None:
    told.print(message, style="red", markup=False)
    raise typer.Exit(code)


@contextmanager
def progress(total: int, what: str) -> Iterator[Callable[[str], None]]:
    """A bar on a terminal, a line a step elsewhere."""
    if not told.is_terminal:
        count = 0

        def line(text: str) -> None:
            nonlocal count
            count += 1
            told.print(f"[{count}/{total}] {text}", markup=False)

        yield line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=told, transient=True) as bar:
        task = bar.add_task(what, total=total)

        def advance(text: str) -> None:
            bar.update(task, advance=1, description=text)

        yield advance


def _print_json(document: Any) -> None:
    print(json.dumps(document, indent=2, ensure_ascii=True))


def _confined(unconfined: bool) -> bool:
    """Whether to confine. Where it can't be done, the caller must have said --unconfined."""
    if unconfined:
        told.print("Unconfined: neither the agent nor the graded code is kept from this machine.", style="yellow")
        return False
    if why := sandbox.obstacle():
        _refuse(f"{why}\n--unconfined does without; use it for code that you trust.", BROKEN)
    return True


@app.command()
def grade(
    task: Annotated[str, typer.Argument(help="The task's folder name.")],
    directory: Annotated[Path, typer.Argument(help="The workspace to judge.", file_okay=False)],
    as_json: AsJson = False,
    unconfined: Unconfined = False,
) -> None:
    """Judge a workspace that anybody or anything wrote."""
    with refusals():
        chosen = tasks.load(task)
        if not directory.is_dir():
            _refuse(f"{directory}: is no folder; give the workspace to judge", MISUSE)
        with grader(confined=_confined(unconfined)) as judge:
            result = judge.grade(chosen, directory.resolve())
    if as_json:
        _print_json(report.graded(chosen, result))
    else:
        report.show_grade(Console(), chosen, result)
    raise typer.Exit(DONE if not result.failing() else SHORT)


@app.command()
def prove(
    names: Annotated[list[str] | None, typer.Argument(help="Tasks; all when none is named.")] = None,
    mutant: Annotated[list[str] | None, typer.Option("--mutant", help="Only these mutants.")] = None,
    jobs: Jobs = 2,
    as_json: AsJson = False,
    unconfined: Unconfined = False,
) -> None:
    """Certify the tasks: idle fails, the solution passes, every mutant is caught by exactly what it names."""
    with refusals():
        chosen = [tasks.load(name) for name in names or tasks.names()]
        only = frozenset(mutant or ())
        known = {one.name for task in chosen for one in task.mutants}
        if only - known:
            _refuse(f"there is no mutant {', '.join(sorted(only - known))} in {', '.join(t.name for t in chosen)}", MISUSE)
        total = sum(2 + sum(not only or one.name in only for one in task.mutants) for task in chosen)
        with grader(confined=_confined(unconfined)) as judge, progress(total, "proof") as done:
            proofs = proof.prove(chosen, judge, jobs=jobs, only=only, done=done)
    if as_json:
        _print_json(report.proven(proofs))
    else:
        report.show_proofs(Console(), proofs)
    raise typer.Exit(DONE if all(one.ok for one in proofs) else SHORT)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Show the tasks, their checks by kind, and the arms."""
    with refusals():
        chosen: list[Task] = [tasks.load(name) for name in tasks.names()]
    if as_json:
        _print_json(report.listed(chosen))
    else:
        report.show_list(Console(), chosen)


def main() -> None:
    app()
