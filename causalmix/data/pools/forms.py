"""The forms in which people have conversations as rows: which one a row has, and its turns."""

import re
from collections.abc import Mapping
from typing import Any

from causalmix.lm import turns
from causalmix.lm.turns import Conversation

#: Columns that hold a conversation, in the order in which they are looked for: a list of turns, or the prompt and the
#: answer.  Of pairs to prefer from, the chosen answer is read.
PAIRS = ("prompt completion", "instruction output", "instruction response", "prompt response", "question answer",
         "question response", "query response", "input output", "inputs targets", "problem solution", "prompt chosen",
         "instruction chosen", "question chosen")  # fmt: skip
FORMS = (("messages",), ("conversations",), ("conversation",), *(tuple(pair.split()) for pair in PAIRS), ("chosen",))

PAIRED = ("prompt", "completion")  # beside a label where some answers are wanted and some are not (KTO)
BESIDE = {"instruction": ("input", "context")}  # what belongs to a prompt
SYSTEM = ("system", "system_prompt")
MEDIA = ("images", "image", "videos", "audios")
USED = (*SYSTEM, *MEDIA, "history", "tools", "chosen")  # of a row beside its form


def form_of(row: Mapping[str, Any], own: str = "messages") -> tuple[str, ...]:
    """The columns that hold the conversation: the first form that the row has, filled if there is one."""
    forms = [form for form in ((own,), *FORMS) if all(name in row for name in form)]
    return next((form for form in forms if all(row[name] is not None for name in form)), forms[0] if forms else ())


def used(form: tuple[str, ...]) -> tuple[str, ...]:
    """All columns that are read of a row of some form."""
    return (*form, *(BESIDE.get(form[0], ()) if form else ()), *USED)


def unread(row: Mapping[str, Any], form: tuple[str, ...]) -> set[str]:
    """What turns have that nobody reads, behind the name of their column."""
    said = turns.listed(row[form[-1]])
    said = [turn for turn in said if isinstance(turn, Mapping)] if isinstance(said, list) else []
    more = {(name, isinstance(value, str)) for turn in said for name, value in turn.items() if value}
    heard = lambda name, is_text: name in turns.READ and (is_text or name not in turns.THOUGHTS)  # noqa: E731
    return {f"{form[-1]}.{name}" for name, is_text in more if not heard(name, is_text)}


def read(row: Mapping[str, Any], form: tuple[str, ...]) -> Conversation:
    """The conversation of a row; ValueError says what is wrong with it."""
    if media := next((name for name in MEDIA if row.get(name)), ""):
        raise ValueError(f"a column {media} that is not empty (only text is read)")
    if form == PAIRED and str(row.get("label")).lower() == "false":
        raise ValueError("an answer that its label calls unwanted")
    said = [*_history(row.get("history")), *_turns(row, form)]
    systems = {turns.text(row[name], name) for name in SYSTEM if row.get(name)}
    first = said[0] if said and isinstance(said[0], Mapping) else {}
    if _role(first) == "system":
        if any(text not in (first.get("content"), first.get("value")) for text in systems):
            raise ValueError("a system column beside a system turn of another text")
        systems = set()
    if len(systems) > 1:
        raise ValueError(f"columns {' and '.join(SYSTEM)} of different texts")
    return turns.read([*({"role": "system", "content": text} for text in systems), *said])


def _role(turn: Any) -> str | None:
    return turns.ROLES.get(str(turn.get("role") or turn.get("from"))) if isinstance(turn, Mapping) else None


def _turns(row: Mapping[str, Any], form: tuple[str, ...]) -> list:
    *asked, answer = (row[name] for name in form)
    if asked:
        return _answered(_prompt(row, form[0], asked[0]), answer, whole=form[-1] == "chosen")
    found = turns.listed(answer)
    if form == ("chosen",):
        return _answered([], found, whole=True)
    if isinstance(found, str) and form not in FORMS:  # a column that was asked for by name
        return [{"role": "assistant", "content": found}]
    if not isinstance(found, list) or not found:
        raise ValueError("a text instead of turns, which JSON lists" if isinstance(found, str) else "no turns")
    preferred = row.get("chosen") is not None and _role(found[-1]) == "user"
    return _answered(found, row["chosen"], whole=True) if preferred else found


def _prompt(row: Mapping[str, Any], name: str, prompt: Any) -> list:
    if isinstance(prompt, list):
        return prompt
    if not isinstance(prompt, str):
        raise ValueError(f"a {name} without text")
    parts = [prompt, *(turns.text(row[more], more) for more in BESIDE.get(name, ()) if row.get(more))]
    return [{"role": "user", "content": "\n".join(filter(None, parts))}]


def _answered(prompt: list, answer: Any, whole: bool) -> list:
    """A prompt and its answer, which may be a text, a turn or several; or the ``whole`` conversation."""
    answer = [answer] if isinstance(answer, Mapping) else answer
    if isinstance(answer, list):
        alone = whole and not (answer and _role(answer[0]) == "assistant")
        return answer if alone else [*prompt, *answer]
    if not prompt and isinstance(answer, str):
        return _dialogue(answer)
    return [*prompt, {"role": "assistant", "content": answer}]


def _dialogue(text: str) -> list:
    """A conversation in one text, as the pairs of hh-rlhf are written."""
    _, *parts = re.split(r"(?:^|\n\n)(Human|Assistant): ?", text)
    if not parts or not text.lstrip().startswith("Human:"):
        raise ValueError("a chosen answer without its prompt")
    speakers = {"Human": "user", "Assistant": "assistant"}
    return [{"role": speakers[who], "content": said.strip()} for who, said in zip(parts[::2], parts[1::2])]


def _history(pairs: Any) -> list:
    """Earlier turns as Alpaca's column ``history`` has them: pairs of a question and its answer."""
    pairs = turns.listed(pairs) or []
    if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise ValueError("a history that is no list of pairs")
    return [{"role": who, "content": said} for pair in pairs for who, said in zip(("user", "assistant"), pair)]
