"""vLLM's own tool parsers, which know how each family of models writes calls of tools."""

from __future__ import annotations

import json
from typing import Any

from ...contracts.errors import ModelError
from ...contracts.inference import CalledFunction
from ...contracts.nearest import did_you_mean
from .json_calls import json_calls
from .tool_calls import ReadCalls

#: A conversation that parsers do not read, but that vLLM's form of a request needs.
_ASKED = [{"role": "user", "content": "?"}]


def tool_parser(name: str, tokenizer: Any) -> ReadCalls:
    """Return the reader of calls that vLLM has under this name; ``json`` is our own.

    Raises ModelError if it has none, or one that does not fit the model's tokenizer.
    """
    if name == "json":
        return json_calls
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.tool_parsers import ToolParserManager

    known = ToolParserManager.list_registered()
    if name not in known:
        raise ModelError(
            f"tool_parser: vLLM has none of the name {name!r}{did_you_mean(name, known)}; it has "
            f"{', '.join(sorted([*known, 'json']))}"
        )
    parser = ToolParserManager.get_tool_parser(name)
    try:
        parser(tokenizer)
    except Exception as error:  # most want special tokens of their own
        raise ModelError(f"tool_parser: {name!r} does not fit the model's tokenizer: {error}") from None

    def read(text: str, tools: str) -> tuple[str, list[CalledFunction]]:
        try:
            given = {"model": "", "messages": _ASKED, "tools": json.loads(tools)}
            request: Any = ChatCompletionRequest.model_validate(given)
            # A parser keeps state of its answer, so each answer gets one of its own.
            found = parser(tokenizer, request.tools).extract_tool_calls(text, request)
        except Exception:  # calls that cannot be read: the answer is a text
            return text, []
        functions = [call.function for call in found.tool_calls]
        calls = [CalledFunction(name=each.name, arguments=each.arguments) for each in functions]
        return (found.content or "").strip() if calls else text, calls

    return read
