"""The Messages API on its own terms: requests as the CLI sends them, answers as it accepts them.

Shapes come from anthropic's own types, so that an answer which the API could not give can't be built.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, cast

from anthropic.types import (
    InputJSONDelta,
    Message,
    MessageDeltaUsage,
    RawContentBlockDeltaEvent,
    RawContentBlockStartEvent,
    RawContentBlockStopEvent,
    RawMessageDeltaEvent,
    RawMessageStartEvent,
    RawMessageStopEvent,
    TextBlock,
    TextDelta,
    ToolUseBlock,
    Usage,
)
from anthropic.types.raw_message_delta_event import Delta

MAIN = "main"


@dataclass(frozen=True)
class Request:
    """One POST /v1/messages. Header names are lower case."""

    headers: dict[str, str]
    body: dict[str, Any]
    raw: bytes = b""

    @property
    def thread(self) -> str:
        """`main`, or the id of the subagent's thread."""
        return self.headers.get("x-claude-code-agent-id", MAIN)

    @property
    def turn(self) -> int:
        """Assistant messages so far: a retry has the same turn, a request counter would not."""
        return sum(message["role"] == "assistant" for message in self.body["messages"])

    @property
    def streams(self) -> bool:
        return bool(self.body.get("stream"))

    def system(self) -> str:
        return "\n".join(_texts(self.body.get("system")))

    def conversation(self) -> str:
        return "\n".join(text for message in self.body["messages"] for text in _texts(message["content"]))

    def tool_results(self) -> Iterator[tuple[bool, str]]:
        """Since the last answer: is it an error, and what does it say. The CLI puts notes of its own behind them."""
        new = takewhile(lambda message: message["role"] != "assistant", reversed(self.body["messages"]))
        for message in reversed(list(new)):
            for block in message["content"] if isinstance(message["content"], list) else []:
                if block.get("type") == "tool_result":
                    yield bool(block.get("is_error")), "\n".join(_texts(block.get("content")))


def _texts(value: Any) -> Iterator[str]:
    """Every text in a system prompt or a message's content, tool results included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)
    elif isinstance(value, dict):
        yield from _texts(value.get("text"))
        yield from _texts(value.get("content"))


@dataclass(frozen=True)
class Refusal:
    """An error answer. Status 403 is tried once by the CLI; others are tried again."""

    status: int
    kind: str
    text: str

    def data(self) -> bytes:
        return json.dumps({"type": "error", "error": {"type": self.kind, "message": self.text}}).encode()


def text(value: str) -> TextBlock:
    return TextBlock(type="text", text=value, citations=None)


def tool(identifier: str, name: str, **arguments: Any) -> ToolUseBlock:
    return ToolUseBlock.model_validate({"type": "tool_use", "id": identifier, "name": name, "input": arguments})


def message(identifier: str, model: str, content: list[TextBlock | ToolUseBlock]) -> Message:
    """A complete answer; its token counts are made up from its size and say nothing about a model."""
    uses_tool = any(block.type == "tool_use" for block in content)
    size = sum(len(block.model_dump_json()) for block in content)
    return Message(
        id=identifier,
        type="message",
        role="assistant",
        model=model,
        content=cast("Any", content),
        stop_reason="tool_use" if uses_tool else "end_turn",
        stop_sequence=None,
        usage=Usage.model_validate({"input_tokens": 10, "output_tokens": max(1, size // 4)}),
    )


def events(answer: Message) -> Iterator[bytes]:
    """The answer as the stream of server-sent events that the API would send."""
    begun = answer.model_copy(update={"content": [], "stop_reason": None})
    yield _event(RawMessageStartEvent(type="message_start", message=begun))
    for index, block in enumerate(answer.content):
        start: Any = block
        delta: Any
        if isinstance(block, ToolUseBlock):
            start = block.model_copy(update={"input": {}})
            delta = InputJSONDelta(type="input_json_delta", partial_json=json.dumps(block.input))
        elif isinstance(block, TextBlock):
            start = block.model_copy(update={"text": ""})
            delta = TextDelta(type="text_delta", text=block.text)
        else:
            raise TypeError(f"a scripted answer has text and tool calls only, not {block.type}")
        yield _event(RawContentBlockStartEvent(type="content_block_start", index=index, content_block=start))
        yield _event(RawContentBlockDeltaEvent(type="content_block_delta", index=index, delta=delta))
        yield _event(RawContentBlockStopEvent(type="content_block_stop", index=index))
    yield _event(
        RawMessageDeltaEvent(
            type="message_delta",
            delta=Delta.model_validate({"stop_reason": answer.stop_reason, "stop_sequence": None}),
            usage=MessageDeltaUsage.model_validate({"output_tokens": answer.usage.output_tokens}),
        )
    )
    yield _event(RawMessageStopEvent(type="message_stop"))


def _event(value: Any) -> bytes:
    return f"event: {value.type}\ndata: {value.model_dump_json(exclude_none=False)}\n\n".encode()
