"""A model that plays a conversation made from a folder of files. It proves the machinery, not what a model can do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from anthropic.types import Message, TextBlock, ToolUseBlock

from ..model import Task
from ..workspace import CACHES
from .messages import MAIN, Refusal, Request, message, text, tool
from .packs import Arm

Turn = list[TextBlock | ToolUseBlock]
RUN_TESTS = "python -m pytest -q -p no:cacheprovider && ruff check --no-cache --select E9,F ."


@dataclass(frozen=True)
class Script:
    """Turns by thread. `sub` is played by the one subagent, and is empty where nobody is delegated to."""

    main: tuple[Turn, ...]
    sub: tuple[Turn, ...] = ()


def script(task: Task, arm: Arm, pack: str | None, folder: Path, workspace: str) -> Script:
    """The conversation that leads to the files of `folder`.

    `pack` and `workspace` are the places that the agent sees; None where no pack is loaded.
    """
    ids = (f"toolu_{number:05d}" for number in count(1))
    work = tuple(_work(task, arm, pack, folder, workspace, ids))
    if arm.agent is None:
        return Script(main=work)
    call = tool(next(ids), "Agent", description="Build the service", prompt=task.instruction, subagent_type=arm.agent)
    return Script(main=([text("I call the agent."), call], [text("The agent is done.")]), sub=work)


def _work(task: Task, arm: Arm, pack: str | None, folder: Path, place: str, ids: Iterator[str]) -> Iterator[Turn]:
    skill = next((name for name in task.exercises if name in arm.skills), min(arm.skills, default=None))
    if skill is not None and pack is not None:
        yield [text("I load the skill that fits."), tool(next(ids), "Skill", skill=f"{arm.plugin}:{skill}")]
        assert arm.folder is not None
        if found := sorted(arm.folder.glob(f"skills/{skill}/references/*.md")):
            read = f"{pack}/skills/{skill}/references/{found[0].name}"
            yield [tool(next(ids), "Read", file_path=read)]
    files = sorted(path for path in folder.rglob("*") if path.is_file() and wanted(path.relative_to(folder)))
    names = [path.relative_to(folder).as_posix() for path in files]
    # The Write tool refuses to overwrite a file that was not read; an empty file can't be read in a useful way.
    there = [name for name in names if (task.starter / name).is_file() and (task.starter / name).stat().st_size]
    if there:
        yield [tool(next(ids), "Read", file_path=f"{place}/{name}") for name in there]
    empty = [name for name in names if (folder / name).stat().st_size == 0]
    writes: Turn = [
        tool(next(ids), "Write", file_path=f"{place}/{name}", content=path.read_text(encoding="utf-8"))
        for name, path in zip(names, files, strict=True)
        if name not in empty
    ]
    yield writes
    touch = " ".join(f"'{name}'" for name in empty)
    prepare = f"mkdir -p $(dirname {touch}) && touch {touch} && " if empty else ""
    yield [tool(next(ids), "Bash", command=prepare + RUN_TESTS, description="Run the tests", timeout=120_000)]
    yield [text(f"Done. I ran `{RUN_TESTS}`: exit code 0.")]


def wanted(path: Path) -> bool:
    return CACHES.isdisjoint(path.parts) and path.suffix != ".pyc" and path.name != ".gitkeep"


@dataclass
class ScriptedModel:
    """Answers by thread and turn. What the script does not foresee is a problem; so is a turn never asked for."""

    script: Script
    served: set[tuple[str, int]] = field(default_factory=set)
    unforeseen: list[str] = field(default_factory=list)
    _subagent: str | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ids: Iterator[int] = field(default_factory=lambda: count(1))

    def answer(self, request: Request) -> Message | Refusal:
        with self._lock:
            return self._answer(request)

    def _answer(self, request: Request) -> Message | Refusal:
        part = MAIN if request.thread == MAIN else "sub"
        if part == "sub":
            self._subagent = self._subagent or request.thread
            if request.thread != self._subagent:
                return self._refuse(f"a second subagent, {request.thread}")
        turns = self.script.main if part == MAIN else self.script.sub
        if request.turn >= len(turns):
            return self._refuse(f"turn {request.turn} of the {part} thread, which has {len(turns)}")
        for is_error, said in request.tool_results():
            if is_error:
                return self._refuse(f"a tool call of the {part} thread failed: {said[-1500:]}")
        self.served.add((part, request.turn))
        return message(f"msg_{next(self._ids):06d}", str(request.body["model"]), turns[request.turn])

    def _refuse(self, what: str) -> Refusal:
        # 403, because the CLI tries it once only.
        self.unforeseen.append(what)
        return Refusal(403, "permission_error", f"not in the script: {what}")

    def problems(self) -> list[str]:
        """What went off the script; empty when it was played from the first turn to the last."""
        every = {(MAIN, turn) for turn in range(len(self.script.main))}
        every |= {("sub", turn) for turn in range(len(self.script.sub))}
        never = [f"turn {turn} of the {part} thread was never asked for" for part, turn in sorted(every - self.served)]
        return [*self.unforeseen, *never]
