"""The layouts in which data sets hold conversations, and the columns that rows of each become.

Sources read them (``format:``), and ``unify`` finds questions and answers in them. A reader takes the columns
of its layout out of a row and puts columns of Gristmill's own in their place: ``messages``; ``prompt`` and
``response``; or ``prompt``, ``chosen`` and ``rejected``; with ``tools`` as JSON text. All other columns stay.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias

from .turns import TOOLS, Turn, from_json, ordered_json, text_of, turns_from

Format: TypeAlias = Literal[
    "auto",
    "as_is",
    "messages",
    "sharegpt",
    "alpaca",
    "prompt_completion",
    "preferences",
    "openai_batch",
    "openai_preferences",
    "openai_log",
]
#: Columns of a row -> the columns that take their place; None if they are not of the layout.
Read: TypeAlias = Callable[[Mapping[str, Any]], dict[str, Any] | None]

QUESTIONS = ("prompt", "question", "query", "problem", "instruction", "text")
ANSWERS = ("response", "answer", "completion", "output", "solution", "canonical_solution", "target")
_CONVERSATIONS = ("conversations", "conversation")


@dataclass(frozen=True, slots=True)
class Layout:
    """``needs``: columns of which rows have one of each group. ``takes``: columns that are read.

    ``without``: columns that rows of the layout do not have. ``auto``: whether rows are recognized by their
    columns alone.
    """

    read: Read
    needs: tuple[tuple[str, ...], ...]
    takes: tuple[str, ...]
    without: tuple[str, ...] = ()
    auto: bool = True

    def fits(self, names: Collection[str]) -> bool:
        """Whether a row with these columns may be of the layout."""
        return all(any(name in names for name in group) for group in self.needs) and not any(
            name in names for name in self.without
        )


@dataclass(frozen=True, slots=True)
class RowReader:
    """Reads rows of a layout (``auto``: of the one that each row's columns show; ``as_is``: of none).

    ``untouched``: columns that the user names. A layout that would take one of them away is not read.
    """

    form: Format = "auto"
    untouched: frozenset[str] = frozenset()

    @property
    def active(self) -> bool:
        return self.form != "as_is"

    def read(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row with the columns of its layout replaced.

        Raises ValueError if it is not of the layout that was asked for.
        """
        for name in self.layouts(row):
            made = LAYOUTS[name].read(row)
            if made is not None and not self.loses(row, made):
                return made
        if self.form not in ("auto", "as_is"):
            layout = LAYOUTS[self.form]
            columns = " and ".join("/".join(group) for group in layout.needs)
            raise ValueError(
                f"the row is not of the format {self.form} ({columns}); its columns are "
                f"{', '.join(sorted(row)) or 'none'}: correct it, or read it with `format: as_is`"
            )
        return row

    def layouts(self, names: Iterable[str]) -> Sequence[str]:
        """The layouts that rows with these columns may have, the likeliest first."""
        return _layouts(self.form, tuple(names))

    def loses(self, row: Mapping[str, Any], made: Mapping[str, Any]) -> bool:
        """Whether a column that the user names would be gone."""
        return any(name in self.untouched and name not in made for name in row)


@lru_cache(maxsize=1024)
def _layouts(form: str, names: tuple[str, ...]) -> Sequence[str]:
    if form == "as_is":
        return ()
    if form != "auto":
        return (form,) if LAYOUTS[form].fits(names) else ()
    return tuple(name for name, layout in LAYOUTS.items() if layout.auto and layout.fits(names))


def exchange_columns(row: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """The layout of a row and the row as its reader makes it; None if no layout is found."""
    known = {name: value for name, value in row.items() if value is not None}
    for name in RowReader().layouts(known):
        made = LAYOUTS[name].read(known)
        if made is not None:
            return name, made
    return None


# --- the readers ---------------------------------------------------------------------------------


def _replaced(row: Mapping[str, Any], taken: Collection[str], made: Mapping[str, Any]) -> dict[str, Any]:
    """``made``, and the row's columns that were not taken. Tools become JSON text."""
    kept = {name: value for name, value in row.items() if name not in taken and name not in made}
    return _with_tools({**made, **kept})


def _with_tools(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its tools as JSON text, in the form of today's API."""
    functions = from_json(row.get("functions"))
    if row.get("tools") is None and isinstance(functions, list) and functions:  # before there were tools
        wrapped = [{"type": "function", "function": each} for each in functions]
        row = {name: value for name, value in row.items() if name != "functions"} | {"tools": wrapped}
    tools = row.get("tools")
    if isinstance(tools, Mapping):
        tools = [tools]
    if isinstance(tools, (list, tuple)):
        row["tools"] = ordered_json(tools) if tools else None
    return row


def _messages(row: Mapping[str, Any]) -> dict[str, Any] | None:
    turns = turns_from(row.get("messages"))
    return None if turns is None else _replaced(row, (), {"messages": turns})


def _sharegpt(row: Mapping[str, Any]) -> dict[str, Any] | None:
    name = next((each for each in _CONVERSATIONS if row.get(each) is not None), None)
    turns = turns_from(row.get(name)) if name else None
    if name is None or turns is None or row.get("messages") is not None:
        return None
    return _replaced(row, (name, "system", "messages"), {"messages": _opened(row, turns)})


def _opened(row: Mapping[str, Any], turns: list[Turn]) -> list[Turn]:
    """The turns after the row's system prompt, unless they begin with one."""
    system = row.get("system")
    if not isinstance(system, str) or not system or (turns and turns[0]["role"] == "system"):
        return turns
    return [{"role": "system", "content": system}, *turns]


def _alpaca(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The `input` follows the instruction, and stays a column as well."""
    asked, about, answer = row.get("instruction"), row.get("input"), row.get("output")
    texts = all(isinstance(value, str) or value is None for value in (about, answer))
    if not isinstance(asked, str) or not texts or row.get("response") not in (None, answer):
        return None
    prompt = joined([asked, about]) or ""
    earlier = _exchanges(from_json(row.get("history")))
    if earlier is None:
        return None
    if not earlier:
        made: dict[str, Any] = {"prompt": prompt, "response": answer}
        return _replaced(row, ("instruction", "output", *_empty(row, "history")), made)
    turns = [*_opened(row, earlier), {"role": "user", "content": prompt}]
    if answer is not None:
        turns.append({"role": "assistant", "content": answer})
    return _replaced(row, ("instruction", "output", "history", "system"), {"messages": turns})


def _empty(row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The column, if it says nothing."""
    return (name,) if name in row and not row[name] else ()


def _exchanges(history: Any) -> list[Turn] | None:
    """The turns of [question, answer] pairs; None for anything else."""
    if not history:
        return []
    if not isinstance(history, list) or not all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 and all(isinstance(text, str) for text in pair)
        for pair in history
    ):
        return None
    roles = ("user", "assistant")
    return [{"role": role, "content": text} for pair in history for role, text in zip(roles, pair)]


def _prompt_completion(row: Mapping[str, Any]) -> dict[str, Any] | None:
    before, after = row.get("prompt"), row.get("completion")
    if isinstance(before, str) and isinstance(after, str) and not turns_from(after):
        return _replaced(row, ("completion",), {"prompt": before, "response": after})
    asked, answer = turns_from(before), turns_from(after)
    if asked is None or answer is None:
        return None
    return _replaced(row, ("prompt", "completion", "system"), {"messages": [*_opened(row, asked), *answer]})


def _conversations_completed(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Texts of these names may be anything: only turns are recognized."""
    return None if isinstance(row.get("prompt"), str) else _prompt_completion(row)


def _preferences(row: Mapping[str, Any]) -> dict[str, Any] | None:
    chosen, rejected = row.get("chosen"), row.get("rejected")
    name = next((each for each in (*_CONVERSATIONS, "messages") if turns_from(row.get(each))), None)
    before = turns_from(row.get("prompt")) or (turns_from(row[name]) if name else None)
    texts = isinstance(chosen, str) and isinstance(rejected, str) and not turns_from(chosen)
    if before is None and texts:
        return _preference_of_texts(row, str(chosen), str(rejected))
    pair = _pair(chosen, rejected, before)
    if pair is None:
        return None
    prompt, better, worse = pair
    asked, named = _question(row)
    if asked is not None and not any(asked in text_of(turn) for turn in prompt):
        prompt = [*prompt, {"role": "user", "content": asked}]
    if not prompt:
        return None
    made = {"prompt": _opened(row, prompt), "chosen": better, "rejected": worse}
    return _replaced(row, ("system", *named, *([name] if name else [])), made)


def _pair(
    chosen: Any, rejected: Any, before: list[Turn] | None
) -> tuple[list[Turn], list[Turn], list[Turn]] | None:
    """(prompt, better answer, worse answer), each as turns."""
    better, worse = _answers(chosen), _answers(rejected)
    if better is None or worse is None:
        return None
    if better[0]["role"] == "assistant" or worse[0]["role"] == "assistant":
        return before or [], better, worse
    most = min(len(better), len(worse)) - 1  # whole conversations
    same = next((place for place in range(most) if better[place] != worse[place]), most)
    if same == 0 or (before is not None and before != better[:same]):
        return None
    return better[:same], better[same:], worse[same:]


def _answers(value: Any) -> list[Turn] | None:
    if isinstance(value, Mapping):
        value = [value]
    turns = turns_from(value)
    return [{"role": "assistant", "content": value}] if turns is None and isinstance(value, str) else turns


def _preference_of_texts(row: Mapping[str, Any], chosen: str, rejected: str) -> dict[str, Any] | None:
    asked, named = _question(row)
    if asked is not None:
        made = {"prompt": asked, "chosen": chosen, "rejected": rejected}
        return _replaced(row, named, made)
    pairs = enumerate(zip(chosen, rejected))
    same = next((place for place, (one, other) in pairs if one != other), min(len(chosen), len(rejected)))
    same -= same > 0 and chosen[same - 1] == " "  # the space belongs to the answers
    if not same:
        return None
    made = {"prompt": chosen[:same], "chosen": chosen[same:], "rejected": rejected[same:]}
    return _replaced(row, ("prompt",), made)


def _question(row: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    """The question of a preference, and the column that it is taken from."""
    for name in ("prompt", "question", "instruction"):
        if isinstance(row.get(name), str) and turns_from(row[name]) is None:
            about = row.get("input") if name == "instruction" else None
            return joined([row[name], about]), (name,)
    return None, ()


def _openai_batch(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """A request (`body`), or what was answered (`response`)."""
    body, answered = from_json(row.get("body")), from_json(row.get("response"))
    if isinstance(body, Mapping):
        made, rest = _asked(body)
        return None if made is None else _replaced(row, ("body",), made | ({"body": rest} if rest else {}))
    if not isinstance(answered, Mapping) or not isinstance(answered.get("body"), Mapping):
        return None
    message, finish = _first_choice(answered["body"])
    if message is None:
        return None
    made = {"response": message.get("content"), "finish": finish, "body": ordered_json(answered)}
    for name in ("reasoning_content", "tool_calls"):
        if message.get(name):
            made["reasoning" if name == "reasoning_content" else name] = message[name]
    return _replaced(row, (), made)


def _openai_log(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """One call of the API: what was asked and what was answered."""
    request, answered = from_json(row.get("request")), from_json(row.get("response"))
    if not isinstance(request, Mapping) or not isinstance(answered, Mapping):
        return None
    made, rest = _asked(request)
    message, finish = _first_choice(answered)
    if made is None or message is None:
        return None
    made["messages"] = [*made["messages"], message]
    others = answered["choices"][1:]
    reply = {name: value for name, value in answered.items() if name != "choices"}
    reply |= {"choices": others} if others else {}
    beside = {name: ordered_json(value) for name, value in (("request", rest), ("reply", reply)) if value}
    return _replaced(row, ("request", "response"), {**made, "finish": finish, **beside})


def _asked(request: Mapping[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The conversation and the tools of a request, and what else it holds."""
    turns = turns_from(request.get("messages"))
    rest = {name: value for name, value in request.items() if name not in ("messages", *TOOLS)}
    if turns is None:
        return None, rest
    own = {name: request[name] for name in TOOLS if request.get(name)}
    return {"messages": turns, **_with_tools(own)}, rest


def _first_choice(answered: Mapping[str, Any]) -> tuple[Turn | None, str | None]:
    choices = answered.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        return None, None
    turns = turns_from([choices[0].get("message")])
    return (turns[0] if turns else None), choices[0].get("finish_reason")


def _openai_preferences(row: Mapping[str, Any]) -> dict[str, Any] | None:
    asked = from_json(row.get("input"))
    better, worse = turns_from(row.get("preferred_output")), turns_from(row.get("non_preferred_output"))
    if not isinstance(asked, Mapping) or better is None or worse is None:
        return None
    made, rest = _asked(asked)
    if made is None:
        return None
    pair = {"prompt": made.pop("messages"), "chosen": better, "rejected": worse, **made}
    return _replaced(
        row, ("input", "preferred_output", "non_preferred_output"), pair | ({"input": rest} if rest else {})
    )


def joined(parts: Sequence[Any]) -> str | None:
    """The texts among the parts, blank lines between them; None if there are none."""
    texts = [part for part in parts if isinstance(part, str) and part.strip()]
    return "\n\n".join(texts) or None


#: In the order in which they are looked for.
LAYOUTS: Mapping[str, Layout] = {
    "openai_batch": Layout(
        _openai_batch, (("custom_id",), ("body", "response")), ("body", "response"), ("messages",)
    ),
    "openai_log": Layout(_openai_log, (("request",), ("response",)), ("request", "response"), ("messages",)),
    "openai_preferences": Layout(
        _openai_preferences,
        (("input",), ("preferred_output",), ("non_preferred_output",)),
        ("input", "preferred_output", "non_preferred_output"),
    ),
    "preferences": Layout(
        _preferences,
        (("chosen",), ("rejected",)),
        (
            *("prompt", "question", "instruction", "input", "system"),
            *(*_CONVERSATIONS, "messages", "chosen", "rejected"),
        ),
    ),
    "messages": Layout(_messages, (("messages",),), ("messages",)),
    "sharegpt": Layout(_sharegpt, (_CONVERSATIONS,), (*_CONVERSATIONS, "system", "messages")),
    "alpaca": Layout(
        _alpaca,
        (("instruction",), ("output",)),
        ("instruction", "input", "output", "history", "system", "response"),
        ("prompt", "messages"),
    ),
    "prompt_completion": Layout(
        _prompt_completion, (("prompt",), ("completion",)), ("prompt", "completion", "system"), auto=False
    ),
    "conversational_completion": Layout(
        _conversations_completed,
        (("prompt",), ("completion",)),
        ("prompt", "completion", "system"),
        ("response", "messages"),
    ),
}
