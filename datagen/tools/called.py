"""The program that calls tools inside the sandbox.

It reads ``{code, calls, longest}`` as JSON from its standard input, and writes one line of JSON for each call
in turn: ``{"result": TEXT}``, or why there is none. The first line says whether the code could be loaded.
Before that, its standard streams are replaced, so that nothing that a tool prints, or a process that it
starts, gets between these lines. Imports only the standard library, and nothing of Gristmill.
"""

import json
import os
import sys
import types

#: Characters of an error that are told.
SHOWN = 400


def main() -> None:
    asked = json.loads(sys.stdin.read())
    told = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="backslashreplace")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)

    def tell(line: dict[str, object]) -> None:
        told.write(json.dumps(line, ensure_ascii=False) + "\n")
        told.flush()

    try:
        space = loaded(asked["code"])
    except BaseException as error:
        tell({"error": said(error)})
        return
    tell({"loaded": True})
    for call in asked["calls"]:
        tell(answer(space, call["name"], call["arguments"], asked["longest"]))


def loaded(code: str) -> dict[str, object]:
    """Run the code as the module ``tools``; return its names."""
    module = types.ModuleType("tools")
    sys.modules["tools"] = module
    exec(compile(code, "tools.py", "exec"), module.__dict__)
    return module.__dict__


def function_named(space: dict[str, object], name: str) -> object:
    """The tool of this name: of ``TOOLS``, if the code has one, else the function of that name."""
    named = space.get("TOOLS")
    found = named.get(name) if isinstance(named, dict) else None
    if found is None and not name.startswith("__"):
        found = space.get(name)
    return found if callable(found) else None


def answer(
    space: dict[str, object], name: str, arguments: dict[str, object], longest: int
) -> dict[str, object]:
    """Call a tool, and return its line."""
    function = function_named(space, name)
    if function is None:
        return {"missing": name}
    try:
        result = function(**arguments)  # type: ignore[operator]
        if isinstance(result, types.CoroutineType):
            import asyncio  # takes longer than most calls

            result = asyncio.run(result)
    except BaseException as error:
        return {"error": said(error)}
    if result is None:
        return {"empty": True}
    try:
        text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, allow_nan=False)
    except BaseException as error:
        return {"unfit": said(error)}
    return {"long": len(text)} if len(text) > longest else {"result": text}


def said(error: BaseException) -> str:
    """The name and the message of an error."""
    try:
        text = str(error)
    except BaseException:
        text = ""
    kind = type(error).__name__
    return f"{kind}: {text}"[:SHOWN] if text else kind


if __name__ == "__main__":
    main()
