"""``mode: batch`` against a real local server that speaks OpenAI's batch API, and counts what is paid."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from gristmill.contracts.errors import EngineError, ModelError
from gristmill.contracts.inference import Completion, Request, Usage
from gristmill.contracts.notices import listening
from gristmill.pipelines.engines import openai_batch, openai_batch_server
from gristmill.pipelines.engines.openai_batch import BatchEngine

from .conftest import ask, serve

Json = dict[str, Any]


class Office:
    """Takes batches, and completes each after ``looks`` looks at it. ``paid``: prompts that it answered."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.batches: list[Json] = []
        self.paid: Counter[str] = Counter()
        self.looks = 1
        self.answers: dict[str, list[tuple[int, Json]]] = {}
        self.refusal: tuple[int, Json] | None = None
        self.lose_answer_to_batch = False
        self.hide_status = False
        self.results: str | None = None
        self.reply: Callable[[Json], tuple[int, Json]] | None = None
        self.mangled: dict[str, Callable[[str], str]] = {}  # what becomes of the line that answers a prompt
        self._lock = threading.Lock()
        office = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._say(*office.get(self.path))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status, said = office.post(self.path, self.headers["content-type"], body)
                if status == 0:
                    self.close_connection = True  # the answer is lost
                else:
                    self._say(status, said)

            def _say(self, status: int, said: Any) -> None:
                data = said.encode() if isinstance(said, str) else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                return None

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.handle_error = lambda request, client: None  # type: ignore[method-assign]
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def get(self, path: str) -> tuple[int, Any]:
        where = urlsplit(path)
        parts = where.path.split("/")[2:]
        with self._lock:
            if parts[0] == "files":
                return 200, self.files[parts[1]]
            if len(parts) == 1:
                newest = self.batches[::-1]
                after = parse_qs(where.query).get("after")
                start = 1 + [batch["id"] for batch in newest].index(after[0]) if after else 0
                page = newest[start : start + 2]  # pages of two
                return 200, {"data": page, "has_more": start + 2 < len(newest)}
            batch = next(batch for batch in self.batches if batch["id"] == parts[1])
            batch["looks"] += 1
            if batch["looks"] > self.looks and batch["status"] == "in_progress":
                self._complete(batch)
            return 200, {name: batch[name] for name in batch if not (self.hide_status and name == "status")}

    def post(self, path: str, kind: str, body: bytes) -> tuple[int, Any]:
        with self._lock:
            if self.refusal is not None:
                return self.refusal
            if path.endswith("/files"):
                message = BytesParser().parsebytes(f"content-type: {kind}\r\n\r\n".encode() + body)
                parts: Sequence[Any] = message.get_payload()  # type: ignore[assignment]
                text = next(part.get_payload() for part in parts if part.get_filename())
                name = f"file-{len(self.files)}"
                self.files[name] = text
                return 200, {"id": name}
            batch = {"id": f"batch-{len(self.batches)}", "status": "in_progress", "looks": 0}
            self.batches.append(batch | json.loads(body))
            if self.lose_answer_to_batch:
                self.lose_answer_to_batch = False
                return 0, None
            return 200, self.batches[-1]

    def finish(self) -> None:
        """Complete the batches that nobody looks at any more: they are paid for all the same."""
        with self._lock:
            for batch in self.batches:
                if batch["status"] == "in_progress":
                    self._complete(batch)

    def _complete(self, batch: Json) -> None:
        lines = []
        for line in self.files[batch["input_file_id"]].splitlines():
            asked = json.loads(line)
            prompt = asked["body"]["messages"][-1]["content"]
            self.paid[prompt] += 1
            status, said = 200, completion(f"you said {prompt}")
            if self.reply is not None:
                status, said = self.reply(asked["body"])
            if self.answers.get(prompt):
                status, said = self.answers[prompt].pop(0)
            response = {"status_code": status, "body": said}
            told = {"custom_id": asked["custom_id"], "response": response, "error": None}
            text = json.dumps(told, ensure_ascii=False)
            lines.append(self.mangled.get(prompt, str)(text))
        batch["status"] = "completed"
        batch["output_file_id"] = f"results-{batch['id']}"
        self.files[batch["output_file_id"]] = self.results or "\n".join(lines)


def completion(text: str, finish: str = "stop") -> Json:
    usage = {"prompt_tokens": 5, "completion_tokens": 2}
    return {"choices": [{"message": {"content": text}, "finish_reason": finish}], "usage": usage}


@pytest.fixture
def office(monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    monkeypatch.setattr(openai_batch, "LULL", 0.1)
    monkeypatch.setattr(openai_batch_server, "pause_before", lambda attempt, asked, longest=1.0: 0.01)
    made = Office()
    yield made
    made.close()


def connect(office: Office, **options: Any) -> BatchEngine:
    engine = serve("openai", None, url=office.url, model="m", mode="batch", poll=0.02, **options)
    assert isinstance(engine, BatchEngine)
    return engine


def calls(
    engine: BatchEngine, *requests: Sequence[Request], within: float = 300
) -> list[Completion | EngineError]:
    """The answers of several calls made together. ``within``: seconds until a hang is an error."""

    async def together() -> list[Completion | EngineError]:
        try:
            done = await asyncio.gather(*(engine.generate(each) for each in requests))
            return [answer for answers in done for answer in answers]
        finally:
            await engine.close()

    return asyncio.run(asyncio.wait_for(together(), within))


def texts(answers: Sequence[Completion | EngineError]) -> list[str]:
    return [answer.text if isinstance(answer, Completion) else str(answer) for answer in answers]


def some(*numbers: int) -> list[Request]:
    return [ask(f"t{number}", number) for number in numbers]


def test_calls_share_batches_and_answers_come_in_order(office: Office) -> None:
    done = calls(connect(office, price={"input": 1.0, "output": 10.0}), some(0, 1, 2), some(3, 4))
    assert texts(done) == [f"you said t{number}" for number in range(5)]
    assert [answer.request_id for answer in done if isinstance(answer, Completion)] == [
        f"r{number}" for number in range(5)
    ]
    assert len(office.batches) == 1
    assert office.batches[0]["endpoint"] == "/v1/chat/completions"
    assert isinstance(done[0], Completion)
    assert done[0].cost == pytest.approx(25e-6)


def test_a_batch_has_at_most_as_many_requests_as_are_said(office: Office) -> None:
    calls(connect(office, batch=2), some(0, 1, 2, 3, 4))
    assert len(office.batches) == 3
    assert set(office.paid.values()) == {1}


def test_a_run_that_is_killed_takes_its_batches_up_and_pays_nothing_twice(office: Office) -> None:
    office.looks = 10**6

    async def killed() -> None:
        engine = connect(office, batch=2)
        asking = asyncio.create_task(engine.generate(some(0, 1, 2, 3, 4)))
        while len(office.batches) < 3:
            await asyncio.sleep(0.01)
        asking.cancel()
        for task in [*engine._watching, engine._sending]:
            if task is not None:
                task.cancel()

    asyncio.run(killed())
    office.looks = 1
    done = calls(connect(office), some(0, 1, 2, 3, 4, 5))
    office.finish()
    assert texts(done) == [f"you said t{number}" for number in range(6)]
    assert office.paid == {f"t{number}": 1 for number in range(6)}
    assert len(office.batches) == 4


def test_a_batch_whose_confirmation_is_lost_is_not_made_again(office: Office) -> None:
    office.lose_answer_to_batch = True
    assert texts(calls(connect(office), some(0, 1))) == ["you said t0", "you said t1"]
    assert len(office.batches) == 1


def test_a_request_without_an_answer_is_sent_again_alone(office: Office) -> None:
    office.answers = {"t1": [(500, {"error": {"message": "broke"}})]}
    assert texts(calls(connect(office), some(0, 1, 2))) == [f"you said t{number}" for number in range(3)]
    assert office.paid == {"t0": 1, "t1": 2, "t2": 1}


def test_a_request_that_is_refused_fails_alone(office: Office) -> None:
    office.answers = {"t1": [(400, {"error": {"message": "flagged"}})]}
    done = calls(connect(office), some(0, 1, 2))
    assert [type(answer) for answer in done] == [Completion, EngineError, Completion]
    assert "status 400: flagged" in str(done[1])
    assert office.paid.total() == 3


@pytest.mark.parametrize("odd", ["a batch without a status", "results that are no JSON"])
def test_an_odd_answer_about_a_batch_fails_its_requests_and_hangs_none(office: Office, odd: str) -> None:
    if odd == "a batch without a status":
        office.hide_status = True
    else:
        office.results = "no JSON"
    (said,) = calls(connect(office, attempts=1), some(0), within=20)
    assert isinstance(said, EngineError)
    assert "an answer that is not a completion" in str(said)


def test_equal_requests_are_paid_once(office: Office) -> None:
    same = [ask("t0", 0), ask("t0", 0)]
    assert texts(calls(connect(office), same)) == ["you said t0"] * 2
    assert office.paid == {"t0": 1}


def test_a_server_that_takes_no_batches_stops_the_run_in_its_words(office: Office) -> None:
    office.refusal = (401, {"error": {"message": "Incorrect API key provided"}})
    with pytest.raises(ModelError, match="Incorrect API key provided"):
        calls(connect(office), some(0))


def refuses(field: str, message: str) -> Callable[[Json], tuple[int, Json]]:
    """A server that does not take a field."""

    def reply(body: Json) -> tuple[int, Json]:
        if field in body:
            return 400, {"error": {"message": message, "param": field}}
        return 200, completion(f"you said {body['messages'][-1]['content']}")

    return reply


RENAMED = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'."
NO_TEMPERATURE = "Unsupported value: 'temperature' does not support 1.0 with this model."


def test_max_tokens_is_renamed_and_later_runs_know_it_from_the_first_batch(office: Office) -> None:
    office.reply = refuses("max_tokens", RENAMED)
    for _ in range(2):
        done = calls(connect(office, attempts=1), some(0, 1))
        assert texts(done) == ["you said t0", "you said t1"]
        assert len(office.batches) == 2
    sent = office.files[office.batches[1]["input_file_id"]]
    bodies = [json.loads(line)["body"] for line in sent.split("\n")]
    assert [body["max_completion_tokens"] for body in bodies] == [16, 16]


def test_a_refused_parameter_is_dropped_or_stops_the_run(office: Office) -> None:
    office.reply = refuses("temperature", NO_TEMPERATURE)
    with pytest.raises(ModelError, match=r"it does not take 'temperature' .*unsupported: drop"):
        calls(connect(office), some(0, 1))
    told: list[str] = []
    with listening(told.append):
        done = calls(connect(office, unsupported="drop"), some(0, 1))
    assert texts(done) == ["you said t0", "you said t1"]
    assert sum("does not take 'temperature'" in text for text in told) == 1
    assert len(office.batches) == 2


def test_batches_go_to_one_address(office: Office) -> None:
    with pytest.raises(ModelError, match="batches go to one address with one key: leave out `also`"):
        connect(office, also=[{"url": "http://localhost:1/v1"}])


@pytest.mark.parametrize("status", [400, 404])
def test_what_was_refused_in_an_earlier_run_is_sent_again(office: Office, status: int) -> None:
    office.answers = {"t1": [(status, {"error": {"message": "flagged"}})]}
    if status == 400:
        assert "flagged" in texts(calls(connect(office), some(0, 1)))[1]
    else:
        with pytest.raises(ModelError, match="flagged"):
            calls(connect(office), some(0, 1))
    done = calls(connect(office, attempts=1), [*some(0, 1), ask("t1", 1)])
    assert texts(done) == ["you said t0", "you said t1", "you said t1"]
    assert office.paid == {"t0": 1, "t1": 2}


def test_only_a_newline_ends_a_line_of_the_results(office: Office) -> None:
    odd = "a\u2028b\u2029c\x85d"
    office.answers = {"t1": [(200, completion(odd))]}
    assert texts(calls(connect(office), some(0, 1, 2))) == ["you said t0", odd, "you said t2"]
    assert office.paid == {"t0": 1, "t1": 1, "t2": 1}


@pytest.mark.parametrize(
    "mangle",
    [
        lambda line: line[:-3],
        lambda line: line[60:],
        lambda line: f"[{line}]",
        lambda line: line.replace("gristmill-", "\x01"),
    ],
    ids=["cut", "nameless", "list", "damaged name"],
)
def test_a_line_that_cannot_be_read_fails_its_request_alone_which_is_not_paid_again(
    office: Office, mangle: Callable[[str], str]
) -> None:
    office.mangled = {"t1": mangle}
    for _ in range(2):
        done = calls(connect(office), some(0, 1, 2))
        assert [type(answer) for answer in done] == [Completion, EngineError, Completion]
        assert "its line in the results of the batch cannot be read" in str(done[1])
    assert office.paid == {"t0": 1, "t1": 1, "t2": 1}


def test_results_that_cannot_be_read_and_a_batch_in_an_odd_state_are_not_paid_again(office: Office) -> None:
    office.results = "no JSON"
    assert isinstance(calls(connect(office), some(0))[0], EngineError)
    office.hide_status = True
    assert isinstance(calls(connect(office), some(1))[0], EngineError)
    office.finish()
    assert office.paid == {"t0": 1, "t1": 1}


def test_what_is_charged_for_answers_in_vain_is_counted(office: Office) -> None:
    none = {**completion(""), "choices": []}
    office.answers = {"t0": [(200, completion("", "content_filter"))], "t1": [(200, none)]}
    withheld, second = calls(connect(office, price={"input": 1.0, "output": 10.0}), some(0, 1))
    assert isinstance(withheld, EngineError)
    assert withheld.spent == Usage(1, 5, 2, 0, pytest.approx(25e-6))
    assert isinstance(second, Completion)
    assert second.wasted == Usage(1, 5, 2, 0, pytest.approx(25e-6))


def test_a_line_that_equal_requests_share_is_charged_once(office: Office) -> None:
    office.answers = {"t1": [(200, completion("", "content_filter"))]}
    done = calls(connect(office, price={"input": 1.0, "output": 10.0}), some(0, 1), [*some(0, 1), *some(0)])
    usage = Usage()
    for answer in done:
        if isinstance(answer, Completion):
            assert (answer.prompt_tokens, len(answer.tokens)) == (5, 2)
            usage.count(answer)
        elif answer.spent is not None:
            usage.add(answer.spent)
    assert usage == Usage(2, 10, 4, 0, pytest.approx(50e-6))


def test_words_for_an_unknown_model_stop_the_run_only_if_the_server_has_never_answered(
    office: Office,
) -> None:
    odd = (400, {"error": {"message": "messages[3]: unknown model role"}})
    office.answers = {"t1": [odd]}
    assert "unknown model role" in texts(calls(connect(office), some(0, 1)))[1]
    office.answers = {"t2": [odd], "t3": [odd]}
    with pytest.raises(ModelError, match="unknown model role"):
        calls(connect(office), some(2, 3))
