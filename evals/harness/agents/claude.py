"""Claude Code as the agent: the real CLI in a sandbox, driven through the SDK, with an arm loaded as users load it."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import anyio
import claude_agent_sdk
from claude_agent_sdk import (
    AssistantMessage,
    ClaudeAgentOptions,
    ClaudeSDKClient,
    ClaudeSDKError,
    ResultMessage,
    SystemMessage,
    TaskNotificationMessage,
    ToolUseBlock,
    UserMessage,
)

from .. import contract, relay, sandbox, workspace
from ..model import Status, Task, Usage, Work
from .live import Credentials, LiveModel
from .messages import MAIN
from .packs import Arm
from .scripted import ScriptedModel, script
from .server import Observed, serving

CLI = Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"
TOOLS = ["Agent", "Skill", "Read", "Write", "Edit", "Bash", "Glob", "Grep"]
PACK = "/opt/pack"
PORT = 8080
# No connection but to the given address, one result a run, and nothing listed that the arm did not bring.
QUIET = (
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
    "DISABLE_AUTOUPDATER",
    "DISABLE_AUTO_COMPACT",
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS",
    "CLAUDE_CODE_DISABLE_BUNDLED_SKILLS",
    "CLAUDE_AGENT_SDK_DISABLE_BUILTIN_AGENTS",
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY",
    "CLAUDE_CODE_DISABLE_CLAUDE_MDS",
    "CLAUDE_CODE_DISABLE_GIT_INSTRUCTIONS",
    "CLAUDE_CODE_DISABLE_WORKFLOWS",
    "CLAUDE_CODE_DISABLE_CRON",
    "CLAUDE_CODE_MAX_SUBAGENT_SPAWN_DEPTH",
)
FROM_SDK = ("CLAUDE_CODE_ENTRYPOINT", "CLAUDE_AGENT_SDK_VERSION")
TURN_LIMIT = re.compile(r"stopped at its \d+-turn limit")
LARGEST_MESSAGE = 64 << 20
Effort = Literal["low", "medium", "high", "xhigh", "max"]


@dataclass(frozen=True)
class Setting:
    """Where a trial runs and what it may use. `scratch` is private to the run."""

    scratch: Path
    etc: tuple[sandbox.Mount, ...]
    confined: bool
    minutes: float = 40.0
    max_turns: int = 200
    max_usd: float = 10.0


@dataclass(frozen=True)
class Live:
    """The real API. `model` and `effort` are pinned, so that two runs can be compared."""

    credentials: Credentials
    model: str = "sonnet"
    effort: Effort = "medium"


@dataclass(frozen=True)
class Claude:
    """Runs an arm on a task. Without `live`, a scripted model plays the task's solution through the same path."""

    arm: Arm
    setting: Setting
    live: Live | None = None
    answer: Path | None = field(default=None)

    def work(self, task: Task, folder: Path) -> Work:
        workspace.starter(task, folder)
        workspace.commit(folder)
        place = self.setting.scratch / f"agent-{secrets.token_hex(4)}"
        place.mkdir(mode=0o700)
        started = time.monotonic()
        pack = self.arm.stage(place / "pack")
        seen_pack = None if pack is None else PACK if self.setting.confined else str(pack)
        token = secrets.token_urlsafe(24)
        model = self._model(task, seen_pack, folder)
        try:
            with serving(place / "api.sock", model, self.arm, token) as observed:
                launcher = self._launcher(place, folder, pack, token)
                options = self._options(folder, launcher, seen_pack)
                limit_s, ours = self.setting.minutes * 60, None if self.setting.confined else place
                session = anyio.run(_session, options, contract.prompt(task, self.arm.agent), limit_s, ours)
        finally:
            if isinstance(model, LiveModel):
                model.close()
        return _judged(self.arm, session, observed, model.problems(), time.monotonic() - started)

    def _model(self, task: Task, pack: str | None, folder: Path) -> ScriptedModel | LiveModel:
        if self.live is not None:
            return LiveModel(self.live.credentials)
        seen = sandbox.WORKSPACE if self.setting.confined else str(folder)
        return ScriptedModel(script(task, self.arm, pack, self.answer or task.solution, seen))

    def _options(self, folder: Path, launcher: Path, pack: str | None) -> ClaudeAgentOptions:
        live = self.live
        return ClaudeAgentOptions(
            cwd=str(folder),
            cli_path=str(launcher),
            env={},
            setting_sources=[],
            strict_mcp_config=True,
            plugins=[] if pack is None else [{"type": "local", "path": pack}],
            tools=TOOLS,
            allowed_tools=TOOLS,
            disallowed_tools=["WebFetch", "WebSearch"],
            permission_mode="acceptEdits",
            model=live.model if live else "sonnet",
            effort=live.effort if live else "medium",
            max_turns=self.setting.max_turns,
            max_budget_usd=self.setting.max_usd,
            max_buffer_size=LARGEST_MESSAGE,
            forward_subagent_text=True,
            settings='{"attribution": {"commit": "", "pr": ""}}',
        )

    def _launcher(self, place: Path, folder: Path, pack: Path | None, token: str) -> Path:
        """Write what the SDK starts as `claude`: a sandbox with a relay to the trial's server, and the CLI."""
        environment = {
            **dict.fromkeys(QUIET, "1"),
            "CLAUDE_CODE_MAX_RETRIES": "10" if self.live else "2",
            "API_TIMEOUT_MS": "600000" if self.live else "30000",
            "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{PORT}",
            "ANTHROPIC_API_KEY": token,
            "SHELL": "/bin/bash",
        }
        if self.setting.confined:
            lines = self._confined(place, folder, pack, environment)
        else:
            lines = self._unconfined(place, environment)
        path = place / "claude"
        path.write_text("\n".join(("#!/bin/sh", *lines)) + "\n")
        path.chmod(0o700)
        return path

    def _confined(self, place: Path, folder: Path, pack: Path | None, environment: Mapping[str, str]) -> Iterator[str]:
        box = sandbox.python_box(self.setting.etc).with_mounts(
            sandbox.Mount(str(CLI), "/opt/claude"),
            sandbox.Mount(relay.__file__, "/opt/relay.py"),
            sandbox.Mount(str(place / "api.sock"), "/run/api.sock"),
            sandbox.Mount(str(folder), sandbox.WORKSPACE, writable=True),
            *([] if pack is None else [sandbox.Mount(str(pack), PACK)]),
        )
        inside = {**environment, "CLAUDE_CONFIG_DIR": f"{sandbox.HOME}/.claude", "GIT_CONFIG_GLOBAL": "/etc/gitconfig"}
        passed = " ".join(f'--setenv {name} "${name}"' for name in FROM_SDK)
        command = [str(sandbox.bubblewrap()), *box.with_environment(inside).arguments()]
        python = f"{sandbox.INSIDE_ENVIRONMENT}/bin/python"
        # env -i: bubblewrap's own environment can be read inside, in /proc/1/environ.
        yield (
            f"exec env -i {shlex.join(command)} {passed} -- "
            f'{python} -I /opt/relay.py {PORT} /run/api.sock /opt/claude "$@"'
        )

    def _unconfined(self, place: Path, environment: Mapping[str, str]) -> Iterator[str]:
        with relay.listen(0) as probe:
            port = probe.getsockname()[1]
        home = place / "home"
        home.mkdir()
        own = {
            **environment,
            "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}",
            "HOME": str(home),
            "CLAUDE_CONFIG_DIR": str(home / ".claude"),
            "CLAUDE_CODE_TMPDIR": str(place),
            "PATH": f"{sandbox.SERVICE_ENVIRONMENT}/bin:/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
        }
        passed = " ".join(f'{name}="${name}"' for name in FROM_SDK)
        assigned = " ".join(f"{name}={shlex.quote(value)}" for name, value in own.items())
        python = shlex.quote(str(sandbox.SERVICE_ENVIRONMENT / "bin" / "python"))
        run = shlex.join(["-I", relay.__file__, str(port), str(place / "api.sock"), str(CLI)])
        yield f'exec env -i {assigned} {passed} {python} {run} "$@"'


@dataclass
class _Session:
    """The messages of one CLI run, and how it ended."""

    messages: list[Any] = field(default_factory=list)
    timed_out: bool = False
    crash: str | None = None


async def _session(options: ClaudeAgentOptions, prompt: str, limit_s: float, place: Path | None) -> _Session:
    """Drive the CLI to its result. ClaudeSDKClient, because leaving `query()` early leaves the CLI running."""
    session = _Session()
    client = ClaudeSDKClient(options)
    try:
        with anyio.move_on_after(limit_s) as scope:
            await client.connect()
            await client.query(prompt)
            async for message in client.receive_response():
                session.messages.append(message)
        if scope.cancelled_caught:
            session.timed_out = True
            await _interrupted(client, session)
    except Exception as error:  # noqa: BLE001  the SDK has no class for its own time-outs and for what its reader met
        session.crash = f"{type(error).__name__}: {error}"
    finally:
        await client.disconnect()
        if place is not None:
            _end_left(place)
    # The SDK waits for the process, not for the end of its pipes; the loop must see that before it is closed.
    await anyio.sleep(0.05)
    return session


def _end_left(place: Path) -> None:
    """Without a PID namespace the CLI's end ends nothing else: what has the trial's environment is what it started."""
    mark = f"CLAUDE_CODE_TMPDIR={place}\0".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (process / "environ").read_bytes():
                os.kill(int(process.name), signal.SIGKILL)


async def _interrupted(client: ClaudeSDKClient, session: _Session) -> None:
    """Ask for an end, and take the result with the cost so far."""
    with suppress(ClaudeSDKError), anyio.move_on_after(15):
        await client.interrupt()
        async for message in client.receive_response():
            session.messages.append(message)


def _judged(arm: Arm, session: _Session, observed: Observed, off_script: list[str], seconds: float) -> Work:
    status, error = _status(arm, session, observed, off_script)
    results = [message for message in session.messages if isinstance(message, ResultMessage)]
    return Work(
        status=status,
        usage=_usage(results[-1] if results else None, observed),
        seconds=seconds,
        error=error,
        transcript=tuple(_transcript(session.messages)),
        skills_loaded=tuple(sorted(observed.skills)),
    )


def _status(arm: Arm, session: _Session, observed: Observed, off_script: list[str]) -> tuple[Status, str | None]:
    """The first of the things that can have gone wrong, or a completed run. Several of them look like success."""
    init = next((m.data for m in session.messages if isinstance(m, SystemMessage) and m.subtype == "init"), None)
    results = [message for message in session.messages if isinstance(message, ResultMessage)]
    if off_script:
        return Status.SCRIPT_FAILED, "; ".join(off_script)
    if arm.agent is not None and init is not None and (problem := _not_loaded(arm, init)):
        return Status.AGENT_NOT_LOADED, problem
    if session.timed_out and init is not None:
        return Status.LIMIT, "the time limit of the trial was reached"
    if session.crash is not None:
        return Status.CLI_FAILED, session.crash
    if session.timed_out:
        return Status.CLI_FAILED, "the CLI said nothing within the time limit of the trial"
    if init is None or not results:
        return Status.CLI_FAILED, f"the CLI ended after {len(session.messages)} messages without a result"
    result = results[-1]
    if result.subtype in ("error_max_turns", "error_max_budget_usd"):
        return Status.LIMIT, result.subtype
    if result.is_error or result.subtype != "success":
        return Status.API_FAILED, f"{result.subtype} {result.api_error_status}: {result.result or result.errors}"[:500]
    return _delegation(arm, session, observed)


def _not_loaded(arm: Arm, init: Mapping[str, Any]) -> str | None:
    agents, skills = init.get("agents", []), init.get("skills", [])
    if arm.agent not in agents:
        return f"the CLI did not load the agent {arm.agent}: it has {agents}; {init.get('plugin_errors') or ''}"
    missing = [name for name in arm.skills if f"{arm.plugin}:{name}" not in skills]
    return f"the CLI did not load the skills {missing}: it has {skills}" if missing else None


def _delegation(arm: Arm, session: _Session, observed: Observed) -> tuple[Status, str | None]:
    """A subagent that died leaves a successful run behind; only its notification tells."""
    if arm.agent is None:
        return Status.COMPLETED, None
    notes = [message for message in session.messages if isinstance(message, TaskNotificationMessage)]
    if not notes or arm.agent.rpartition(":")[2] not in observed.agents:
        return Status.AGENT_NOT_LOADED, "the agent was never called: no request had its prompt"
    if unread := sorted(_called(arm, session) - observed.skills):
        return Status.AGENT_NOT_LOADED, f"the skills {unread} were called, but no request had their text"
    for note in notes:
        if note.status != "completed":
            return Status.SUBAGENT_FAILED, f"the agent ended as {note.status}: {note.summary}"[:500]
        if TURN_LIMIT.search(note.summary or ""):
            return Status.LIMIT, note.summary[:500]
    return Status.COMPLETED, None


def _called(arm: Arm, session: _Session) -> set[str]:
    """The arm's skills that were asked for through the Skill tool, in any thread."""
    blocks = [
        block
        for message in session.messages
        if isinstance(message, AssistantMessage)
        for block in message.content
        if isinstance(block, ToolUseBlock) and block.name == "Skill"
    ]
    return {str(block.input.get("skill", "")).rpartition(":")[2] for block in blocks} & set(arm.skills)


def _usage(result: ResultMessage | None, observed: Observed) -> Usage:
    if result is None:
        return Usage(turns=observed.answered)
    models: Mapping[str, Any] = result.model_usage or {}

    def total(*keys: str) -> int:
        return sum(int(used.get(key) or 0) for used in models.values() for key in keys)

    return Usage(
        turns=observed.answered,
        input_tokens=total("inputTokens", "cacheReadInputTokens", "cacheCreationInputTokens"),
        output_tokens=total("outputTokens"),
        cost_usd=result.total_cost_usd or 0.0,
    )


def _transcript(messages: list[Any]) -> Iterator[Mapping[str, Any]]:
    """What was said and done, in order, ready for JSON."""
    for message in messages:
        if isinstance(message, AssistantMessage | UserMessage):
            role = "assistant" if isinstance(message, AssistantMessage) else "user"
            thread = "agent" if message.parent_tool_use_id else MAIN
            content = (
                message.content if isinstance(message.content, str) else [vars(block) for block in message.content]
            )
            yield {"role": role, "thread": thread, "content": content}
        elif isinstance(message, TaskNotificationMessage):
            yield {"role": "notification", "thread": MAIN, "content": f"{message.status}: {message.summary}"}
        elif isinstance(message, ResultMessage):
            yield {"role": "result", "thread": MAIN, "content": message.result or message.subtype}
