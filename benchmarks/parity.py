"""Is it the same model? Logits, losses, trajectories, adapters and exports against the libraries of others.

    make benchmarks/.peers/.installed && .venv/bin/python benchmarks/parity.py [--only gemma2]

For a tiny random model of each family (those of the tests), in float32: the logits against transformers; the
logits with an exported adapter against PEFT, which loads it; the logits of the merged model in transformers;
the losses of 20 steps of AdamW against PEFT with torch's AdamW; and the logits over an NF4 base against
bitsandbytes. For each method that TRL has too: the losses of 20 steps against its trainer. A difference is
the largest one, divided by the largest magnitude of the peer's values.
"""

from __future__ import annotations

import argparse
import json
import runpy
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from measuring import Figure, peers_python, run_case, versions, write
from torch import Tensor

HERE = Path(__file__).parent
CASES: dict[str, tuple[str, dict[str, Any]]] = runpy.run_path(
    str(HERE.parent / "tests/trainer/model/family_cases.py")
)["CASES"]
SHAPE = {
    "vocab_size": 300, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "bos_token_id": None,
    "eos_token_id": 1, "pad_token_id": None,
}  # fmt: skip
STEPS, RATE, RANK, ALPHA = 20, 5e-3, 4, 8.0
IDS = torch.randint(2, 300, (48,), generator=torch.Generator().manual_seed(3))
#: NF4: a scale close to the middle between two of its own 8-bit codes may get the other one.
TOLERANCE = {"logits": 1e-4, "adapter": 1e-4, "merged": 1e-4, "trajectory": 1e-4, "nf4": 1e-2, "int8": 1e-6}
PEERS = {
    "logits": "transformers", "adapter": "peft", "merged": "transformers", "trajectory": "peft",
    "nf4": "bitsandbytes", "int8": "bitsandbytes",
}  # fmt: skip
#: Methods that TRL has too, with the settings that ``parity_trl.py`` gives it.
METHODS: dict[str, dict[str, Any]] = {"sft": {}, "dpo": {"beta": 0.1}, "simpo": {"beta": 2.0, "gamma": 1.0}}


@dataclass
class Quiet:
    """The context of a training step that reports nowhere."""

    def check(self) -> None: ...

    def progress(self, *_: Any, **__: Any) -> None: ...


def apart(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def make(family: str, changes: dict[str, Any], path: Path) -> Path:
    """Save a random model with a tokenizer of one word per token."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **{**SHAPE, **changes}))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.15 if parameter.dim() > 1 else 1.0)
    model.save_pretrained(path)
    words = {"<pad>": 0, "</s>": 1, **{f"w{number}": number for number in range(2, 300)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", pad_token="<pad>")
    fast.save_pretrained(path)
    return path


def theirs(path: Path, **loading: Any) -> Any:
    from transformers import AutoModelForCausalLM

    # Only eager attention caps scores.
    return AutoModelForCausalLM.from_pretrained(
        path, dtype=torch.float32, attn_implementation="eager", **loading
    )


def ours(path: Path, adapter: Path | None = None, **loading: Any) -> Any:
    """Load our model with a LoRA adapter: a new one, or the one in ``adapter``."""
    from gristmill.contracts.inference import ModelWeights
    from gristmill.trainer.adapters.adapter_settings import AdapterSettings
    from gristmill.trainer.adapters.load_adapted import load_adapted

    weights = ModelWeights("base", path, "digest", adapter)
    settings = AdapterSettings(rank=RANK, alpha=ALPHA)
    return load_adapted(weights, settings, seed=1, dtype=torch.float32, **loading)


def save(model: Any, out: Path, base: Path) -> Path:
    from gristmill.trainer.adapters.adapter_settings import AdapterSettings
    from gristmill.trainer.adapters.peft_files import save_adapter

    save_adapter(model, out, AdapterSettings(rank=RANK, alpha=ALPHA).peft(str(base)), IDS)
    return out


def our_losses(model: Any, objective: Any, examples: Sequence[Any], folder: Path) -> Tensor:
    """Train our model on all examples in each step, in the trainer's own loop."""
    from gristmill.trainer.adapters.parameter_groups import parameter_groups
    from gristmill.trainer.loop import LoopSettings, train
    from gristmill.trainer.optimizers.optimizer_table import OPTIMIZERS

    examples = objective.prepare(model, examples, 10_000)
    optimizer = OPTIMIZERS["adamw"](parameter_groups(model), betas=None, weight_decay=0.0, seed=0)
    settings = LoopSettings(lambda step: RATE, 1.0, folder / "checkpoint.pt", 10_000, "parity", 0)
    steps = [[list(range(len(examples)))]] * STEPS
    history, _ = train(model, objective, optimizer, examples, steps, settings, Quiet())  # type: ignore[arg-type]
    return torch.tensor(history.loss)


def example(name: str, *sequences: tuple[Sequence[int], Sequence[int]]) -> Any:
    """Make an example of sequences, each as a prompt and the response that is trained on."""
    from gristmill.trainer.data.examples import Example, TokenSequence

    return Example(
        name,
        tuple(
            TokenSequence((*prompt, *response), (False,) * len(prompt) + (True,) * len(response))
            for prompt, response in sequences
        ),
    )


def peft_losses(path: Path, adapter: Path) -> Tensor:
    """Train PEFT's model on the same tokens with torch's AdamW."""
    from peft import PeftModel

    model = PeftModel.from_pretrained(theirs(path), adapter, is_trainable=True)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer, found = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.0), []
    for _ in range(STEPS):
        loss = torch.nn.functional.cross_entropy(model(IDS[None]).logits[0, :-1], IDS[1:])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        found.append(loss.item())
    return torch.tensor(found)


def family(case: str, folder: Path) -> dict[str, float]:
    """Compare one family. Returns the difference of each kind."""
    from peft import PeftModel

    from gristmill.trainer.losses.token_loss import TokenObjective, cross_entropy
    from gristmill.trainer.merging.merge import merge
    from gristmill.trainer.model.loading import load_model

    path, found = make(*CASES[case], folder / "base"), {}
    model = ours(path)
    start = save(model, folder / "start", path)
    with torch.no_grad():
        plain = theirs(path)(IDS[None]).logits[0]
        found["logits"] = apart(load_model(path, dtype=torch.float32).logits(IDS, [48]), plain)
    tokens = example("row", (IDS[:1].tolist(), IDS[1:].tolist()))
    losses = our_losses(model, TokenObjective(cross_entropy), [tokens], folder)
    found["trajectory"] = apart(losses, peft_losses(path, start))
    trained = save(model, folder / "trained", path)
    merge(path, [trained], folder / "merged")
    with torch.no_grad():
        logits = model.logits(IDS, [48])
        found["adapter"] = apart(
            logits, PeftModel.from_pretrained(theirs(path), trained)(IDS[None]).logits[0]
        )
        found["merged"] = apart(logits, theirs(folder / "merged")(IDS[None]).logits[0])
        four_bits = load_model(path, dtype=torch.float32, quantize="nf4").logits(IDS, [48])
        found["nf4"] = apart(four_bits, in_nf4(theirs(path))(IDS[None]).logits[0])
    return found


def in_nf4(model: Any) -> Any:
    """Round the weights of the blocks as bitsandbytes does, those of experts too, each on its own."""
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    for name, parameter in model.named_parameters():
        if not name.startswith("model.layers.") or parameter.dim() < 2 or name.endswith("mlp.gate.weight"):
            continue
        experts = parameter.data if parameter.dim() == 3 else parameter.data[None]
        parts = [part for each in experts for part in each.chunk(2 if "experts.gate_up" in name else 1)]
        for part in parts:
            # In rows of one block: its CPU form reads others wrongly if columns are no multiple of 64.
            codes, state = quantize_4bit(
                part.reshape(-1, 64), blocksize=64, quant_type="nf4", compress_statistics=True
            )
            part.copy_(dequantize_4bit(codes, state).reshape(part.shape))
    return model


def eight_bits() -> float:
    """Compare the dequantized INT8 weights."""
    from bitsandbytes.functional import int8_vectorwise_dequant, int8_vectorwise_quant

    from gristmill.kernels import int8

    weight = torch.randn(96, 64, generator=torch.Generator().manual_seed(5)).half()
    codes, scales, _ = int8_vectorwise_quant(weight.clone())
    return apart(
        int8.dequantize(int8.quantize(weight), torch.float32), int8_vectorwise_dequant(codes, scales)
    )


def methods(folder: Path) -> tuple[dict[str, float], str]:
    """Compare the losses of each method that TRL has, on a tiny Llama. Also returns TRL's version."""
    from gristmill.trainer.losses.pairs import PairObjective
    from gristmill.trainer.losses.token_loss import TokenObjective, cross_entropy
    from gristmill.trainer.methods.dpo import DirectPreferenceOptimization
    from gristmill.trainer.methods.simpo import SimplePreferenceOptimization

    path = make("llama", {}, folder / "llama")
    start = save(ours(path), folder / "start", path)
    draw = torch.Generator().manual_seed(8)
    rows = [
        {
            name: torch.randint(2, 300, (length + number,), generator=draw).tolist()
            for name, length in (("prompt", 4), ("chosen", 7), ("rejected", 3))
        }
        for number in range(6)
    ]
    (folder / "rows.json").write_text(json.dumps(rows))
    peer = [str(peers_python()), "-P", str(HERE / "parity_trl.py")]
    told = run_case([*peer, *map(str, (path, start, folder / "rows.json", STEPS, RATE))]).answer
    single = [example(str(n), (row["prompt"], [*row["chosen"], 1])) for n, row in enumerate(rows)]
    pairs = [
        example(str(n), *((row["prompt"], [*row[side], 1]) for side in ("chosen", "rejected")))
        for n, row in enumerate(rows)
    ]
    dpo = DirectPreferenceOptimization(model="base", **METHODS["dpo"])
    simpo = SimplePreferenceOptimization(model="base", **METHODS["simpo"])
    runs = {
        "sft": (TokenObjective(cross_entropy), single),
        "dpo": (PairObjective(dpo.losses, referenced=True), pairs),
        "simpo": (PairObjective(simpo.losses), pairs),
    }
    found = {}
    for name, (objective, examples) in runs.items():
        with tempfile.TemporaryDirectory() as work:
            losses = our_losses(ours(path, start), objective, examples, Path(work))
        found[name] = apart(losses, torch.tensor(told[name]))
    return found, told["trl"]


def figures(rows: dict[str, dict[str, float]], packages: dict[str, str]) -> Iterator[Figure]:
    for case, found in rows.items():
        for kind, value in found.items():
            peer, most = PEERS.get(kind, "trl"), TOLERANCE.get(kind, 1e-3)
            yield Figure(
                f"{case}, {kind}", "relative difference", value, 0.0, peer, packages.get(peer, ""), value,
                f"<= {most:g}",
            )  # fmt: skip


def table(rows: dict[str, dict[str, float]], kinds: Iterable[str]) -> str:
    kinds = list(kinds)
    lines = ["".join(f"{name:>16}" for name in ("", *kinds))]
    for case, found in rows.items():
        shown = (f"{found[kind]:.0e}" if kind in found else "" for kind in kinds)
        lines.append(f"{case:>16}" + "".join(f"{cell:>16}" for cell in shown))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help="cases whose name has this in it, without the methods")
    only = parser.parse_args().only
    warnings.filterwarnings("ignore")
    packages = versions("torch", "transformers", "peft", "bitsandbytes")
    rows: dict[str, dict[str, float]] = {}
    for case in CASES:
        if only is None or only in case:
            with tempfile.TemporaryDirectory() as folder:
                rows[case] = family(case, Path(folder))
    print(table(rows, list(TOLERANCE)[:-1]))
    if only is not None:
        return 0
    with tempfile.TemporaryDirectory() as folder:
        losses, packages["trl"] = methods(Path(folder))
    others = {"losses": losses, "weights": {"int8": eight_bits()}}
    print(table(others, [*METHODS, "int8"]))
    rows |= others
    write("parity", list(figures(rows, packages)), packages, {"rows": rows})
    return sum(figure.ours > float(figure.aim.split()[1]) for figure in figures(rows, packages))


if __name__ == "__main__":
    sys.exit(main())
