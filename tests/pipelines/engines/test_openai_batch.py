"""``mode: batch`` against a real local server that speaks OpenAI's batch API, and counts what is paid."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from gristmill.contracts.errors import EngineError, ModelError
from gristmill.contracts.inference import Completion, Usage
from gristmill.contracts.notices import listening
from gristmill.pipelines.engines import openai_batch, openai_batch_server

from .batch_office import Json, Office, calls, completion, connect, some, texts
from .conftest import ask


@pytest.fixture
def office(monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    monkeypatch.setattr(openai_batch, "LULL", 0.1)
    monkeypatch.setattr(openai_batch_server, "pause_before", lambda attempt, asked, longest=1.0: 0.01)
    made = Office()
    yield made
    made.close()


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


def test_a_batch_whose_confirmation_has_no_id_is_not_made_again(office: Office) -> None:
    office.odd = {"batch-0"}
    assert texts(calls(connect(office), some(0, 1))) == ["you said t0", "you said t1"]
    assert len(office.batches) == 1


def test_an_odd_reply_to_one_batch_leaves_those_in_flight_alone(office: Office) -> None:
    office.odd, office.looks = {"file-1"}, 10
    assert texts(calls(connect(office, batch=1), some(0, 1))) == ["you said t0", "you said t1"]
    office.finish()
    assert office.paid == {"t0": 1, "t1": 1}


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


def test_a_key_that_an_answer_repeats_is_hidden(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCH_KEY", "sk-topsecret")
    office.reply = lambda body: (200, completion("your key is sk-topsecret"))
    assert texts(calls(connect(office, key_env="BATCH_KEY"), some(0))) == ["your key is ***"]


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


def test_samples_are_told_apart_if_the_server_takes_no_seed(office: Office) -> None:
    number = count()
    refusing = refuses("seed", "Unsupported parameter: 'seed' is not supported with this model.")

    def reply(body: Json) -> tuple[int, Json]:
        status, said = refusing(body)
        return (status, said) if status != 200 else (200, completion(f"sample {next(number)}"))

    office.reply = reply
    samples = [ask("t0", each) for each in (0, 1, 2, 0)]
    for _ in range(2):
        first, second, third, again = texts(calls(connect(office, unsupported="drop"), samples))
        assert sorted([first, second, third]) == ["sample 0", "sample 1", "sample 2"]
        assert again == first
        assert office.paid == {"t0": 6}
    greedy = [ask("t1", each, temperature=0.0) for each in (0, 1)]
    assert len(set(texts(calls(connect(office, unsupported="drop"), greedy)))) == 1


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


def test_what_an_earlier_run_s_batch_has_no_answer_to_is_no_attempt_of_this_run(office: Office) -> None:
    office.expires = True
    assert "batch-0 is expired" in texts(calls(connect(office, attempts=1), some(0)))[0]
    office.expires = False
    office.answers = {"t1": [(200, {**completion(""), "choices": []})]}
    assert "it has no choices" in texts(calls(connect(office, attempts=1), some(1)))[0]
    assert texts(calls(connect(office, attempts=1), some(0, 1))) == ["you said t0", "you said t1"]
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
