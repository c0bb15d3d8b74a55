"""Several models decoded as one: equal to a direct computation of the formula, token by token."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.stats import chisquare

from gristmill.contracts.errors import EngineError, ModelError
from gristmill.contracts.inference import Completion, Engine, EngineSettings, ModelWeights, Request, Sampling
from gristmill.pipelines.engines import capabilities_of, start
from gristmill.pipelines.engines.combining import Shift
from gristmill.pipelines.engines.fusion import DynamicScales, best_weights, directions

Make = Callable[..., Path]
Combine = Callable[..., Engine]
Logits = Callable[[Sequence[int]], torch.Tensor]

PROMPTS = [(5, 9, 70, 33, 8), (40,), (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37), (100, 101, 102)]


@dataclasses.dataclass
class Family:
    """A large model, two tuned small ones and the untuned one, each random, and how to compute with them."""

    weights: dict[str, ModelWeights]
    models: dict[str, Any]
    engines: list[Engine] = dataclasses.field(default_factory=list)

    def combine(
        self, plus: Sequence[str] = ("tuned",), minus: Sequence[str] = ("small",), **options: object
    ) -> Engine:
        beside = {
            "plus": tuple(self.weights[name] for name in plus),
            "minus": tuple(self.weights[name] for name in minus),
        }
        settings = EngineSettings(
            "combined", self.weights["large"], {"dtype": "float32", "max_model_len": 128, **options}, beside
        )
        self.engines.append(start(settings))
        return self.engines[-1]

    def logits(self, name: str, tokens: Sequence[int]) -> torch.Tensor:
        """The logits after the last token, of a whole forward pass without a cache."""
        with torch.inference_mode():
            found: torch.Tensor = self.models[name](torch.tensor([list(tokens)])).logits[0, -1, :300]
        return found

    def shifts(self, tokens: Sequence[int], *plus: str) -> list[Shift]:
        return [Shift(self.logits(name, tokens), self.logits("small", tokens)) for name in plus]

    def proxy(self, tokens: Sequence[int], scale: float = 1.0) -> torch.Tensor:
        return self.logits("large", tokens) + scale * (
            self.logits("tuned", tokens) - self.logits("small", tokens)
        )


@pytest.fixture
def family(make_model: Make) -> Iterator[Family]:
    """The large one has another shape, and a vocabulary that is padded to another size."""
    from transformers import AutoModelForCausalLM

    shapes = {
        "large": {"hidden_size": 96, "num_hidden_layers": 3, "vocab_size": 320, "seed": 1},
        "tuned": {"seed": 2},
        "other": {"seed": 3},
        "small": {"seed": 4},
    }
    paths = {name: make_model(name=name, **shape) for name, shape in shapes.items()}
    made = Family(
        {name: ModelWeights(name, path, name) for name, path in paths.items()},
        {
            name: AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
            for name, path in paths.items()
        },
    )
    yield made
    for engine in made.engines:
        asyncio.run(engine.close())


def ask(prompt: Sequence[int], number: int = 0, **sampling: Any) -> Request:
    settings = {"max_tokens": 12, "temperature": 0.0, **sampling}
    seed = settings.pop("seed", number)
    return Request(f"r{number}", seed, Sampling(**settings), prompt_tokens=tuple(prompt))


def answers(engine: Engine, *requests: Request) -> list[Completion]:
    return list(asyncio.run(engine.generate(requests)))  # type: ignore[arg-type]


def directly(formula: Logits, prompt: Sequence[int], count: int) -> tuple[list[int], list[float]]:
    """The likeliest tokens and their log-probabilities, each from whole forward passes."""
    tokens, logprobs = list(prompt), []
    for _ in range(count):
        scores = torch.log_softmax(formula(tokens), dim=-1)
        tokens.append(int(scores.argmax()))
        logprobs.append(float(scores[tokens[-1]]))
        if tokens[-1] == 1:
            break
    return tokens[len(prompt) :], logprobs


@pytest.mark.parametrize("scale", [1.0, 0.3, -0.5])
def test_greedy_tokens_are_those_of_the_formula(family: Family, scale: float) -> None:
    engine = family.combine(scale=scale, batch_size=3)
    requests = [ask(prompt, number, logprobs=2) for number, prompt in enumerate(PROMPTS)]
    for prompt, answer in zip(PROMPTS, answers(engine, *requests), strict=True):
        tokens, logprobs = directly(lambda seen: family.proxy(seen, scale), prompt, 12)
        assert list(answer.tokens) == tokens
        assert answer.logprobs == pytest.approx(logprobs, abs=1e-5)
        assert answer.top_logprobs is not None
        assert answer.top_logprobs[0][0] == pytest.approx(logprobs[0], abs=1e-5)
        assert (answer.prompt_tokens, len(answer.tokens)) == (len(prompt), len(tokens)), "what is counted"


def test_scale_zero_is_the_base_alone(family: Family) -> None:
    [answer] = answers(family.combine(scale=0.0), ask(PROMPTS[0], logprobs=0))
    tokens, logprobs = directly(lambda seen: family.logits("large", seen), PROMPTS[0], 12)
    assert list(answer.tokens) == tokens
    assert answer.logprobs == pytest.approx(logprobs, abs=1e-5)


def test_each_pair_has_its_scale(family: Family) -> None:
    engine = family.combine(plus=("tuned", "other"), minus=("small", "small"), scale=[0.5, 2.0])

    def formula(seen: Sequence[int]) -> torch.Tensor:
        first, second = family.shifts(seen, "tuned", "other")
        return family.logits("large", seen) + 0.5 * first.change + 2.0 * second.change

    [answer] = answers(engine, ask(PROMPTS[2], logprobs=0))
    tokens, logprobs = directly(formula, PROMPTS[2], 12)
    assert list(answer.tokens) == tokens
    assert answer.logprobs == pytest.approx(logprobs, abs=1e-5)


@pytest.mark.parametrize("draft", [0, 3])
def test_a_row_does_not_depend_on_its_neighbors(family: Family, draft: int) -> None:
    engine = family.combine(batch_size=8, draft=draft)
    requests = [
        ask(prompt, number, temperature=0.8, top_p=0.9, max_tokens=5 + 4 * number, logprobs=1)
        for number, prompt in enumerate(PROMPTS)
    ]
    for request, beside in zip(requests, answers(engine, *requests), strict=True):
        [alone] = answers(engine, request)
        assert alone.tokens == beside.tokens
        assert alone.logprobs == pytest.approx(beside.logprobs, abs=1e-4)


@pytest.mark.parametrize(
    "sampling", [{}, {"temperature": 1.0}, {"temperature": 0.7, "top_k": 20, "top_p": 0.9}]
)
def test_a_draft_changes_no_token(family: Family, sampling: dict[str, Any]) -> None:
    requests = [
        ask(
            prompt,
            10 * turn + number,
            max_tokens=7 + 5 * number,
            logprobs=1,
            repetition_penalty=1.1,
            **sampling,
        )
        for turn in range(2)
        for number, prompt in enumerate(PROMPTS)
    ]
    plain = answers(family.combine(), *requests)
    drafted = answers(family.combine(draft=4), *requests)
    for one, other in zip(plain, drafted, strict=True):
        assert (one.tokens, one.text, one.finish) == (other.tokens, other.text, other.finish)
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_a_draft_that_is_always_right_saves_passes_of_the_base(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import LlamaForCausalLM

    passes: Counter[int] = Counter()
    forward = LlamaForCausalLM.forward

    def counted(self: Any, *given: Any, **named: Any) -> Any:
        passes[self.config.hidden_size] += 1
        return forward(self, *given, **named)

    monkeypatch.setattr(LlamaForCausalLM, "forward", counted)
    # small + (tuned - small) = tuned, which drafts.
    family.weights["large"] = family.weights["small"]
    engine = family.combine(draft=4)
    [answer] = answers(engine, ask(PROMPTS[0], max_tokens=16, temperature=1.0))
    rounds = (len(answer.tokens) - 1 + 4) // 5
    assert len(answer.tokens) == 16
    assert passes[64] == 2 + rounds * (1 + 5), "one pass of the base for five tokens"


def test_samples_follow_the_combined_distribution(family: Family) -> None:
    engine = family.combine(batch_size=64, scale=0.2)
    requests = [ask(PROMPTS[1], seed, seed=seed, temperature=3.0, max_tokens=1) for seed in range(1500)]
    found = Counter(answer.tokens[0] for answer in answers(engine, *requests))
    expected = torch.softmax(family.proxy(PROMPTS[1], 0.2) / 3.0, dim=-1).double()
    often = [token for token in range(300) if expected[token] * 1500 >= 8]
    assert len(often) > 5
    counts = [*(found[token] for token in often), 1500 - sum(found[token] for token in often)]
    shares = [*(float(expected[token]) for token in often), 1.0 - float(expected[often].sum())]
    assert chisquare(counts, [1500 * share / sum(shares) for share in shares]).pvalue > 0.001
    again = Counter(answer.tokens[0] for answer in answers(engine, *requests))
    assert again == found, "a seed gives the same token again"


def test_stop_texts_and_ends_of_turn(family: Family) -> None:
    engine = family.combine(draft=2)
    [whole] = answers(engine, ask(PROMPTS[0], max_tokens=20))
    stop = whole.text[3:5]
    [cut] = answers(engine, ask(PROMPTS[0], max_tokens=20, stop=(stop,)))
    assert cut.finish == "stop"
    assert cut.text == whole.text[: whole.text.index(stop)]


def test_given_text_is_scored_by_the_combined_distribution(family: Family) -> None:
    engine = family.combine(plus=("tuned", "other"), minus=("small", "small"), scale="dynamic")
    request = dataclasses.replace(ask(PROMPTS[0]), continuation="Mill")
    [answer] = answers(engine, request)
    seen = list(PROMPTS[0])
    assert answer.logprobs is not None
    assert len(answer.logprobs) == len(answer.tokens) == 4
    for token, logprob in zip(answer.tokens, answer.logprobs, strict=True):
        combined = DynamicScales()(family.logits("large", seen), family.shifts(seen, "tuned", "other"))
        assert logprob == pytest.approx(float(torch.log_softmax(combined, dim=-1)[token]), abs=1e-4)
        seen.append(token)


def test_fused_tokens_have_the_weights_of_their_step(family: Family) -> None:
    engine = family.combine(plus=("tuned", "other"), minus=("small", "small"), scale="dynamic", parts=3)
    [answer] = answers(engine, ask(PROMPTS[2], max_tokens=6, logprobs=0))

    def formula(seen: Sequence[int]) -> torch.Tensor:
        shifts = family.shifts(seen, "tuned", "other")
        weights = brute_force(family.logits("large", seen), shifts, 3)[1]
        changes = [weight * shift.change for weight, shift in zip(weights, shifts, strict=True)]
        return family.logits("large", seen) + torch.stack(changes).sum(dim=0)

    tokens, logprobs = directly(formula, PROMPTS[2], 6)
    assert list(answer.tokens) == tokens
    assert answer.logprobs == pytest.approx(logprobs, abs=1e-3)


def loss(base: torch.Tensor, shifts: Sequence[Shift], weights: Sequence[float]) -> float:
    """The paper's sum of squares, as it is written there."""

    def divergence(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        one, other = torch.log_softmax(one, dim=-1), torch.log_softmax(other, dim=-1)
        return (one.exp() * (one - other)).sum()

    moved = base + torch.stack([w * shift.change for w, shift in zip(weights, shifts, strict=True)]).sum(
        dim=0
    )
    squares = [
        (divergence(moved, base) - divergence(shift.plus, shift.minus)) ** 2
        + (divergence(base, moved) - divergence(shift.minus, shift.plus)) ** 2
        for shift in shifts
    ]
    return float(torch.stack(squares).sum())


def brute_force(base: torch.Tensor, shifts: Sequence[Shift], parts: int) -> tuple[float, tuple[float, ...]]:
    """The smallest loss over every multiple of 0.01 of every direction."""
    base = base.double()
    shifts = [Shift(shift.plus.double(), shift.minus.double()) for shift in shifts]
    tried = {
        tuple(share * step / 100 for share in direction)
        for direction in directions(len(shifts), parts)
        for step in range(201)
    }
    return min((loss(base, shifts, weights), weights) for weights in tried)


@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])
@pytest.mark.parametrize(("pairs", "parts"), [(1, 1), (3, 1), (2, 4)])
def test_fusion_weights_are_those_of_a_search_over_all(spread: float, pairs: int, parts: int) -> None:
    draw = torch.Generator().manual_seed(pairs + parts)
    for _ in range(2):
        base = 2 * torch.randn(40, generator=draw)
        minus = base + 0.5 * torch.randn(40, generator=draw)
        shifts = [Shift(minus + spread * torch.randn(40, generator=draw), minus) for _ in range(pairs)]
        weights = best_weights(base, shifts, parts)
        least, expected = brute_force(base, shifts, parts)
        assert loss(base.double(), shifts, weights) == pytest.approx(least, rel=1e-3, abs=1e-6)
        assert weights == pytest.approx(expected, abs=0.0101)


def test_a_base_that_is_the_untuned_model_takes_the_whole_change() -> None:
    minus = torch.linspace(-2, 2, 30)
    shift = Shift(minus + torch.sin(torch.arange(30.0)), minus)
    assert best_weights(minus, [shift]) == pytest.approx((1.0,), abs=1e-6)


def test_directions_reach_every_corner_of_the_weights() -> None:
    assert directions(2, 1) == [(0.0, 1.0), (1.0, 0.0)]
    assert directions(1, 3) == [(1.0,)]
    assert set(directions(2, 2)) == {(0.0, 1.0), (1.0, 1.0), (1.0, 0.0)}
    assert len(directions(3, 4)) == 15


def without_file(path: Path) -> Path:
    """Save a tokenizer in the older form, without a ``tokenizer.json``. Returns the file of its tokens."""
    saved = json.loads((path / "tokenizer.json").read_text())
    (path / "tokenizer.json").unlink()
    tokens = {**saved["model"]["vocab"], **{each["content"]: each["id"] for each in saved["added_tokens"]}}
    (path / "vocab.json").write_text(json.dumps(tokens))
    (path / "merges.txt").write_text("#version: 0.2\n")
    file = path / "tokenizer_config.json"
    special = dict.fromkeys(("bos_token", "eos_token", "unk_token", "pad_token"), "<|end|>")
    file.write_text(
        json.dumps({**json.loads(file.read_text()), **special, "tokenizer_class": "GPT2Tokenizer"})
    )
    return path / "vocab.json"


def test_models_with_other_tokens_are_refused(family: Family, save_tokenizer: Callable[..., None]) -> None:
    save_tokenizer(family.weights["tuned"].path, more=["<|think|>"])
    with pytest.raises(
        ModelError, match=r"'large' and 'tuned' have different tokenizers \(258 and 259 tokens; "
    ):
        family.combine()


@pytest.mark.parametrize("name", ["large", "tuned", "small"])
def test_a_tokenizer_without_a_file_of_its_tokens_is_compared_too(
    family: Family, save_tokenizer: Callable[..., None], name: str
) -> None:
    file = without_file(family.weights[name].path)
    family.combine()
    file.write_text(json.dumps({**json.loads(file.read_text()), "two": 258}))
    with pytest.raises(ModelError, match=r"have different tokenizers \(25[89] and 25[89] tokens; "):
        family.combine()


def test_a_member_without_a_tokenizer_is_refused(family: Family) -> None:
    (family.weights["small"].path / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match=r"the tokenizer of 'small' .* its tokens cannot be compared"):
        family.combine()


@pytest.mark.parametrize("name", ["large", "tuned", "small"])
def test_the_context_is_that_of_the_member_with_the_least(family: Family, name: str) -> None:
    file = family.weights[name].path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "max_position_embeddings": 64}))
    engine = family.combine(max_model_len=None)
    with pytest.raises(EngineError, match="exceed the context of 64 tokens"):
        answers(engine, ask(PROMPTS[0], max_tokens=64))


def test_an_answer_is_asked_for_as_of_any_engine(family: Family) -> None:
    engine = family.combine()
    assert engine.vocab_size == 300, "the ids that all models have"
    assert engine.capabilities == capabilities_of("combined")
    chat = Request("c", 1, Sampling(max_tokens=4), messages=({"role": "user", "content": "Hi"},))
    [answer] = answers(engine, chat)
    assert answer.prompt_tokens > 10
    with pytest.raises(EngineError, match="needs json_schema, which the engine"):
        answers(engine, ask(PROMPTS[0], json_schema="{}"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"parts": 2}, "`parts` divides a weight that is found at each token: add `scale: dynamic`"),
        ({"scale": "auto"}, "scale"),
        ({"draft": 17}, "draft: must be at most 16"),
    ],
)
def test_options_are_checked(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ModelError, match=told):
        capabilities_of("combined", options)
