"""The program that calls tools inside the sandbox.

It reads ``{code, calls, longest}`` as JSON from its standard input, and writes one line of JSON for each call
in turn: ``{"result": TEXT}``, or why there is none. The first line says whether the code could be loaded.

The tools run in a process of their own, which has no descriptor of these lines. It is asked for one call at a
time over a socket, and anything that a tool writes there by itself is no answer. Imports only the standard
library, and nothing of Gristmill.
"""

import ctypes
import json
import os
import secrets
import signal
import socket
import sys
import types

#: Characters of an error that are told.
SHOWN = 400
PR_SET_DUMPABLE = 4
WROTE: dict[str, object] = {"wrote": True}


def main() -> None:
    asked = json.loads(sys.stdin.read())
    ours, theirs = socket.socketpair()
    # The tools can neither look into this process nor use its descriptors.
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    process = os.fork()
    if process == 0:
        prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
        os.dup2(theirs.fileno(), 3)
        work(socket.socket(fileno=3), asked["code"], asked["longest"])
    theirs.close()
    told = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="backslashreplace")
    worker = Worker(ours, most=12 * asked["longest"] + 100 * SHOWN)
    for request in [{"load": True}, *asked["calls"]]:
        line = worker.ask(request)
        if line is None:
            _, status = os.waitpid(process, 0)
            if os.WIFSIGNALED(status):  # of a limit: end as it did
                os.kill(os.getpid(), os.WTERMSIG(status))
            return
        told.write(json.dumps(line, ensure_ascii=False) + "\n")
        told.flush()
        if line == WROTE:
            break
    os.kill(process, signal.SIGKILL)


class Worker:
    """The process of the tools, as the one that writes the answers sees it.

    It says that it is ready with a call, gets a number that it cannot have known before, and gives it back
    with the answer. ``most``: the longest answer in bytes.
    """

    def __init__(self, channel: socket.socket, most: int) -> None:
        self.channel, self.most, self.read = channel, most, b""

    def ask(self, request: dict[str, object]) -> dict[str, object] | None:
        """The answer to a request; None if the process ended, ``WROTE`` if it is not the worker's."""
        if self.pending():
            return WROTE
        number = secrets.token_hex(16)
        for sent, wanted in ((request, "ready"), ({"number": number}, number)):
            try:
                self.channel.sendall(json.dumps(sent).encode() + b"\n")
                line = self.line()
            except OSError:
                return None
            if line is None:
                return None
            try:
                said = json.loads(line)
            except (ValueError, RecursionError):
                return WROTE
            if not isinstance(said, list) or len(said) != 2 or said[0] != wanted or self.pending():
                return WROTE
        return said[1] if isinstance(said[1], dict) else WROTE

    def line(self) -> bytes | None:
        while b"\n" not in self.read:
            more = self.channel.recv(1 << 16)
            if not more:
                return None
            self.read += more
            if len(self.read) > self.most:
                return b""
        line, _, self.read = self.read.partition(b"\n")
        return line

    def pending(self) -> bool:
        """Whether more was written than was asked for."""
        try:
            self.read += self.channel.recv(1 << 16, socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass
        except OSError:
            return False
        return bool(self.read)


def work(channel: socket.socket, code: str, longest: int) -> None:
    """Be the process of the tools: load them, and answer requests until there are no more."""
    me, getpid, leave, dumps, loads = os.getpid(), os.getpid, os._exit, json.dumps, json.loads
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.closerange(4, 1 << 16)
    requests, send = channel.makefile("rb"), channel.sendall
    space: dict[str, object] = {}
    try:
        while line := requests.readline():
            request = loads(line)
            if "load" in request:
                told = tried(space, code)
            else:
                told = answer(space, request["name"], request["arguments"], longest)
            if getpid() != me:
                leave(0)  # a process that the tool forked
            send(dumps(["ready", None]).encode() + b"\n")
            number = loads(requests.readline())["number"]
            send(dumps([number, told], ensure_ascii=True).encode() + b"\n")
    finally:
        leave(0)


def tried(space: dict[str, object], code: str) -> dict[str, object]:
    """Load the code into ``space``; the line that says whether that went well."""
    try:
        space.update(loaded(code))
    except BaseException as error:
        return {"error": said(error)}
    return {"loaded": True}


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
