"""The methods that ``methods.py`` compares: what each changes in the settings of plain LoRA.

One learning rate per kind of trained value, not tuned by method: 1e-3 for factors, 1e-4 for the weights
themselves, 1e-2 for few scales or coefficients; a fifth of it for signs (Lion).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

#: The method that all others are compared with.
PLAIN = "LoRA"
FACTORS, WEIGHTS, SCALES, PAIRS = 1e-3, 1e-4, 1e-2, 1e-4


@dataclass(frozen=True)
class Method:
    """``rows``: passed answers, pairs of a passed and a failed one, or single answers with their verdict."""

    family: str
    rate: float
    changes: dict[str, Any] = field(default_factory=dict)
    rows: Literal["passed", "pairs", "judged"] = "passed"


def _adapter(kind: str, rate: float = FACTORS, **more: Any) -> Method:
    return Method("adapter", rate, {"adapter": {"kind": kind, **more}})


def _start(init: str, quantize: str = "none", **more: Any) -> Method:
    return Method("initialization", FACTORS, {"adapter": {"init": init, **more}, "quantize": quantize})


def _sparse(kind: str, **more: Any) -> Method:
    return Method("sparse", WEIGHTS, {"adapter": {"kind": "delta"}, "sparse": {"kind": kind, **more}})


def _low_rank(kind: str, **more: Any) -> Method:
    return Method("sparse", FACTORS, {"sparse": {"kind": kind, **more}})


def _whole(optimizer: str, rate: float, **more: Any) -> Method:
    return Method("optimizer", rate, {"adapter": {"kind": "delta"}, "optimizer": optimizer, **more})


def _over(quantize: str, kind: str, rate: float, **more: Any) -> Method:
    return Method("quantized", rate, {"adapter": {"kind": kind, **more}, "quantize": quantize})


def _pairs(train: str, **more: Any) -> Method:
    return Method("preference", PAIRS, {"train": train, **more}, rows="pairs")


METHODS: dict[str, Method] = {
    "LoRA": Method("adapter", FACTORS),
    "rsLoRA": _adapter("rslora"),
    "DoRA": _adapter("dora"),
    "LoRA+": _adapter("lora", 2e-4, b_rate=16),
    "frozen A": _adapter("lora", 2e-3, freeze_a=True),
    "LoRA Dropout": _adapter("lora_dropout"),
    "DyLoRA": _adapter("dylora"),
    "KaSA": _adapter("kasa", init="truncated"),
    "LoRAM": _adapter("loram", init="pruned"),
    "MiSS": _adapter("miss"),
    "Bone": _adapter("bone"),
    "DoTA": _adapter("dota"),
    "QuanTA": _adapter("quanta"),
    "SVFT": _adapter("svft", SCALES, svft_band=2),
    "LoLDU": _adapter("loldu", SCALES),
    "S2FT": _adapter("s2ft", WEIGHTS),
    "series bottleneck": _adapter("bottleneck", bottleneck_form="series"),
    "parallel bottleneck": _adapter("bottleneck"),
    "prefix tuning": _adapter("prefix", SCALES),
    "MAM": _adapter("mam"),
    "PiSSA": _start("pissa"),
    "OLoRA": _start("olora"),
    "EVA": _start("eva"),
    "CorDA, knowledge": _start("corda", corda_mode="knowledge"),
    "CorDA, instruction": _start("corda"),
    "LoRA-GA": _start("lora_ga"),
    "LoftQ, NF4": _start("loftq", "nf4"),
    "LQ-LoRA, NF4": _start("lq_lora", "nf4"),
    "QuAILoRA, NF4": _start("quailora", "nf4"),
    "QLoRA": Method("quantized", FACTORS, {"quantize": "nf4"}),
    "LoRA over INT8": Method("quantized", FACTORS, {"quantize": "int8"}),
    "LoRA over INT4": Method("quantized", FACTORS, {"quantize": "int4"}),
    "LoRA over INT2": Method("quantized", FACTORS, {"quantize": "int2"}),
    "INT2.1": _start("loftq", "int2"),
    "HALO": Method("quantized", FACTORS, {"quantize": "halo"}),
    "OWQ with weak columns": _over("int4", "weak_columns", WEIGHTS, init="owq"),
    "QEFT": _over("int4", "weak_columns", WEIGHTS, init="qeft"),
    "L4Q": _over("none", "l4q", FACTORS),
    "QFT": Method(
        "quantized",
        WEIGHTS / 5,
        {"adapter": {"kind": "qft"}, "quantize": "int8", "optimizer": "qft"},
    ),
    "PV-Tuning": Method(
        "quantized",
        WEIGHTS,
        {"adapter": {"kind": "pv"}, "quantize": "int4", "sparse": {"kind": "pv", "every": 4}},
    ),
    "DSEE": _adapter("dsee"),
    "WeLore": _adapter("welore", WEIGHTS, init="welore"),
    "full": _whole("adamw", WEIGHTS),
    "full, Lion": _whole("lion", WEIGHTS / 5),
    "full, 8-bit AdamW": _whole("adamw8bit", WEIGHTS),
    "full, paged AdamW": _whole("paged_adamw", WEIGHTS),  # on a GPU
    "GaLore": _whole("galore", FACTORS),
    "MeZO": _whole("mezo", 1e-6),
    "ZO-SGD-Sign": _whole("mezo", 1e-6, mezo={"rule": "sign"}),
    "ZO-SGD-MMT": _whole("mezo", 1e-7, mezo={"rule": "momentum"}),
    "ZO-Adam": _whole("mezo", 1e-6, mezo={"rule": "adam"}),
    "ZO-SGD-Cons": _whole("mezo", 1e-6, mezo={"rule": "conservative"}),
    "forward gradient": _whole("mezo", 1e-6, mezo={"estimate": "forward"}),
    "Sparse-MeZO": _whole("mezo", 1e-6, mezo={"entries": "small"}),
    "SeleKT": _sparse("selekt", every=8),
    "half": _sparse("half"),
    "LISA": _sparse("lisa", every=8),
    "OwLore": Method(
        "sparse",
        FACTORS,
        {"adapter": {"kind": "delta"}, "sparse": {"kind": "owlore", "every": 8}, "optimizer": "galore"},
    ),
    "LIFT": _sparse("lift"),
    "LT-SFT": _sparse("lt_sft"),
    "GIFT-SW": _sparse("gift_sw"),
    "SpIEL": _sparse("spiel", every=8),
    "IST": _low_rank("ist", every=8),
    "COLA": _low_rank("cola", every=10),
    # 15 times 98 of 210 layers get a rank: 8 on average at the end.
    "IncreLoRA": _low_rank("increlora", every=2, grow=98),
    "NEFTune": Method("objective", FACTORS, {"neftune": 5}),
    "MFT": Method("objective", FACTORS, {"train": "mft"}),
    "implicit reward": Method("objective", FACTORS, {"train": "implicit_reward"}),
    "MFTCoder": Method("objective", FACTORS, {"train": "multitask"}),
    "DPO": _pairs("dpo"),
    "IPO": _pairs("dpo", loss="ipo"),
    "SELM": _pairs("dpo", optimism=0.001),
    "ORPO": _pairs("orpo"),
    "SimPO": _pairs("simpo"),
    "ASFT": _pairs("asft"),
    "KTO": Method("preference", PAIRS, {"train": "kto"}, rows="judged"),
}
