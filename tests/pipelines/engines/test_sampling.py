from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.contracts.inference import Sampling
from gristmill.pipelines.engines.sampling import choose


def drawn(
    logits: np.ndarray, sampling: Sampling, before: tuple[int, ...] = (), draws: int = 4000
) -> np.ndarray:
    """Count how often each token is chosen."""
    generator = torch.Generator().manual_seed(3)
    tensor = torch.tensor(logits, dtype=torch.float32)
    tokens = [choose(tensor, sampling, generator, before) for _ in range(draws)]
    return np.bincount(tokens, minlength=len(logits)) / draws


def plainly(logits: np.ndarray, sampling: Sampling, before: tuple[int, ...]) -> np.ndarray:
    """The distribution to draw from: an independent implementation of the definitions in float64."""
    scores = logits.astype(float)
    for token in set(before):
        scores[token] = (
            scores[token] / sampling.repetition_penalty
            if scores[token] > 0
            else scores[token] * sampling.repetition_penalty
        )
    p = np.exp(scores / sampling.temperature - (scores / sampling.temperature).max())
    p /= p.sum()
    p[p < sampling.min_p * p.max()] = 0
    p /= p.sum()
    order = sorted(range(len(p)), key=lambda token: -p[token])
    if sampling.top_k:
        p[order[sampling.top_k :]] = 0
        p /= p.sum()
    mass = 0.0
    for token in order:
        if mass >= sampling.top_p:
            p[token] = 0
        mass += p[token]
    return p / p.sum()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    temperature=st.floats(0.3, 2.0),
    top_k=st.sampled_from([0, 1, 3, 50]),
    top_p=st.sampled_from([1.0, 0.9, 0.5, 0.01]),
    min_p=st.sampled_from([0.0, 0.05, 0.9]),
    penalty=st.sampled_from([1.0, 1.5, 0.7]),
)
def test_tokens_are_drawn_from_the_distribution_that_the_settings_define(
    seed: int, temperature: float, top_k: int, top_p: float, min_p: float, penalty: float
) -> None:
    logits = np.random.default_rng(seed).normal(0, 2, 12)
    sampling = Sampling(
        temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, repetition_penalty=penalty
    )
    before = (1, 4, 4)
    expected = plainly(logits, sampling, before)
    found = drawn(logits, sampling, before)
    assert np.all(found[expected == 0] == 0)
    assert np.abs(found - expected).max() < 0.05  # six standard deviations of 4,000 draws


def test_greedy_takes_the_likeliest_after_the_penalty() -> None:
    logits = torch.tensor([2.0, 3.0, -1.0])
    generator = torch.Generator()
    assert choose(logits, Sampling(temperature=0.0), generator, ()) == 1
    assert choose(logits, Sampling(temperature=0.0, repetition_penalty=2.0), generator, (1,)) == 0
    assert logits.tolist() == [2.0, 3.0, -1.0]


def test_the_draw_belongs_to_the_generator() -> None:
    logits = torch.zeros(1000)
    first = [choose(logits, Sampling(), torch.Generator().manual_seed(seed), ()) for seed in range(20)]
    torch.manual_seed(99)
    assert first == [
        choose(logits, Sampling(), torch.Generator().manual_seed(seed), ()) for seed in range(20)
    ]
    assert len(set(first)) > 15


@pytest.mark.parametrize("top_k", [5000, 1000])
def test_a_top_k_above_the_vocabulary_keeps_all(top_k: int) -> None:
    assert 0 <= choose(torch.zeros(1000), Sampling(top_k=top_k), torch.Generator(), ()) < 1000
