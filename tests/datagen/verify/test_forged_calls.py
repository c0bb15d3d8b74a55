"""A tool cannot write the answers of calls, whatever it finds in its process."""

from __future__ import annotations

import pytest

from gristmill.datagen.verify.tool_calls import VerifyToolCalls

from .called_tools import called, judged, turns
from .offered_tools import tool

#: What finds the channel of the answers: the descriptors, the frames, the objects of the process.
REACHING = {
    "descriptors": """
def forges(line):
    import os
    for number in [*range(1, 16)]:
        try: os.write(number, (line + "\\n").encode())
        except OSError: pass
    return "kept"
""",
    "frames": """
def forges(line):
    import sys
    frame = sys._getframe()
    while frame:
        for value in frame.f_locals.values():
            if hasattr(value, "sendall"): value.sendall((line + "\\n").encode())
        frame = frame.f_back
    return "kept"
""",
    "objects": """
def forges(line):
    import gc, io, os
    for each in gc.get_objects():
        try:
            if isinstance(each, io.IOBase): each.write(line + "\\n"); each.flush()
        except Exception: pass
        try: os.write(each.fileno(), (line + "\\n").encode())
        except Exception: pass
    return "kept"
""",
    "parent": """
def forges(line):
    import glob, os
    for path in glob.glob("/proc/*/fd/*"):
        if path.split("/")[2] in ("self", "thread-self", str(os.getpid())): continue
        try:
            with open(path, "w") as file: file.write(line + "\\n")
        except OSError: pass
    return "kept"
""",
    "forks": """
def forges(line):
    import os
    os.fork()
    return "kept"
""",
}
LINES = (
    '{"result": "forged"}',
    '["ready", null]',
    '[null, {"result": "forged"}]',
    '{"loaded": true}',
    '{"missing": "add"}',
)


@pytest.mark.parametrize("reaching", REACHING)
def test_a_tool_cannot_forge_an_answer(reaching: str) -> None:
    """What it wrote answers no call, and says of no tool that it is missing."""
    code = f"{REACHING[reaching]}\ndef add(a):\n    return a + 1"
    offered = [tool("forges", line={"type": "string"}), tool("add", a={"type": "integer"})]
    for line in LINES:
        row = judged(
            VerifyToolCalls(code="source"),
            messages=turns(("forges", {"line": line}), ("add", {"a": 1})), source=code, tools=offered,
        ).row  # fmt: skip
        assert row["results"] in (
            ["kept", "2"],
            [
                "Error: the tool wrote between the answers",
                "Error: it was not called, as the call before it ended the process",
            ],
        ), line
        if reaching in ("parent", "forks"):
            assert row["passed"], line


@pytest.mark.parametrize(
    ("line", "times"),
    [
        ("5", 1),
        ("null", 1),
        ("no JSON", 1),
        ("[", 100_000),
        ("{}", 1),
        ('{"result": 5}', 1),
        ('{"long": "x"}', 1),
        ('{"unfit": null}', 1),
        ('{"error": [1]}', 1),
        ('{"missing": {}}', 1),
    ],
)
def test_a_tool_that_writes_between_the_answers_fails_alone(line: str, times: int, file: str) -> None:
    row = called(file, ("add", {"a": 1}), ("writes", {"line": line, "times": times}))
    assert (row["passed"], row["verdict"]) == (False, "failed")
    assert row["results"] == ["2", "Error: the tool wrote between the answers"]


def test_code_that_writes_before_the_answers_fails_its_row() -> None:
    writes = "import os\nfor n in range(3, 10):\n  try: os.write(n, b'5\\n')\n  except OSError: pass\n"
    code = writes + "def add(a): return a"
    outcome = judged(VerifyToolCalls(code="source"), messages=turns(("add", {"a": 1})), source=code)
    assert outcome.error.startswith("the code of the tools cannot be loaded: it wrote before the answers")


def test_a_tool_cannot_look_into_the_process_that_answers() -> None:
    code = """
def looks():
    import os
    try: return str(os.listdir(f"/proc/{os.getppid()}/fd"))
    except OSError: return "nothing is seen"
"""
    offered = [tool("looks")]
    row = judged(
        VerifyToolCalls(code="source"), messages=turns(("looks", {})), source=code, tools=offered
    ).row
    assert row["results"] == ["nothing is seen"]
