"""Whatever turns a task into a workspace. The only room that knows the Claude Agent SDK."""

from .claude import Claude, Effort, Live, Setting
from .known import Agent, Idle, Mutated, Solution
from .packs import Arm, PackError, arm

__all__ = ["Agent", "Arm", "Claude", "Effort", "Idle", "Live", "Mutated", "PackError", "Setting", "Solution", "arm"]
