"""Engine on vLLM in this process: concurrent ``generate`` calls share its continuous batching.

vLLM: Kwon et al., "Efficient Memory Management for Large Language Model Serving with PagedAttention", SOSP
2023.
"""

from __future__ import annotations

import asyncio
import os
import warnings
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from pydantic import Field

from ...contracts.errors import ModelError
from ...contracts.inference import Capability, Completion, EngineSettings, ModelWeights, Request
from ...contracts.number_formats import default_format
from ...contracts.thinking_markers import Markers
from .batch import RequestBatch
from .chats import Chats
from .options import ChatOptions
from .peft_adapters import adapter_rank
from .prompts import Prompts, context_length, vocabulary
from .requests import check
from .vllm_thread import VllmThread
from .vllm_tools import tool_parser

NEEDS_WEIGHTS = True
APART = True

#: The ranks that vLLM's LoRA kernels support.
_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


class VllmOptions(ChatOptions):
    """Options of the vLLM engine."""

    max_model_len: int | None = Field(default=None, ge=16)
    """Maximum length of prompt and answer together, in tokens. By default 2048, or the model's own limit if
    that is less."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] | None = None
    """Number format of the weights. By default bfloat16, or float32 on a CPU that has no instructions for
    bfloat16 (AVX-512), where it is about four times as fast. `auto` takes the model's own."""
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    """Share of the GPU's memory that vLLM takes, 0 to 1."""
    tensor_parallel_size: int = Field(default=1, ge=1)
    """GPUs over which one engine is spread."""
    enforce_eager: bool | None = None
    """Run without CUDA graphs and compilation. By default true on a CPU, where it starts sooner and measured
    faster, and false on a GPU."""
    max_lora_rank: int = Field(default=64, ge=1)
    """Maximum rank of an adapter."""
    thinking_tokens: int | None = Field(default=None, ge=1)
    """Most tokens of a thought; then its end is written for the model, which answers. By default it thinks as
    long as `max_tokens` allows."""
    tool_parser: str | None = None
    """How the model writes calls of tools, as the name of one of vLLM's tool parsers: `hermes` for Qwen2.5,
    Qwen3 and Hermes; or `json` for models that write them as JSON in a fenced block, such as Qwen2.5-Coder.
    Steps with `tools` require it. By default a call is a text like any other."""
    resident: bool = False
    """One engine serves the model and all students that are trained from it. New adapters are handed to it
    without a restart, and it keeps its memory while they are trained: for reinforcement, where sampling and
    training alternate. By default each of them has an engine of its own, which is closed before a training.
    Give `max_lora_rank` the rank of the students: every adapter is padded to it."""
    seed: int = 0
    """Seed of vLLM itself. It affects no answer, because each request has its own seed."""
    engine_args: dict[str, Any] = Field(default_factory=dict)
    """Additional fields of vLLM's `EngineArgs`, by name."""


OPTIONS = VllmOptions


def capabilities(options: VllmOptions) -> frozenset[Capability]:
    offered: set[Capability] = {"seed", "logprobs", "json_schema", "regex", "stop"}
    offered |= {"adapter", "prompt_tokens", "user_turn", "likelihood"}
    if options.tool_parser is not None:
        offered.add("tools")
    return frozenset(offered)


def start(settings: EngineSettings, options: VllmOptions) -> VllmEngine:
    """Load the model (about 6 s for a small one on a CPU). Raises ModelError if vLLM cannot load it."""
    return VllmEngine(cast(ModelWeights, settings.weights), options)


def preload() -> None:
    """Import what starting an engine on a CPU imports, before it is forked. Raises ModelError elsewhere."""
    prepare_environment()
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        raise ModelError("forks were not tested with the libraries of a GPU")
    import vllm.v1.engine.llm_engine
    import vllm.v1.worker.cpu_worker  # noqa: F401


def prepare_environment() -> None:
    """Set environment variables that vLLM reads on import; the user's own are kept."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")  # about a dozen internal warnings per start
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"vllm\.")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    try:
        from vllm.platforms import current_platform
    except ImportError as error:
        raise ModelError(
            "vLLM is not installed: install gristmill[cpu] (no GPU) or gristmill[vllm] (CUDA), or use the "
            f"engine 'transformers' ({error})"
        ) from None
    if current_platform.is_cpu():
        cores = sorted(os.sched_getaffinity(0))
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")  # GiB
        # vLLM's default leaves one of two cores idle.
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", ",".join(str(core) for core in cores))
        # A separate engine process takes more than 40 s to start, and is not faster.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")


def _engine_args(weights: ModelWeights, options: VllmOptions, context: int, markers: Markers) -> Any:
    from vllm.config import StructuredOutputsConfig
    from vllm.config.reasoning import ReasoningConfig
    from vllm.engine.arg_utils import EngineArgs
    from vllm.platforms import current_platform

    arguments: dict[str, Any] = {
        "model": str(weights.path),
        "max_model_len": context,
        "max_num_seqs": options.max_num_seqs,
        "dtype": options.dtype or default_format(cpu=current_platform.is_cpu()),
        "gpu_memory_utilization": options.gpu_memory_utilization,
        "tensor_parallel_size": options.tensor_parallel_size,
        "enforce_eager": current_platform.is_cpu()
        if options.enforce_eager is None
        else options.enforce_eager,
        "seed": options.seed,
        "enable_prefix_caching": True,
        "max_logprobs": -1,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        # llguidance covers more of JSON Schema than vLLM's first choice. Without spaces between the
        # parts of an object, which small models otherwise write until their tokens are spent.
        "structured_outputs_config": StructuredOutputsConfig(backend="guidance", disable_any_whitespace=True),
    }
    if current_platform.is_cpu():
        # A prompt prefilled in two parts makes vLLM 0.32 rewind the request's random generator, which
        # a CPU generator cannot do: the engine would die on the first seeded one. So: whole prompts.
        arguments |= {"enable_chunked_prefill": False, "max_num_batched_tokens": max(context, 4096)}
        # Only whole blocks of a prompt are reused. The usual 128 tokens are more than most prompts have.
        arguments["block_size"] = 32
    if options.thinking_tokens is not None:
        arguments["reasoning_config"] = ReasoningConfig(
            reasoning_start_str=markers.opening, reasoning_end_str=markers.closing
        )
    adapted = 0 if weights.adapter is None else adapter_rank(weights.adapter)
    if options.resident:
        rank = next((size for size in _LORA_RANKS if options.max_lora_rank <= size), _LORA_RANKS[-1])
        arguments |= {"enable_lora": True, "max_lora_rank": rank, "max_loras": 2, "max_cpu_loras": 4}
    elif adapted:
        fitting = [size for size in _LORA_RANKS if adapted <= size]
        if adapted > options.max_lora_rank or not fitting:
            raise ModelError(
                f"adapter {weights.adapter} has rank {adapted}, above max_lora_rank "
                f"{options.max_lora_rank}: raise "
                f"max_lora_rank (at most {_LORA_RANKS[-1]})"
            )
        # The smallest sufficient rank: the kernels pad every adapter to it.
        arguments |= {"enable_lora": True, "max_lora_rank": fitting[0], "max_loras": 1, "max_cpu_loras": 1}
    check_engine_args(options.engine_args)
    return EngineArgs(**(arguments | options.engine_args))


def check_engine_args(given: Mapping[str, object]) -> None:
    """Raise ModelError for a name that is no field of vLLM's ``EngineArgs``."""
    from vllm.engine.arg_utils import EngineArgs

    unknown = sorted(set(given) - set(EngineArgs.__dataclass_fields__))
    if unknown:
        raise ModelError(f"engine_args: vLLM's EngineArgs has no field {', '.join(unknown)}")


class VllmEngine:
    """One model, and its adapters, on vLLM, stepped by a dedicated thread."""

    def __init__(self, weights: ModelWeights, options: VllmOptions) -> None:
        self.capabilities = capabilities(options)
        context = context_length(weights.path, options.max_model_len, default=2048)
        prepare_environment()
        parser = options.tool_parser
        self._chats = Chats(
            lambda adapter: Prompts(weights.path, context, adapter, options.template()),
            weights.adapter,
            lambda tokenizer: None if parser is None else tool_parser(parser, tokenizer),
            alike=options.thinking_tokens is not None,
        )
        self.vocab_size: int | None = vocabulary(weights.path)
        self._thread = VllmThread(
            _engine_args(weights, options, context, self._chats.own.prompts.markers),
            weights.adapter,
            resident=options.resident,
            thinking_tokens=options.thinking_tokens,
        )
        # If the engine is never closed, the thread stops with this object or at exit.
        self._stop = weakref.finalize(self, self._thread.stop)
        try:
            self._thread.start()
        except Exception as error:
            self._stop()
            raise ModelError(f"vLLM cannot serve {weights.name} ({weights.path}): {error}") from None

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return completions in the order of the requests. Raises EngineError for the whole call.

        Not retryable: a request that vLLM refuses (too long, or with a schema that does not compile),
        named in the message; other calls are not affected. Retryable: the engine died or was closed.
        Cancelling the call aborts its requests.
        """
        check(requests, self.capabilities, "vllm")
        if not requests:
            return []
        tokens = await asyncio.to_thread(self._chats.tokens, requests)
        loop = asyncio.get_running_loop()
        batch = RequestBatch(requests, tokens, loop, loop.create_future(), self._chats)
        self._thread.submit(batch)
        try:
            return await batch.future
        except asyncio.CancelledError:
            self._thread.abort(batch)
            raise

    async def close(self) -> None:
        """Abort requests in flight, free the model and wait for the thread to end."""
        await asyncio.to_thread(self._stop)

    def __repr__(self) -> str:
        return f"VllmEngine({self._thread!r})"
