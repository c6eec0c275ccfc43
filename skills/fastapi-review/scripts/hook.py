"""Claude Code's PostToolUse hook: audits the Python file that was just written, if its project uses FastAPI.

Reads the hook's JSON from standard input. Prints nothing when there is nothing to say; otherwise JSON whose
`additionalContext` Claude Code shows to the model. It never fails a tool call: whatever goes wrong here is silent,
unless FASTAPI_PACK_DEBUG is set. FASTAPI_PACK_NO_AUDIT=1 turns it off.
"""

import os
import sys


def main():
    if os.environ.get("FASTAPI_PACK_NO_AUDIT", "0") not in ("", "0") or sys.version_info < (3, 10):
        return
    import json

    event = json.load(sys.stdin)
    name = event.get("tool_input", {}).get("file_path", "")
    if not name.endswith(".py"):
        return
    path = os.path.join(event.get("cwd", ""), name)
    if not os.path.isfile(path):
        return
    from fastapi_audit.feedback import feedback

    if said := feedback(path):
        answer = {"hookEventName": "PostToolUse", "additionalContext": said}
        print(json.dumps({"hookSpecificOutput": answer}))


if __name__ == "__main__":
    try:
        main()
    except Exception:
        if os.environ.get("FASTAPI_PACK_DEBUG"):
            raise
