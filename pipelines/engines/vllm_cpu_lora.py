"""LoRA on vLLM's CPU build, as two small matrix products.

vLLM's plain PyTorch LoRA operations gather a copy of the adapter's matrices per token (``weights[indices]``:
about 100 MiB per operation for a prompt batch), which made SmolLM2 with an adapter seven times slower than
without. Here each adapter in the batch is one product over its tokens. The results are equal up to the order
of addition. vLLM's GPU kernels are not changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def install() -> None:
    """Replace the operations of vLLM's CPU wrapper by those below. Idempotent.

    Raises AttributeError if the installed vLLM has no operation of that name.
    """
    import vllm.lora.punica_wrapper.punica_cpu as wrapper

    for operation in (
        bgmv_shrink,
        bgmv_expand,
        bgmv_expand_slice,
        sgmv_shrink,
        sgmv_expand,
        sgmv_expand_slice,
    ):
        getattr(wrapper, operation.__name__)
        setattr(wrapper, operation.__name__, operation)


def _products(
    inputs: torch.Tensor, weights: torch.Tensor, indices: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """``inputs[t] @ weights[indices[t]].T`` for each token t; 0 for a token without an adapter (index -1).

    ``inputs`` ``(tokens, in)``, ``weights`` ``(adapters, [1,] out, in)``, ``indices`` int ``(tokens,)``.
    """
    weights = weights.squeeze(1) if weights.dim() == 4 else weights
    inputs = inputs.to(dtype)
    if bool((indices == indices[0]).all()) and indices[0] >= 0:
        return inputs @ weights[indices[0]].to(dtype).T
    outputs = inputs.new_zeros(inputs.shape[0], weights.shape[1])
    for adapter in indices.unique():
        if adapter < 0:
            continue
        tokens = indices == adapter
        outputs[tokens] = inputs[tokens] @ weights[adapter].to(dtype).T
    return outputs


def bgmv_shrink(
    inputs: torch.Tensor,
    lora_b_weights: torch.Tensor,
    output_tensor: torch.Tensor,
    lora_indices_tensor: torch.Tensor,
    scaling: float = 1.0,
) -> None:
    """Down to the rank: ``output[:, :rank] = scaling * inputs @ A.T``. Parameter names are vLLM's."""
    products = _products(inputs, lora_b_weights, lora_indices_tensor, output_tensor.dtype)
    output_tensor[:, : products.shape[1]] = scaling * products


def bgmv_expand(
    inputs: torch.Tensor,
    lora_b_weights: torch.Tensor,
    output_tensor: torch.Tensor,
    lora_indices_tensor: torch.Tensor,
    add_inputs: bool = True,
) -> None:
    """Up from the rank: ``output (+)= inputs @ B.T``."""
    products = _products(inputs, lora_b_weights, lora_indices_tensor, output_tensor.dtype)
    width = min(products.shape[1], output_tensor.shape[1])  # the two may be padded differently
    _store(output_tensor[:, :width], products[:, :width], add_inputs)


def bgmv_expand_slice(
    inputs: torch.Tensor,
    lora_b_weights: torch.Tensor,
    output_tensor: torch.Tensor,
    lora_indices_tensor: torch.Tensor,
    slice_offset: int,
    slice_size: int,
    add_inputs: bool = True,
) -> None:
    """As :func:`bgmv_expand`, into columns ``slice_offset .. slice_offset + slice_size`` of the output."""
    products = _products(inputs, lora_b_weights, lora_indices_tensor, output_tensor.dtype)
    _store(output_tensor[:, slice_offset : slice_offset + slice_size], products, add_inputs)


def _store(place: torch.Tensor, products: torch.Tensor, add: bool) -> None:
    if add:
        place += products
    else:
        place[:] = products


def sgmv_shrink(
    inputs: torch.Tensor, weights: torch.Tensor, output: torch.Tensor, starts: torch.Tensor,
    lengths: torch.Tensor, indices: torch.Tensor, batches: int, longest: int, tokens: int, scaling: float,
) -> None:  # fmt: skip
    """Prompts: sequence s is ``lengths[s]`` tokens with adapter ``indices[s]``."""
    bgmv_shrink(inputs, weights, output, indices.repeat_interleave(lengths), scaling)


def sgmv_expand(
    inputs: torch.Tensor, weights: torch.Tensor, output: torch.Tensor, starts: torch.Tensor,
    lengths: torch.Tensor, indices: torch.Tensor, batches: int, longest: int, tokens: int,
    add_inputs: bool = False,
) -> None:  # fmt: skip
    """Prompts: sequence s is ``lengths[s]`` tokens with adapter ``indices[s]``."""
    bgmv_expand(inputs, weights, output, indices.repeat_interleave(lengths), add_inputs)


def sgmv_expand_slice(
    inputs: torch.Tensor, weights: torch.Tensor, output: torch.Tensor, starts: torch.Tensor,
    lengths: torch.Tensor, indices: torch.Tensor, batches: int, longest: int, tokens: int, slice_offset: int,
    slice_size: int, add_inputs: bool = False,
) -> None:  # fmt: skip
    """Prompts, into some columns of the output."""
    repeated = indices.repeat_interleave(lengths)
    bgmv_expand_slice(inputs, weights, output, repeated, slice_offset, slice_size, add_inputs)
