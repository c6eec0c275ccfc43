"""One agent on one task, once: the workspace is filled, then judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .agents import Agent
from .grade import Grader, GraderError
from .model import Status, Task, Trial, Work


def run(task: Task, agent: Agent, grader: Grader, folder: Path, *, arm: str, number: int) -> tuple[Trial, Work]:
    """Let `agent` work in `folder` (it must not exist), then grade what it left."""
    work = agent.work(task, folder)
    made = Trial(
        task=task.name,
        arm=arm,
        number=number,
        status=work.status,
        grade=None,
        usage=work.usage,
        seconds=work.seconds,
        error=work.error,
        skills_loaded=work.skills_loaded,
    )
    if not work.status.counts:
        return made, work
    try:
        graded = grader.grade(task, folder)
    except GraderError as error:
        return replace(made, status=Status.GRADER_FAILED, error=str(error)), work
    return replace(made, grade=graded), work
