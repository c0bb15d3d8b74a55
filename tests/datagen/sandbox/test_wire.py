"""The messages of a judged run: exact values, identity, and errors for invalid messages."""

from __future__ import annotations

import copy
import datetime
import decimal
import json
import math
import socket
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.datagen.sandbox import wire
from gristmill.datagen.sandbox.failing import NoVerdict
from gristmill.datagen.sandbox.judge import Judge
from gristmill.datagen.sandbox.peer import Peer
from gristmill.datagen.sandbox.wire import Malformed

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers().map(lambda n: n * 10**400),
    st.floats(allow_nan=False), st.text(st.characters(codec=None)), st.binary(),
    st.complex_numbers(allow_nan=False), st.decimals(allow_nan=False), st.fractions(), st.dates(),
    st.datetimes(), st.timedeltas(), st.uuids(), st.just(...), st.just(range(1, 9, 2)),
)  # fmt: skip
KEYS = st.one_of(st.text(), st.integers(), st.tuples(st.integers(), st.text()), st.frozensets(st.integers()))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner),
        st.tuples(inner, inner),
        st.dictionaries(KEYS, inner),
        st.sets(KEYS),
        st.frozensets(KEYS),
    ),
    max_leaves=20,
)


class Echo(Peer):
    def do(self, verb: str, atom: Any, values: list[Any]) -> Any:
        return values[0]


def exactly(value: Any) -> Any:
    """The value together with the types of everything that it contains."""
    if isinstance(value, dict):
        return [(exactly(key), exactly(each)) for key, each in value.items()]
    if isinstance(value, (set, frozenset)):
        return type(value), sorted(repr(exactly(each)) for each in value)
    if isinstance(value, (list, tuple)):
        return type(value), [exactly(each) for each in value]
    return type(value), repr(value)


def pair() -> tuple[Judge, socket.socket]:
    ours, theirs = socket.socketpair()
    judge = Judge()
    judge.channel = ours
    return judge, theirs


def echoing(judge_side: Judge, channel: socket.socket) -> threading.Thread:
    def serve() -> None:
        peer = Echo(1)
        peer.channel = channel
        peer.heard = lambda beside: None  # type: ignore[method-assign]
        try:
            while True:
                peer.answer(*peer.hear())
        except EOFError:
            channel.close()

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


@given(VALUES)
def test_values_come_back_as_they_were(value: Any) -> None:
    judge, channel = pair()
    thread = echoing(judge, channel)
    before = copy.deepcopy(value)
    back = judge.ask("echo", None, value)
    judge.channel.close()
    thread.join()
    assert value == before
    assert (type(back), back) == (type(value), value)
    assert exactly(back) == exactly(value)
    if isinstance(value, (list, dict, set)):
        assert back is value


def test_what_is_not_equal_to_itself_and_what_is_itself() -> None:
    judge, channel = pair()
    thread = echoing(judge, channel)
    assert math.isnan(judge.ask("echo", None, float("nan")))
    assert math.copysign(1, judge.ask("echo", None, -0.0)) == -1
    cycle: list[Any] = [1]
    cycle.append((cycle, {"again": cycle}))
    back = judge.ask("echo", None, (cycle, cycle))
    assert back[0] is back[1] is cycle is back[0][1][0] is back[0][1][1]["again"]
    deep: list[Any] = []
    for _ in range(20_000):
        deep = [deep]
    assert judge.ask("echo", None, deep) is deep
    moment = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=2), "x"))
    assert judge.ask("echo", None, moment) == moment
    assert str(judge.ask("echo", None, decimal.Decimal("1.10"))) == "1.10"
    judge.channel.close()
    thread.join()


def message(slots: Any, nodes: Any, verb: Any = "return", rest: Any = ([], [], [], None)) -> list[Any]:
    return [verb, None, slots, nodes, *rest]


MALFORMED: list[Any] = [
    b"no json", b"[" * 100_000, b"1" * 10_000, None, {}, [], [1] * 8, message([{}], []), message([[0]], []),
    message([[1]], [["tuple", None, []]]), message([[0]], [["tuple", None, [[0]]]]),
    message([[0]], [["nothing", None, []]]), message([[0]], [["value", "Decimal", ["x"]]]),
    message([[0]], [["value", "system", ["ls"]]]), message([[0]], [["yours", 99, []]]),
    message([[0]], [["type", "os:system", []]]), message([[0]], [["type", "subprocess:Popen.__init__", []]]),
    message([[0]], [["type", "unittest.case:SkipTest", []]]), message([[0]], [["builtin", "os:system", []]]),
    message([[0]], [["=", [0, 5], []]]), message([[0]], [["set", None, [[1]]], ["list", None, []]]),
    message([[0]], [["object", 1, [int]]] if False else [["object", 1, [3]]]),
    message([[0]], [["class", [1, None], []]]),
    message([[0]], [["stored", 1, [[1], 3]], ["type", "builtins:str", []]]),
    message([[0]], [["list", [1, 2], []]] * 2, rest=([], [[7]], [], None)), message([5], [], "raise"),
    message([], []), message([1], [], "return", ([], [], [3], None)),
    message([1], [], "return", ([], [], [], 7)),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(MALFORMED)))
def test_what_is_no_message_is_no_verdict(number: int) -> None:
    judge, channel = pair()
    told = MALFORMED[number]
    body = told if isinstance(told, bytes) else json.dumps(told).encode()
    channel.sendall(wire._LENGTH.pack(len(body)) + body)
    channel.shutdown(socket.SHUT_WR)
    with pytest.raises(NoVerdict):
        judge.ask("call", [0], None)
    assert judge.verdict is not None
    assert judge.verdict.startswith("the program broke off the conversation with its tests (")
    assert not judge.gone
    judge.channel.close()
    channel.close()


def test_a_side_that_ends_is_told_apart_from_one_that_says_nonsense() -> None:
    judge, channel = pair()
    body = json.dumps(message([], [], "unknown")).encode()
    channel.sendall(wire._LENGTH.pack(len(body)) + body)
    channel.shutdown(socket.SHUT_WR)
    with pytest.raises(NoVerdict):
        judge.ask("call", [0], None)
    assert judge.gone
    assert wire.receive(channel)[0] == "call"
    assert wire.receive(channel)[0] == "raise", "what it may not ask is refused"
    judge.channel.close()
    channel.close()


def test_a_message_has_a_longest_length() -> None:
    judge, channel = pair()
    channel.sendall(wire._LENGTH.pack(wire.LONGEST + 1))
    with pytest.raises(Malformed):
        wire.receive(judge.channel)
    with pytest.raises(NoVerdict, match="cannot be sent"):
        judge.ask("echo", None, "x" * wire.LONGEST)
    judge.channel.close()
    channel.close()
