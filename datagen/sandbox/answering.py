"""Serves the requests of the other side: calls, attributes, operators, generators, coroutines."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import describing
from .wire import Malformed

if TYPE_CHECKING:
    from .peer import Peer

#: Time for which coroutines of one side run before those of the other side get a turn, in seconds.
TURN = 0.005


def answer(peer: Peer, verb: str, atom: Any, values: list[Any]) -> Any:
    """Carry out one request. Raises what the called code raises, and Malformed for an invalid request."""
    try:
        do = _VERBS[verb]
    except (KeyError, TypeError):
        raise Malformed(f"unknown request: {str(verb)[:40]}") from None
    return do(peer, atom, values)


def _call(peer: Peer, atom: Any, values: list[Any]) -> Any:
    count, *names = atom
    target, *rest = values
    values.clear()
    return target(*rest[:count], **dict(zip(names, rest[count:], strict=True)))


def _operate(peer: Peer, atom: Any, values: list[Any]) -> Any:
    target, *arguments = values
    values.clear()
    return getattr(type(target), atom)(target, *arguments)


def _set(peer: Peer, atom: Any, values: list[Any]) -> None:
    setattr(values[0], atom, values[1])


def _signature(peer: Peer, atom: Any, values: list[Any]) -> Any:
    found = inspect.signature(values[0])
    empty = inspect.Parameter.empty
    parameters = [
        (
            each.name,
            int(each.kind),
            each.default is not empty,
            None if each.default is empty else each.default,
            [] if each.annotation is empty else [each.annotation],
        )
        for each in found.parameters.values()
    ]
    return parameters, [] if found.return_annotation is inspect.Signature.empty else [found.return_annotation]


def _next(peer: Peer, atom: Any, values: list[Any]) -> Any:
    return next(peer.mine[atom])


def _send(peer: Peer, atom: Any, values: list[Any]) -> Any:
    return peer.mine[atom].send(values[0])


def _throw(peer: Peer, atom: Any, values: list[Any]) -> Any:
    return peer.mine[atom].throw(values[0])


def _close(peer: Peer, atom: Any, values: list[Any]) -> None:
    (values[0] if values else peer.mine[atom]).close()


def _anext(peer: Peer, atom: Any, values: list[Any]) -> Any:
    drawn = peer.mine[atom].__anext__()

    async def draw() -> Any:
        return await drawn

    return draw()


def _start(peer: Peer, atom: Any, values: list[Any]) -> int:
    async def run(awaitable: Any) -> Any:
        return await awaitable

    return peer.export(_loop(peer).create_task(run(values[0])))


def _step(peer: Peer, atom: Any, values: list[Any]) -> tuple[bool, Any]:
    import asyncio

    task, loop = peer.mine[atom], _loop(peer)
    # A running loop may be waiting for this very answer.
    waiting = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        loop.run_until_complete(asyncio.wait({task}, timeout=TURN))
    finally:
        asyncio._set_running_loop(waiting)
    if not task.done():
        return False, None
    del peer.numbers[id(peer.mine.pop(atom))]
    return True, task.result()


def _cancel(peer: Peer, atom: Any, values: list[Any]) -> None:
    task = peer.mine.get(atom)
    if task is not None:
        task.cancel()


def _loop(peer: Peer) -> Any:
    import asyncio  # not at the top: it takes a sixth of the memory that each run copies

    if peer.loop is None:
        peer.loop = asyncio.new_event_loop()
    return peer.loop


def _get(peer: Peer, atom: Any, values: list[Any]) -> Any:
    return getattr(values[0], atom)


def _delete(peer: Peer, atom: Any, values: list[Any]) -> None:
    delattr(values[0], atom)


_VERBS: dict[str, Callable[[Peer, Any, list[Any]], Any]] = {
    "call": _call,
    "get": _get,
    "set": _set,
    "delete": _delete,
    "op": _operate,
    "item": lambda peer, atom, values: values[0][values[1]],
    "dir": lambda peer, atom, values: dir(values[0]),
    "copy": lambda peer, atom, values: copy.copy(values[0]),
    "deepcopy": lambda peer, atom, values: copy.deepcopy(values[0]),
    "contents": lambda peer, atom, values: describing.contents(values[0]),
    "state": lambda peer, atom, values: describing.state(values[0]),
    "signature": _signature,
    "next": _next,
    "send": _send,
    "throw": _throw,
    "close": _close,
    "anext": _anext,
    "start": _start,
    "step": _step,
    "cancel": _cancel,
}
