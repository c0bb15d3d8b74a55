"""Engine for OpenAI's batch API: requests are sent as files, at half the price, and answered within a day.

Nothing is stored here. Each request is named by a digest of what it says, and each batch is marked, so
that a run that was killed finds its batches at the server and waits for them: no request is paid twice.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from ...contracts.errors import EngineError, GristmillError, ModelError
from ...contracts.inference import Capability, Completion, Request
from ...contracts.notices import tell
from .openai_asking import Asked
from .openai_batch_server import BatchServer, Json
from .openai_dialect import Dialect
from .openai_options import OpenAIOptions
from .openai_spending import Spending
from .openai_trouble import ODD_FORM, Trouble, from_status, holds_for_all, not_a_completion
from .openai_wire import Wire
from .requests import check

#: Seconds without a new request after which those at hand are sent.
LULL = 1.0
#: What a batch is at its end; other states are on the way.
OVER = frozenset({"completed", "expired", "cancelled", "failed"})

#: Of what was charged, so that the request is not sent again.
UNREADABLE = "an answer that is not a completion: its line in the results of the batch cannot be read"


@dataclass
class Result:
    """What a batch says of a request: its line of the results, or why there is none.

    ``earlier``: is the batch that of an earlier run? ``charged``: has a request taken it? Equal ones share
    it.
    """

    said: Json | Trouble
    earlier: bool = False
    charged: bool = False

    def again(self, trouble: Trouble) -> bool:
        """Whether ``trouble``, which was read in this, is no attempt of this run: the request is sent again.

        An answer of an earlier run that was withheld or cannot be read stays what it is.
        """
        refused = isinstance(self.said, dict) and not _is_answer(self.said)
        return self.earlier and (refused or trouble.kind == "broken")


Answer = asyncio.Future[Result]


class BatchEngine:
    """One model, asked through batches."""

    def __init__(self, options: OpenAIOptions, key: str | None) -> None:
        self.capabilities: frozenset[Capability] = options.capabilities - {"likelihood", "reward"}
        self.vocab_size: int | None = None
        self._options = options
        self._server = BatchServer(options, key)
        self._dialect = Dialect(options.extra, options.unsupported)
        self._wire = Wire(
            options.model,
            vllm=False,
            dialect=self._dialect,
            thinking=options.thinking,
            secrets=[] if key is None else [key],
        )
        self._spending = Spending(options, self._server.place)
        #: The requests that are in no batch yet, by name: where they go, and their bodies.
        self._waiting: dict[str, tuple[str, Json]] = {}
        #: The answer of each request by name, until it is there.
        self._answers: dict[str, Answer] = {}
        #: The batch that already has a request, by the request's name.
        self._known: dict[str, str] | None = None
        self._answered = False  # has the server ever answered a request?
        self._arrived = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None
        self._watching: set[asyncio.Task[None]] = set()

    async def generate(self, requests: Sequence[Request]) -> list[Completion | EngineError]:
        """Return a completion for each request, in order, or the error that this request alone ends with.

        Waits until the batch is over that has them. Raises EngineError if the engine does not support a
        request, and ModelError, in the server's words, if it takes no batches.
        """
        check(requests, self.capabilities, "openai")
        return list(await asyncio.gather(*(self._one(request) for request in requests)))

    async def close(self) -> None:
        """Stop waiting. The batches go on at the server, and are found there by the next run."""
        tasks = [*self._watching, *([self._sending] if self._sending is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.close()

    async def _one(self, request: Request) -> Completion | EngineError:
        asked = Asked(request)
        try:
            completion = await self._completion(asked)
        except EngineError as error:
            error.spent = asked.spent
            return error
        return replace(completion, wasted=asked.spent)

    async def _completion(self, asked: Asked) -> Completion:
        while True:
            path, body = self._wire.body(asked.request)
            name = name_of(path, body, asked.request)
            result = await self._answer(name, path, body)
            try:
                return self._read(asked, result)
            except Trouble as trouble:
                if self._learns(trouble, body):
                    continue
                again = result.again(trouble)
                if trouble.kind != "refused" or again:
                    self._forget(name)
                if not again:
                    self._count(trouble, asked)

    def _read(self, asked: Asked, result: Result) -> Completion:
        """Return the completion, and charge it or what there is in its place. Raises Trouble."""
        answer: Json | None = None
        shared, result.charged = result.charged, True
        try:
            answer = _body(result.said)
            completion = self._wire.completion(asked.request, answer)
        except Trouble as odd:
            trouble = odd
        except ODD_FORM as error:
            trouble = Trouble("broken", not_a_completion(error, result.said if answer is None else answer))
        else:
            completion = self._spending.priced(asked.request, completion, answer.get("usage"))
            return replace(completion, shared=shared)
        usage = None if answer is None else answer.get("usage")
        if isinstance(usage, dict) and not shared:
            asked.wasted.add(self._spending.charged(asked.request, usage))
        raise trouble

    def _learns(self, trouble: Trouble, body: Json) -> bool:
        """Whether the refusal of ``body`` says how to write it. Raises ModelError if it must not be so."""
        try:
            learned = self._dialect.learn(trouble, body)
        except Trouble as stop:
            raise ModelError(f"{self._server.place}: {stop.reason}") from None
        if learned:
            tell(f"{self._server.place}: {learned}")
        return learned is not None

    def _count(self, trouble: Trouble, asked: Asked) -> None:
        """Count a failure. Raises EngineError after the last one, ModelError if it holds for all requests."""
        reason = f"{self._server.place}: {trouble.reason}"
        if trouble.kind == "stop" or holds_for_all(trouble, self._options.model, answered=self._answered):
            raise ModelError(reason)
        asked.failures += 1
        refused = trouble.kind == "refused"
        if refused or asked.failures >= self._options.attempts:
            raise EngineError(f"request {asked.request.id!r}: {reason}", retryable=not refused)

    async def _answer(self, name: str, path: str, body: Json) -> Result:
        """Return what a batch says of a request. Equal requests share it."""
        if name not in self._answers:
            self._answers[name] = asyncio.get_running_loop().create_future()
            self._waiting[name] = (path, body)
            self._arrived.set()
            if self._sending is None or self._sending.done():
                self._sending = asyncio.create_task(self._send())
        return await asyncio.shield(self._answers[name])

    def _forget(self, name: str) -> None:
        """Let a request whose answer is none be sent again."""
        if name in self._answers and not self._answers[name].done():
            return  # an equal request did
        self._answers.pop(name, None)
        if self._known is not None:
            self._known.pop(name, None)

    async def _send(self) -> None:
        """Put the waiting requests into batches, until there are none."""
        try:
            if self._known is None:
                self._known = await self._server.known(self._options.model)
                if self._known:
                    tell(f"{self._server.place}: batches of an earlier run are taken up again")
            while self._waiting:
                await self._until_lull()
                self._take_up()
                for path in sorted({path for path, _ in self._waiting.values()}):
                    names = [name for name, (where, _) in self._waiting.items() if where == path]
                    bodies = {name: self._waiting[name][1] for name in names[: self._options.batch]}
                    batch = await self._server.create(self._options.model, path, bodies)
                    for name in bodies:
                        del self._waiting[name]
                    self._watch(batch, set(bodies))
        except GristmillError as error:
            self._fail(set(self._answers), error)
        except ODD_FORM as error:
            # What is in other batches is answered there, and must not be paid twice.
            self._fail(set(self._waiting), Trouble("broken", not_a_completion(error)))

    async def _until_lull(self) -> None:
        while len(self._waiting) < self._options.batch:
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), LULL)
            except TimeoutError:
                return

    def _take_up(self) -> None:
        """Wait for the batches of an earlier run that have requests of this one."""
        found: dict[str, set[str]] = {}
        for name in list(self._waiting):
            if self._known and name in self._known:
                found.setdefault(self._known[name], set()).add(name)
                del self._waiting[name]
        for batch, names in found.items():
            self._watch(batch, names, earlier=True)

    def _watch(self, batch: str, names: set[str], *, earlier: bool = False) -> None:
        task = asyncio.create_task(self._follow(batch, names, earlier))
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)

    async def _follow(self, batch: str, names: set[str], earlier: bool) -> None:
        """Wait until a batch is over, and pass its results on. ``earlier``: is it that of an earlier run?"""
        try:
            state = await self._server.state(batch)
            while state["status"] not in OVER:
                await asyncio.sleep(self._options.poll)
                state = await self._server.state(batch)
            if state["status"] == "failed":
                raise ModelError(f"{self._server.place}: the batch {batch} failed: {_why(state)}")
            lines = await self._server.results(state)
            self._answered |= any(_is_answer(line) for _, line in lines)
            for name, line in lines:
                answer = self._answers.get(name) if name is not None and name in names else None
                if answer is None or answer.done():
                    continue
                if line is None:
                    answer.set_result(Result(Trouble("refused", UNREADABLE)))
                else:
                    answer.set_result(Result(line, earlier))
            over = f"no answer: the batch {batch} is {state['status']}, and has none to this"
            unread = state["status"] == "completed" and any(
                line is None and name not in names for name, line in lines
            )
            none = Trouble("refused", UNREADABLE) if unread else Trouble("broken", over)
            self._fail(names, none, earlier)
        except GristmillError as error:
            self._fail(names, error)
        except ODD_FORM as error:
            # The batch goes on: what is in it must not be paid twice.
            self._fail(names, Trouble("refused", not_a_completion(error)))

    def _fail(self, names: set[str], error: GristmillError | Trouble, earlier: bool = False) -> None:
        """End the requests that have no answer yet."""
        for name in names:
            self._waiting.pop(name, None)
            answer = self._answers.get(name)
            if answer is None or answer.done():
                continue
            if isinstance(error, Trouble):
                answer.set_result(Result(error, earlier))
            else:
                del self._answers[name]
                answer.set_exception(error)


def name_of(path: str, body: Json, request: Request) -> str:
    """Return the name of a request: a digest of where it goes and what it says (at most 64 characters).

    Samples of one prompt have names of their own, also if the server takes no ``seed``.
    """
    parts: list[Any] = [path, body]
    if request.sampling.temperature > 0 and "seed" not in body:
        parts.append(request.seed)
    said = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return f"gristmill-{sha256(said.encode()).hexdigest()[:48]}"


def _is_answer(line: Json | None) -> bool:
    response = None if line is None else line.get("response")
    return isinstance(response, dict) and response.get("status_code", 200) == 200


def _body(said: Json | Trouble) -> Json:
    """Return the body of a result. Raises Trouble if it is an error."""
    if isinstance(said, Trouble):
        raise said
    response = said.get("response")
    if not isinstance(response, dict):
        error = said.get("error")
        told = error.get("message", error) if isinstance(error, dict) else error
        raise Trouble("broken", f"no answer: {told}")
    body, status = response.get("body"), int(response.get("status_code", 200))
    if status != 200:
        error = body.get("error", body) if isinstance(body, dict) else body
        told = error.get("message", error) if isinstance(error, dict) else error
        raise from_status(status, f"status {status}: {told}", body)
    if not isinstance(body, dict):
        raise Trouble("broken", "an answer that is not a completion")
    return body


def _why(state: Json) -> str:
    errors: Any = (state.get("errors") or {}).get("data") or []
    return "; ".join(str(each.get("message", each)) for each in errors[:3]) or "no reason is given"
