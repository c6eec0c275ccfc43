import json

import pytest
from anthropic.types import Message, RawMessageStreamEvent, ThinkingBlock
from pydantic import TypeAdapter

from harness.agents.messages import MAIN, Refusal, Request, events, message, text, tool

EVENT = TypeAdapter(RawMessageStreamEvent)


def request(messages=(), headers=None, **body):
    return Request(headers or {}, {"messages": list(messages), **body})


def user(*content):
    return {"role": "user", "content": list(content)}


def result(content, **more):
    return {"type": "tool_result", "tool_use_id": "toolu_1", "content": content, **more}


def parsed(answer):
    """The events of an answer, read as the API's own types."""
    found = []
    for part in events(answer):
        name, data, *rest = part.decode().split("\n")
        assert rest == ["", ""]
        event = EVENT.validate_python(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {event.type}"
        found.append(event)
    return found


def test_a_thread_is_the_main_one_or_that_of_a_subagent():
    assert request().thread == MAIN
    assert request(headers={"x-claude-code-agent-id": "a1"}).thread == "a1"


def test_a_turn_is_the_number_of_answers_so_far_whatever_is_tried_again():
    answered = {"role": "assistant", "content": "yes"}
    assert request().turn == 0
    assert request([user("a")]).turn == request([user("a")]).turn == 0
    assert request([user("a"), answered, user("b"), answered, user("c")]).turn == 2


@pytest.mark.parametrize(("body", "streams"), [({}, False), ({"stream": False}, False), ({"stream": True}, True)])
def test_a_stream_is_asked_for(body, streams):
    assert request(**body).streams is streams


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        (None, ""),
        ("You are", "You are"),
        ([{"type": "text", "text": "You"}, {"type": "text", "text": "are", "cache_control": {}}], "You\nare"),
    ],
)
def test_a_system_prompt_is_read_in_either_shape(system, expected):
    assert request(system=system).system() == expected


def test_a_conversation_is_every_text_with_the_results_of_tools():
    made = request(
        [
            {"role": "user", "content": "Build"},
            {"role": "assistant", "content": [{"type": "text", "text": "I read"}, {"type": "tool_use", "input": {}}]},
            user(result([{"type": "text", "text": "a file"}, {"type": "image", "source": {}}]), result("another")),
            user(result(None)),
        ]
    )
    assert made.conversation() == "Build\nI read\na file\nanother"


@pytest.mark.parametrize("notes", [[], [{"role": "system", "content": [{"type": "text", "text": "USD budget"}]}]])
def test_tool_results_are_those_since_the_last_answer(notes):
    made = request(
        [
            user(result("an older one")),
            {"role": "assistant", "content": "I go on"},
            user(
                {"type": "text", "text": "look"},
                result("fine"),
                result([{"type": "text", "text": "no"}, {"type": "text", "text": "such file"}], is_error=True),
            ),
            *notes,
        ]
    )
    assert list(made.tool_results()) == [(False, "fine"), (True, "no\nsuch file")]


@pytest.mark.parametrize(
    "messages", [[], [{"role": "user", "content": "Build"}], [user()], [user({"type": "text", "text": "x"})]]
)
def test_a_message_without_tool_results_has_none(messages):
    assert list(request(messages).tool_results()) == []


def test_a_refusal_has_the_shape_of_an_error_of_the_api():
    data = json.loads(Refusal(403, "permission_error", 'not "here"').data())
    assert data == {"type": "error", "error": {"type": "permission_error", "message": 'not "here"'}}


def test_an_answer_stops_for_its_tools_or_for_good():
    assert message("msg_1", "m", [text("Done.")]).stop_reason == "end_turn"
    called = message("msg_2", "m", [text("I look."), tool("toolu_1", "Read", file_path="/a")])
    assert called.stop_reason == "tool_use"
    assert called.content[1].input == {"file_path": "/a"}
    assert Message.model_validate_json(called.model_dump_json()) == called
    assert called.usage.output_tokens > 0


def test_the_stream_of_an_answer_tells_the_same_as_the_answer():
    answer = message(
        "msg_1", "m", [text("I write \N{SNOWMAN}."), tool("toolu_1", "Write", content="a\nb", file_path="/a")]
    )
    start, *blocks, delta, stop = parsed(answer)
    assert (start.message.id, start.message.content, start.message.stop_reason) == ("msg_1", [], None)
    assert [(event.type, event.index) for event in blocks] == [
        (f"content_block_{what}", index) for index in (0, 1) for what in ("start", "delta", "stop")
    ]
    assert (blocks[0].content_block.text, blocks[1].delta.text) == ("", "I write \N{SNOWMAN}.")
    assert (blocks[3].content_block.name, blocks[3].content_block.input) == ("Write", {})
    assert json.loads(blocks[4].delta.partial_json) == {"content": "a\nb", "file_path": "/a"}
    assert (delta.delta.stop_reason, delta.usage.output_tokens) == ("tool_use", answer.usage.output_tokens)
    assert stop.type == "message_stop"


def test_a_line_break_in_a_text_does_not_end_an_event():
    answer = message("msg_1", "m", [text("one\n\ntwo\nevent: three")])
    assert parsed(answer)[2].delta.text == "one\n\ntwo\nevent: three"


def test_a_block_that_no_script_has_is_an_error():
    answer = message("msg_1", "m", [text("x")])
    thinking = ThinkingBlock(type="thinking", thinking="hm", signature="s")
    with pytest.raises(TypeError, match=r"text and tool calls only, not thinking"):
        list(events(answer.model_copy(update={"content": [thinking]})))
