"""Conversion of requests to vLLM's parameters, and of its outputs to completions."""

from __future__ import annotations

from typing import Any

from ...contracts.inference import Completion, Request, Sampling
from .prompts import RequestTokens


def parameters_of(request: Request, thinking_tokens: int | None = None) -> Any:
    """Return the parameters of a request, without its seed. ``thinking_tokens``: most tokens of a thought."""
    if request.continuation is not None:
        return _scoring()
    parameters = _sampled(request.sampling)
    if request.messages is not None:
        parameters.thinking_token_budget = thinking_tokens
    # Some models mark their calls by special tokens, which their parsers read.
    parameters.skip_special_tokens = request.tools is None
    return parameters


def _sampled(sampling: Sampling) -> Any:
    from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

    shape = None
    if sampling.json_schema is not None:
        shape = StructuredOutputsParams(json=sampling.json_schema)
    elif sampling.regex is not None:
        shape = StructuredOutputsParams(regex=sampling.regex)
    return SamplingParams(
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        repetition_penalty=sampling.repetition_penalty,
        stop=list(sampling.stop) or None,
        logprobs=sampling.logprobs,
        flat_logprobs=sampling.logprobs is not None,
        structured_outputs=shape,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _scoring() -> Any:
    """Settings that report the log-probability of each prompt token. vLLM always generates one token."""
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    return SamplingParams(
        max_tokens=1,
        temperature=0.0,
        prompt_logprobs=0,
        flat_logprobs=True,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def scored(request: Request, tokens: RequestTokens, output: Any) -> Completion:
    """Read the log-probabilities of the given tokens, which vLLM served as the end of the prompt."""
    flat = output.prompt_logprobs
    return Completion(
        request_id=request.id,
        text=request.continuation or "",
        tokens=tuple(tokens.given),
        finish="stop",
        prompt_tokens=len(tokens.prompt),
        logprobs=tuple(flat.logprobs[start] for start in flat.start_indices[len(tokens.prompt) :]),
        cached_tokens=max(output.num_cached_tokens or 0, 0),
    )


def completion_of(request: Request, output: Any, answer: Any) -> Completion:
    logprobs = top = texts = None
    wanted = request.sampling.logprobs
    if wanted is not None:
        # Flat: per position first the sampled token, then the likeliest tokens in descending order.
        flat = answer.logprobs
        starts = flat.start_indices
        logprobs = tuple(flat.logprobs[start] for start in starts)
        top = tuple(tuple(flat.logprobs[start + 1 : start + 1 + wanted]) for start in starts)
        if request.sampling.top_texts:
            told = flat.decoded_tokens
            texts = tuple(
                tuple(text or "" for text in told[start + 1 : start + 1 + wanted]) for start in starts
            )
    return Completion(
        request_id=request.id,
        text=answer.text,
        tokens=tuple(answer.token_ids),
        finish=answer.finish_reason,
        prompt_tokens=len(output.prompt_token_ids),
        logprobs=logprobs,
        top_logprobs=top,
        top_texts=texts,
        cached_tokens=max(output.num_cached_tokens or 0, 0),
    )
