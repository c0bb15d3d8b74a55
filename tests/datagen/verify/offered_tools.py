"""Tools that behave well and badly: their code, and their schemas as they are offered."""

from __future__ import annotations

from typing import Any

CODE = """
import os, subprocess, sys, time

BOX = []

def add(a: int, b: int = 1) -> int:
    return a + b

def fails():
    raise ValueError("no such place: Ulmm")

def hangs():
    while True:
        pass

def leaves():
    os._exit(0)

def eats():
    return "x" * (1 << 34)

def nothing():
    print("nothing")

def text():
    return "äö 12"

def table():
    return [{"a": 1, "b": None}]

def unordered():
    return {1, 2}

def infinite():
    return float("inf")

def huge(size: int = 10_000_000):
    return "y" * size

def prints():
    print("one", flush=True)
    print("two", file=sys.stderr)
    os.write(1, b'{"result": "three"}\\n')
    subprocess.run(["echo", "four"])
    sys.__stdout__.write("five\\n")
    return sys.stdin.read() + "quiet"

async def waits():
    return "waited"

def remember(item: str):
    BOX.append(item)
    return BOX

def ends():
    raise SystemExit("bye")

def writes(line: str, times: int = 1):
    for descriptor in range(3, 10):
        try:
            os.write(descriptor, (line * times + "\\n").encode())
        except OSError:
            pass
    return "its result"

TOOLS = {"get-weather in.town/v2 (ü)": lambda place: f"12 in {place}"}
"""


def tool(name: str, required: Any = (), **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return {"type": "function", "function": {"name": name, "parameters": schema}}


PLAIN = ["fails", "hangs", "leaves", "eats", "nothing", "text", "table", "unordered", "infinite", "prints"]
ODD = "get-weather in.town/v2 (ü)"
OFFERED = [
    tool("add", ["a"], a={"type": "integer"}, b={"type": "integer"}),
    tool("huge", size={"type": "integer"}),
    tool("writes", ["line"], line={"type": "string"}, times={"type": "integer"}),
    tool("remember", ["item"], item={"type": "string"}),
    tool(ODD, ["place"], place={"type": "string"}),
    *map(tool, [*PLAIN, "waits", "ends"]),
]
