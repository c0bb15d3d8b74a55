"""``generate: simulated_user``: a model that plays the user continues conversations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ...contracts.errors import DataError
from ...contracts.inference import Message, Request
from ...contracts.mistakes import Collected
from ...contracts.operators import Apply
from ...contracts.outcomes import Filtered, Kept, Outcome
from ...contracts.rows import Row
from ..prompts import find_prompt
from ..prompts.template_mistakes import check_names, check_template
from .conversations import continued, conversation, with_system
from .generator import Generator
from .sampling_loop import Answer, ToRequest

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.context import Context


class SimulatedUser(Generator):
    """Plays the user: adds the user's next turn to each conversation, until the user has what they want.

    The model sees the conversation with the roles changed: what the assistant said is said to it. It does
    not see calls of tools and their answers, as users do not. `template` tells it who it is and what it
    wants. A row without `messages` is a conversation that begins. A conversation that waits for the
    assistant, as its last turn is the user's or a tool's, is passed on as it is, so that a `repeat` block of
    `simulated_user`, `respond` and `verify: tool_calls` makes conversations in which the assistant may call
    tools several times before it answers. After Yao et al., tau-bench, arXiv 2406.12045.

    Reads:
        messages (list of turns): the conversation so far.
        the columns that `template` prints.

    Adds:
        said (text): what the user said; null if nothing.
        done (bool): whether the user ended the conversation. Nothing is appended then.
        sample (int32): index of the answer among the row's answers, from 0.
        messages (list of turns): the conversation with the user's turn.

    Filters:
        empty: the user said nothing.
        truncated: `max_tokens` truncated what the user said.

    Example:
        asks: {generate: simulated_user, from: goals, model: user, template: simulated_user}
    """

    template: str = "simulated_user"
    """System prompt of the model that plays the user: a packaged prompt's name, the path of a `.jinja` file,
    or the text itself. The row's columns are its variables, and `end`. The packaged one prints `goal`."""
    variables: dict[str, Any] = Field(default_factory=dict)
    """Additional variables of the template, by name. They take precedence over columns."""
    greeting: str = "Hello! How can I help you?"
    """What the model is told first, in place of the assistant. It is no turn of the conversation."""
    end: str = Field(default="###DONE###", min_length=1)
    """What the model writes to end the conversation."""
    system: str | None = None
    """System prompt for the assistant, with which a conversation begins. By default there is none."""

    def content(self) -> Mapping[str, str]:
        return {"template": find_prompt(self.template).digest}

    def inspect(self) -> None:
        with Collected() as found, found.at("template"):
            check_template(find_prompt(self.template))

    def check_columns(self, columns: Sequence[str]) -> None:
        with Collected() as found:
            with found.at("template"):
                check_names(find_prompt(self.template), columns, self._variables)
            with found.at("check"):
                self.check_verifier(columns)

    @property
    def _variables(self) -> dict[str, Any]:
        return {"end": self.end, **self.variables}

    def made(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        return {"said": pa.string(), "done": pa.bool_(), "sample": pa.int32()}

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        found = super().makes_columns(columns)
        return None if found is None else list(dict.fromkeys([*found, "messages"]))

    def open(self, context: Context) -> Apply:
        ask = super().open(context)

        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            asked = [row for row in rows if _waits_for_user(row)]
            said = iter(await ask(asked) if asked else ())
            passed_on: Row = {"said": None, "done": False, "sample": 0}
            return [next(said) if _waits_for_user(row) else [Kept(dict(passed_on))] for row in rows]

        return apply

    def request(self, context: Context) -> ToRequest:
        sampling = self.sampling()
        prompt = find_prompt(self.template).renderer()

        def request(row: Row) -> Request:
            columns = {name: value for name, value in row.items() if name[0] != "_"}
            told = prompt({**columns, **self._variables})
            greeted: Message = {"role": "assistant", "content": self.greeting}
            turns = _seen_by_user([greeted, *conversation(row)])
            return Request("", 0, sampling, messages=tuple(with_system(turns, told)))

        return request

    def read(self, row: Row, answer: Answer) -> list[Outcome]:
        text = answer.text.strip()
        made: Row = {"said": text or None, "done": self.end in text, "sample": answer.ordinal}
        if made["done"]:
            return [Kept(made)]
        if not text:
            return [Filtered("empty", row=made)]
        if answer.completion.finish == "length":
            return [Filtered("truncated", row=made)]
        turn: Message = {"role": "user", "content": text}
        return [Kept({**made, "messages": with_system(continued(row, turn), self.system)})]


def _waits_for_user(row: Row) -> bool:
    """Whether the user speaks next. What is no conversation is asked about, and fails then."""
    try:
        turns = conversation(row)
    except DataError:
        return True
    spoken = [turn for turn in turns if turn["role"] != "system"]
    return not spoken or (spoken[-1]["role"] == "assistant" and not spoken[-1].get("tool_calls"))


def _seen_by_user(turns: Sequence[Message]) -> list[Message]:
    """Return what the user sees of a conversation, with the roles changed; they alternate."""
    changed = {"user": "assistant", "assistant": "user"}
    seen: list[Message] = []
    for turn in turns:
        if turn["role"] not in changed or not turn["content"].strip():
            continue
        role, said = changed[turn["role"]], turn["content"]
        if seen and seen[-1]["role"] == role:  # before and after the assistant called a tool
            said = f"{seen.pop()['content']}\n\n{said}"
        seen.append({"role": role, "content": said})
    return seen
