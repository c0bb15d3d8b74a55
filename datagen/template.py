"""``generate: template``: a prompt made from each row, a model's answers, and what a parser reads in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ..pipelines.errors import DataError, EngineError
from ..pipelines.inference import Completion, Request, derive_seed
from ..pipelines.operator import Apply, Failed, Kept, Outcome
from ..pipelines.records import Row, turns
from .parsers import AnyParser, TextParser, Unparsed
from .prompts import find_prompt
from .sampling import Generator, ask

if TYPE_CHECKING:
    import pyarrow as pa

    from ..pipelines.operator import Context

#: What told of an answer to the parent's prompt, and says nothing of a new one.
_STALE = (
    "response", "messages", "finish", "prompt_tokens", "completion_tokens", "logprobs", "top_logprobs", "vocab_size",
)  # fmt: skip
_SHOWN = 80


class Template(Generator):
    """New rows from what a model writes to a prompt.

    ``template``: a packaged prompt's name, the path of a ``.jinja`` file, or the text itself; the row's
    columns are its variables, and so are ``variables``. ``system``: a system prompt, a template too.
    ``parser``: how to read the answer (``{kind: text|json|code|numbered_list|tags|regex, ...}``);
    each record it finds is a new row, with its columns, ``sample`` (which answer) and ``item`` (which
    record of it). An answer that does not parse is a failed row with the reason. Where the parser
    makes a ``prompt``, the parent's answer columns are null in the child.
    """

    template: str
    system: str | None = None
    variables: dict[str, Any] = Field(default_factory=dict)
    parser: AnyParser = Field(default_factory=TextParser)

    def content(self) -> Mapping[str, str]:
        digests = {"template": find_prompt(self.template).digest}
        if self.system is not None:
            digests["system"] = _system(self.system).digest
        return digests

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        turn = pa.struct([("role", pa.string()), ("content", pa.string())])
        floats = pa.list_(pa.float32())
        stale = {
            "response": pa.string(),
            "messages": pa.list_(turn),
            "finish": pa.string(),
            "prompt_tokens": pa.int32(),
            "completion_tokens": pa.int32(),
            "logprobs": floats,
            "top_logprobs": pa.list_(floats),
            "vocab_size": pa.int32(),
        }
        return {
            **stale,
            **self.parser.types(),
            "sample": pa.int32(),
            "item": pa.int32(),
            "answer": pa.string(),
        }

    def open(self, context: Context) -> Apply:
        engine, sampling, seed = context.engine(self.model), self.sampling(), context.seed
        prompt = find_prompt(self.template).renderer()
        system = None if self.system is None else _system(self.system).renderer()

        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            answers: list[list[Outcome]] = [[] for _ in rows]
            requests: list[Request] = []
            owners: list[tuple[int, int]] = []
            for index, row in enumerate(rows):
                try:
                    asked = tuple(
                        turns(self._filled(prompt, row), None, system and self._filled(system, row))
                    )
                except DataError as error:
                    answers[index] = [Failed(str(error))]
                    continue
                for ordinal in range(self.samples):
                    draw = derive_seed(seed, row["_id"], ordinal)
                    requests.append(Request(f"{row['_id']}:{ordinal}", draw, sampling, messages=asked))
                    owners.append((index, ordinal))
            for (index, ordinal), completion in zip(owners, await ask(engine, requests), strict=True):
                answers[index] += self._outcomes(rows[index], ordinal, completion)
            return answers

        return apply

    def _filled(self, prompt: Callable[[Mapping[str, Any]], str], row: Row) -> str:
        return prompt({**{name: value for name, value in row.items() if name[0] != "_"}, **self.variables})

    def _outcomes(self, row: Row, ordinal: int, completion: Completion | EngineError) -> list[Outcome]:
        if isinstance(completion, EngineError):
            return [Failed(str(completion), row={"sample": ordinal})]
        parsed = self.parser.parse(completion.text)
        if isinstance(parsed, Unparsed):
            cut = ", cut off by max_tokens" if completion.finish == "length" else ""
            return [
                Failed(
                    f"{self.parser.kind}: {parsed.reason}{cut}: {_short(completion.text)!r}",
                    row={"sample": ordinal, "answer": _encodable(completion.text)},
                )
            ]
        outcomes: list[Outcome] = []
        for item, columns in enumerate(parsed):
            stale = (
                dict.fromkeys((name for name in _STALE if name in row), None) if "prompt" in columns else {}
            )
            outcomes.append(Kept({**stale, **columns, "sample": ordinal, "item": item}))
        return outcomes


def _system(text: str) -> Any:
    """A system prompt: plain text is a template too, without anything to fill in."""
    from .prompts.collection import Prompt

    plain = "{{" not in text and "{%" not in text and not text.endswith((".jinja", ".j2"))
    return Prompt("(system)", text, 0) if plain else find_prompt(text)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _short(text: str) -> str:
    text = _encodable(text.strip())
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
