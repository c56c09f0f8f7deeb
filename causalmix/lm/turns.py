"""Turns of a conversation as people write them, as roles and plain text."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from causalmix.core.json_text import parse_json

#: Names of the speakers, also as ShareGPT has them.  Only what the assistant says is learnt.
ROLES = {"system": "system", "developer": "system"}
ROLES |= {"user": "user", "human": "user"}
ROLES |= {"assistant": "assistant", "gpt": "assistant", "function_call": "assistant"}
ROLES |= {"tool": "tool", "observation": "tool", "function": "tool"}

#: How thinking and calls of tools are written in a text, as the templates of Qwen3 do.
THINKING = "<think>\n{think}\n</think>\n\n{answer}"
CALL = "<tool_call>\n{}\n</tool_call>"

#: What chat templates part turns by: a tokenizer takes it for an end or a start of a turn wherever it stands.
MARK = re.compile(r"<[|｜][^|｜<>\s]{1,40}[|｜]>|<(?:start|end)_of_turn>|\[/?INST\]")

#: What a turn may have besides, which a trainer's template may want as it was.
KEPT = ("tool_calls", "function_call", "tool_call_id", "name", "weight")
UNLEARNT = ("train", "loss")  # flags that are false where a turn is not learnt, as Axolotl and SWIFT have them
THOUGHTS = ("reasoning_content", "reasoning", "thinking")  # what servers and trainers call what is thought before
READ = {"role", "from", "content", "value", *THOUGHTS, *KEPT, *UNLEARNT}  # all of a turn that is heard


class Conversation(NamedTuple):
    """Turns of role and content; ``weights`` where some are not learnt, ``given`` where they had more than text."""

    turns: list[dict[str, str]]
    weights: list[int] | None = None  # 0 for a turn that is not learnt
    given: list[dict[str, Any]] | None = None


def read(turns: Any) -> Conversation:
    """Turns as role and content; ValueError says what is wrong with them."""
    turns = listed(turns)
    if not isinstance(turns, list) or not turns:
        raise ValueError("no turns")
    parsed = [_turn(turn) for turn in turns]
    weights = [int(more.get("weight", 1)) if turn["role"] == "assistant" else 1 for turn, more in parsed]
    if all(turn["role"] != "assistant" for turn, _ in parsed):
        raise ValueError("no assistant turn")
    if not any(weight for (turn, _), weight in zip(parsed, weights) if turn["role"] == "assistant"):
        raise ValueError("no assistant turn with a weight")
    given = [{"role": turn["role"], "content": turn["content"]} | more for turn, more in parsed]
    more = any(more for _, more in parsed)
    return Conversation([turn for turn, _ in parsed], None if all(weights) else weights, given if more else None)


def listed(value: Any) -> Any:
    """A list also where a table of text holds it as JSON."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return parse_json(value)
    except ValueError:
        return value


def _turn(turn: Any) -> tuple[dict[str, str], dict[str, Any]]:
    """Role and content; and what a template may want besides, its content without what it says in other words."""
    if not isinstance(turn, Mapping):
        raise ValueError("a turn without role and content")
    named = turn.get("role") or turn.get("from")
    if not isinstance(named, str) or named not in ROLES:
        raise ValueError(f"the role {str(named)[:40]!r} (known: {', '.join(ROLES)})")
    role, more = ROLES[named], {name: turn[name] for name in KEPT if turn.get(name) is not None}
    if role == "assistant" and any(turn.get(name) is False for name in UNLEARNT):
        more.setdefault("weight", 0)
    if more.get("weight", 1) not in (0, 1):
        raise ValueError(f"a weight of {str(more['weight'])[:40]} (known: 0 and 1)")
    calls = _calls(turn)
    content = turn["content"] if turn.get("content") is not None else turn.get("value")
    said = text(content, named) if content is not None or not calls else ""
    thought = next((t for name in THOUGHTS if isinstance(t := turn.get(name), str) and t.strip()), "")
    if role == "assistant" and thought and "<think>" not in said:
        said = THINKING.format(think=text(thought, named).strip(), answer=said)
    if calls:
        more["content"] = said or content
        said = "\n".join(filter(None, [said, *calls]))
    said = CALL.format(said) if named == "function_call" else said
    if role == "assistant" and not said.strip():
        raise ValueError("an empty assistant turn")
    return {"role": role, "content": said}, more


def _calls(turn: Mapping[str, Any]) -> list[str]:
    """Calls of tools as text."""
    calls = listed(turn.get("tool_calls")) or ([turn["function_call"]] if turn.get("function_call") else [])
    if not isinstance(calls, list):
        raise ValueError("tool_calls that are no list")
    return [CALL.format(_call(call)) for call in calls]


def _call(call: Any) -> str:
    function = call.get("function") or call if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise ValueError("a call of a tool without a name")
    told = {"name": function["name"], "arguments": listed(function.get("arguments"))}
    return text(json.dumps(told, ensure_ascii=False, default=str), "tool_calls")


def text(content: Any, whose: str) -> str:
    """Plain text of a turn, also where it comes in parts; ValueError for what is none."""
    if isinstance(content, Sequence) and not isinstance(content, str) and content:
        return "\n".join(_part(part, whose) for part in content)
    if not isinstance(content, str):
        raise ValueError(f"a turn of {whose} without text")
    if not content.isascii():
        try:
            content.encode()
        except UnicodeEncodeError:  # half of a pair, which JSON can write and no file of text
            raise ValueError(f"a turn of {whose} with a broken character") from None
    return content


def _part(part: Any, whose: str) -> str:
    if isinstance(part, Mapping):
        kind = part.get("type") or next((name for name, value in part.items() if value is not None), "?")
        if kind not in ("text", "input_text", "output_text"):
            raise ValueError(f"a part of type {str(kind)[:40]} in a turn of {whose} (known: text)")
        part = part.get("text")
    return text(part, whose)
