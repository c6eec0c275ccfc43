"""The command line: the one module that prints and exits."""

from __future__ import annotations

import json
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from . import proof, report, sandbox, session, tasks
from .agents import Arm, Effort, Live, PackError, arm
from .agents.live import CredentialsError, credentials
from .grade import GraderError, grader
from .model import Task, Trial
from .postgres import PostgresError
from .results import ResultsError, Store

DONE, SHORT, MISUSE, BROKEN = 0, 1, 2, 3
LOG_WIDTH = 140
app = typer.Typer(
    add_completion=False,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
told = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Unconfined = Annotated[bool, typer.Option("--unconfined", help="Run without bubblewrap; results say so.")]
Jobs = Annotated[int, typer.Option("--jobs", "-j", min=1, max=64, help="How many at once.")]
RESULTS = sandbox.ROOT / "evals" / "results"


@contextmanager
def refusals() -> Iterator[None]:
    """Turn the errors that a person can mend into one message and the right exit code."""
    try:
        yield
    except (tasks.TaskError, PackError, CredentialsError, ResultsError) as error:
        _refuse(str(error), MISUSE)
    except (GraderError, PostgresError, sandbox.SandboxError) as error:
        _refuse(str(error), BROKEN)


def _refuse(message: str, code: int) -> None:
    told.print(message, style="red", markup=False)
    raise typer.Exit(code)


def page() -> Console:
    """Standard output: as wide as the terminal, or as a log is where there is none."""
    return Console(emoji=False, width=None if sys.stdout.isatty() else LOG_WIDTH)


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
def run(
    task: Annotated[list[str] | None, typer.Option("--task", help="Only this task; repeat for more.")] = None,
    arms: Annotated[
        list[str] | None, typer.Option("--arm", help="pack, bare, or NAME=PATH of a plugin; repeat for more.")
    ] = None,
    model: Annotated[
        str,
        typer.Option(help="auto, scripted, or the name of a model: auto is sonnet with credentials, else scripted."),
    ] = "auto",
    effort: Annotated[Effort, typer.Option(help="How hard a live model thinks.")] = "medium",
    trials: Annotated[int, typer.Option(min=1, max=1000, help="How often each arm does each task.")] = 1,
    jobs: Jobs = 2,
    max_usd: Annotated[float, typer.Option(min=0, help="A live run starts no trial beyond this sum.")] = 20.0,
    out: Annotated[Path | None, typer.Option(help="Where results go; a new folder.", file_okay=False)] = None,
    as_json: AsJson = False,
    unconfined: Unconfined = False,
) -> None:
    """Score the agent on the tasks: live with credentials for Claude, scripted without."""
    with refusals():
        chosen = tuple(tasks.load(name) for name in dict.fromkeys(task or tasks.names()))
        plan = session.Plan(chosen, _equipped(arms or ["pack"]), trials, jobs, max_usd, _live(model, effort))
        _announce(plan)
        confined = _run_confined(plan, unconfined)
        store = Store.create(out or RESULTS / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S"))
        with grader(confined=confined) as judge, progress(plan.total, "trials") as done:
            outcome = session.run(plan, judge, store, lambda one: done(_line(one)))
    ordered = sorted(outcome.trials, key=lambda one: (one.task, one.arm, one.number))
    document = report.ran(plan.mode, ordered, outcome.stopped)
    (store.folder / "run.json").write_text(json.dumps(document, indent=2) + "\n")
    told.print(f"Results: {store.folder}", markup=False)
    if as_json:
        _print_json(document)
    else:
        report.show_run(page(), plan.mode, ordered, outcome.stopped)
    raise typer.Exit(_run_status(ordered, outcome.stopped))


def _equipped(texts: list[str]) -> tuple[Arm, ...]:
    """The arms. Results are filed under their names, so no two may share one."""
    found = tuple(arm(text) for text in dict.fromkeys(texts))
    for name, count in Counter(one.name for one in found).items():
        if count > 1:
            raise PackError(f"--arm {name}: {count} arms have this name; give each its own")
    return found


def _live(model: str, effort: Effort) -> Live | None:
    found = credentials() if model != "scripted" else None
    if found is None:
        if model not in ("auto", "scripted"):
            _refuse(
                f"--model {model}: needs credentials; set ANTHROPIC_API_KEY, or use --model scripted for a dry run",
                MISUSE,
            )
        return None
    return Live(found, "sonnet" if model == "auto" else model, effort)


def _announce(plan: session.Plan) -> None:
    names = ", ".join(one.name for one in plan.arms)
    size = f"{plan.total} trials: {len(plan.tasks)} tasks, arms {names}, {plan.trials} each"
    if plan.live is None:
        told.print(f"Scripted: no model is asked, a known conversation is played. {size}.", markup=False)
    else:
        told.print(f"Live with {plan.live.model}, effort {plan.live.effort}. {size}. At most ${plan.max_usd:g}.",
                   markup=False)  # fmt: skip


def _run_confined(plan: session.Plan, unconfined: bool) -> bool:
    """A live agent is never left unconfined silently; a scripted run says that it is."""
    if unconfined or plan.live is not None:
        return _confined(unconfined)
    if why := sandbox.obstacle():
        told.print(f"Unconfined, because {why}", style="yellow", markup=False)
        return False
    return True


def _line(trial: Trial) -> str:
    score = f"{trial.grade.score:.1%} of checks" if trial.grade else (trial.error or "no grade")[:200]
    return f"{trial.task}, {trial.arm}, trial {trial.number}: {trial.status}, {score}"


def _run_status(trials: list[Trial], stopped: str | None) -> int:
    if stopped or not trials or any(not one.status.counts for one in trials):
        return BROKEN
    return DONE if all(one.grade and not one.grade.failing() for one in trials) else SHORT


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
        report.show_grade(page(), chosen, result)
    raise typer.Exit(DONE if not result.failing() else SHORT)


@app.command()
def prove(
    names: Annotated[list[str] | None, typer.Argument(help="Tasks; all when none is named.")] = None,
    mutant: Annotated[list[str] | None, typer.Option("--mutant", help="Only these mutants.")] = None,
    jobs: Jobs = 3,  # one waits while two compute
    as_json: AsJson = False,
    unconfined: Unconfined = False,
) -> None:
    """Certify the tasks: idle fails, the solution passes, every mutant is caught by exactly what it names."""
    with refusals():
        chosen = [tasks.load(name) for name in dict.fromkeys(names or tasks.names())]
        only = frozenset(mutant or ())
        known = {one.name for task in chosen for one in task.mutants}
        if only - known:
            _refuse(
                f"there is no mutant {', '.join(sorted(only - known))} in {', '.join(t.name for t in chosen)}", MISUSE
            )
        total = sum(2 + sum(not only or one.name in only for one in task.mutants) for task in chosen)
        with grader(confined=_confined(unconfined)) as judge, progress(total, "proof") as done:
            proofs = proof.prove(chosen, judge, jobs=jobs, only=only, done=done)
    if as_json:
        _print_json(report.proven(proofs))
    else:
        report.show_proofs(page(), proofs)
    raise typer.Exit(DONE if all(one.ok for one in proofs) else SHORT)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Show the tasks, their checks by kind, and the arms."""
    with refusals():
        chosen: list[Task] = [tasks.load(name) for name in tasks.names()]
    if as_json:
        _print_json(report.listed(chosen))
    else:
        report.show_list(page(), chosen)


@app.callback()
def about() -> None:
    """Score a FastAPI agent, judge what it wrote, and prove the judges. Without a command: run."""


def main() -> None:
    try:
        app(_with_command(sys.argv[1:]))
    except Exception:  # noqa: BLE001  status 1 would say that the work was judged and fell short
        told.print(traceback.format_exc(), markup=False)
        sys.exit(BROKEN)


def _with_command(arguments: list[str]) -> list[str]:
    """`run` is what is meant when no command is named: `run.py --arm bare` is `run.py run --arm bare`."""
    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    if not arguments or arguments[0] in commands or arguments[0] in ("--help", "-h"):
        return arguments or ["run"]
    return ["run", *arguments]
