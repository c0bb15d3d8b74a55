"""Damages every file of a finished run in every way, and checks the commands that read it.

A small run of two rounds (prompts, answers of a word model, a verifier, scores, a condition, deduplication,
three kinds of export, a student that is trained and promoted) is copied for each case, one file of the copy
is damaged, and then

- ``check``, ``plan --against``, ``report``, ``why`` and ``explain`` each succeed or end with one clear
  sentence, and ``check`` names the damage;
- ``run`` (on another copy) restores every row, export and adapter. If a file cannot be read, it ends with one
  clear sentence, and succeeds once that is fixed. ``run`` does not read the rows of a finished step:
  ``check`` names a changed byte in them, and ``check --repair`` with ``run`` restores them.

There must be no traceback, no internal error, and no command that hangs. Commands run in forks of one warm
process. Usage: python benchmarks/tampering.py [--quick]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import stat
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
from tampering_damages import DAMAGES, JSON, STRAY_NAMES, STRAYS, Damage
from tampering_forks import NOBODY, Ended, Warm

PIPELINE = """
gristmill: 1
name: tampered
seed: 5
models:
  words: {{engine: synthetic}}
  base: {{engine: transformers, path: "{model}", dtype: float32}}
steps:
  prompts: {{source: constraints, split: train, rows: 40, max_constraints: 1, kinds: [no_commas, first_word]}}
  answers: {{generate: respond, from: prompts, model: words, samples: 2, max_tokens: 40}}
  checked: {{verify: constraints, from: answers}}
  scored: {{score: length, from: checked}}
  kept: {{keep: "finish = 'stop'", from: scored}}
  unique: {{dedup: exact, columns: [response], from: kept}}
  chosen: {{select: random, rows: 8, from: unique}}
  dataset: {{export: parquet, from: chosen}}
  lines: {{export: jsonl, from: chosen, path: "{out}/lines.jsonl"}}
  folder: {{export: arrow, from: chosen}}
  student: {{train: sft, from: chosen, model: base, epochs: 1, adapter: {{kind: lora, rank: 2}}, dtype: fp32}}
loop: {{rounds: 2, promote: {{student: base}}, when: "student.rows > 0"}}
"""


@dataclass
class Case:
    """A file of the run, and its damage."""

    file: str
    damage: str
    apply: Damage
    faults: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        name = Path(self.file).name
        if name.startswith("part-"):
            return "part"
        if "/model/" in self.file:
            return f"model/{name}"
        return f"export {name}" if self.file.startswith(("run/exports", "out")) else name


@dataclass
class Campaign:
    """The finished run and its correct contents."""

    warm: Warm
    home: Path
    row: str = ""
    right: dict[str, str] = field(default_factory=dict)
    seconds: Counter[str] = field(default_factory=Counter)

    def begin(self) -> None:
        """Make the run that every case copies."""
        work = self.home / "work"
        work.mkdir()
        (work / "out").mkdir()
        file = work / "tampered.yaml"
        file.write_text(PIPELINE.format(model=tiny_model(self.home / "tiny"), out="out"))
        self.warm.learn("run", "tampered.yaml", "--run", "run", "--quiet", cwd=work)
        self.right = snapshot(work)
        ended = self.warm.run("check", "run", cwd=work)
        if ended.code or "no part" in ended.text:
            raise SystemExit(f"the run to damage is not whole: {ended.text}")
        again = self.warm.run("run", "tampered.yaml", "--run", "run", "--json", cwd=work)
        if again.code or '"reused": false' in again.text:
            raise SystemExit(f"the run to damage is not finished: {again.text}")
        line = (work / "out/lines.jsonl").read_text().splitlines()[0]
        self.row = line.split('"id": "')[1][:20]
        for command in (*self.questions(), ("check", "run")):
            self.warm.learn(*command, cwd=work)

    def questions(self) -> list[tuple[str, ...]]:
        """The commands that read a run."""
        return [
            ("plan", "tampered.yaml", "--run", "run", "--against", "run"),
            ("report", "run"),
            ("why", "run", self.row),
            ("explain", "run", "student"),
        ]

    def cases(self, quick: bool) -> Iterator[Case]:
        """Every file with every damage; ``quick``: one file of each kind."""
        work, seen = self.home / "work", Counter[str]()
        for path in sorted((work / "run").rglob("*")) + sorted((work / "out").rglob("*")):
            if not stat.S_ISREG(path.lstat().st_mode):
                continue
            case = Case(str(path.relative_to(work)), "", lambda path: None)
            kind = f"{path.parent.name.rpartition('-')[0]} {case.kind}"
            seen[kind if not quick else case.kind] += 1
            # Only the first two of the parts of a step over two rounds are damaged.
            if seen[kind if not quick else case.kind] > (1 if quick else 2):
                continue
            damages = dict(DAMAGES)
            if path.suffix == ".json" and path.parent.name != "model":
                damages |= JSON
            if path.name in ("lock", "report.html"):
                damages = {
                    name: each for name, each in damages.items() if name.startswith(("replaced", "without"))
                }
                damages.pop("replaced by another one of its kind")
            # A folder outside the run is the user's: what lies in it is not the run's to judge.
            damages |= {
                name: each
                for name, each in STRAYS.items()
                if case.file.startswith("run/") and ("part" not in name or case.kind == "part")
            }
            for name, apply in damages.items():
                yield Case(case.file, name, apply)

    def judge(self, case: Case) -> None:
        """Damage two copies; record faults in the case."""
        shut = case.damage == "without permission"
        for commands in (self.readers, self.runner):
            with tempfile.TemporaryDirectory(dir=self.home) as folder:
                work = Path(folder) / "work"
                shutil.copytree(self.home / "work", work, symlinks=True)
                try:
                    case.apply(work / case.file)
                except FileNotFoundError:
                    return
                if shut:
                    for path in [Path(folder), work, *work.rglob("*")]:
                        os.chown(path, NOBODY, NOBODY)
                commands(case, work, shut)

    def readers(self, case: Case, work: Path, shut: bool) -> None:
        found = self.ask(case, work, shut, "check", "run")
        named = (
            Path(case.file).name
            if case.damage not in STRAYS
            else STRAY_NAMES[list(STRAYS).index(case.damage)]
        )
        if named not in found.text:
            case.faults.append(f"check does not name {named}: {found.text}")
        if case.damage not in STRAYS and found.code != 1:
            case.faults.append(f"check ends with {found.code}")
        for command in self.questions():
            self.ask(case, work, shut, *command)

    def runner(self, case: Case, work: Path, shut: bool) -> None:
        command = ("run", "tampered.yaml", "--run", "run", "--quiet")
        ended = self.ask(case, work, shut, *command)
        if shut and ended.code == 1:
            (work / case.file).chmod(0o644)
        if ended.code == 1:
            ended = self.ask(case, work, shut, *command)
        if ended.code:
            case.faults.append(f"run again ends with {ended.code}: {ended.text}")
        left = self.ask(case, work, shut, "check", "run")
        if left.code and not shut and "/part-" in case.file and Path(case.file).name in left.text:
            # `run` looks at sizes and footers alone: rows that it does not need are repaired by `check`.
            self.ask(case, work, shut, "check", "run", "--repair")
            self.ask(case, work, shut, *command)
            left = self.ask(case, work, shut, "check", "run")
        if left.code and not shut:
            case.faults.append(f"damage is left: {left.text}")
        made = snapshot(work)
        wrong = [name for name, content in self.right.items() if made.get(name) != content]
        if wrong:
            case.faults.append(f"other rows than before in {', '.join(wrong[:4])}")

    def ask(self, case: Case, work: Path, shut: bool, *command: object) -> Ended:
        started = time.monotonic()
        ended = self.warm.run(*command, cwd=work, nobody=shut)
        self.seconds[str(command[0])] += time.monotonic() - started
        said = f"{command[0]} ends with {ended.code}: {ended.text[-600:]}"
        if (
            ended.code not in (0, 1)
            or "Traceback" in ended.text
            or "internal error" in ended.text
            or (
                ended.code == 1
                and command[0] not in ("check", "run")
                and len(ended.text.strip().splitlines()) != 1
            )
        ):
            case.faults.append(said)
        return ended


def snapshot(work: Path) -> dict[str, str]:
    """Return the expected contents: the rows of every part, the bytes of exports and adapters' weights."""
    from gristmill.contracts.errors import StoreError
    from gristmill.pipelines.store.seal import file_digest
    from gristmill.pipelines.store.tables import open_sealed

    found = {}
    for path in [*work.glob("run/steps/*/part-*"), *work.glob("run/exports/*/*"), *work.glob("out/*.jsonl")]:
        if path.name not in STRAY_NAMES:
            with contextlib.suppress(StoreError):
                part = path.name.startswith("part-")
                found[str(path.relative_to(work))] = open_sealed(path).rows if part else file_digest(path)
    for path in work.glob("run/steps/*/model/*.safetensors"):
        found[str(path.relative_to(work))] = file_digest(path)
    return found


def tiny_model(path: Path) -> Path:
    """Make a random Llama of two layers in a fork, because torch starts threads."""
    pid = os.fork()
    if pid == 0:
        try:
            _save_tiny_model(path)
        finally:
            os._exit(0 if path.is_dir() else 1)
    os.waitpid(pid, 0)
    for file in path.iterdir():
        file.chmod(0o644)
    return path


def _save_tiny_model(path: Path) -> None:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=300, max_position_embeddings=2048, **shape)).save_pretrained(path)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<|start|>": 0, "<|end|>": 1, **{letter: place + 2 for place, letter in enumerate(letters)}}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>")
    fast.chat_template = (
        "{% for message in messages %}<|start|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n"
        "{% endfor %}"
        "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
    )
    fast.save_pretrained(path)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one file of each kind")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="cases whose file or damage holds this text"
    )
    parser.add_argument(
        "--share", type=float, default=1.0, metavar="P", help="this share of the cases, drawn"
    )
    parser.add_argument("--show", type=int, default=20, metavar="N", help="print this many faults")
    args = parser.parse_args()
    started, draw = time.monotonic(), random.Random(1)
    os.environ["GRISTMILL_CACHE"] = tempfile.mkdtemp(prefix="cache-")
    with tempfile.TemporaryDirectory(prefix="tampering-") as home:
        Path(home).chmod(0o755)
        campaign = Campaign(Warm(Path(home)), Path(home))
        campaign.begin()
        cases = [case for case in campaign.cases(args.quick) if args.only in f"{case.file} {case.damage}"]
        cases = [case for case in cases if draw.random() < args.share]
        if os.geteuid() != 0:
            cases = [case for case in cases if case.damage != "without permission"]
        done = []
        try:
            for case in cases:
                campaign.judge(case)
                done.append(case)
                print(
                    f"{len(done)}/{len(cases)} {case.file}, {case.damage}{': wrong' * bool(case.faults)}",
                    file=sys.stderr,
                )
        finally:
            tell(done, args.show)
    print("seconds:", ", ".join(f"{name} {each:.0f}" for name, each in campaign.seconds.items()))
    print(f"{len(cases):,} cases in {time.monotonic() - started:.0f} s")
    return int(any(case.faults for case in cases))


def tell(cases: list[Case], show: int) -> None:
    """Print a table by kind of file and damage: the number of cases and of faults."""
    for title, key in (("file", lambda case: case.kind), ("damage", lambda case: case.damage)):
        total, wrong = Counter(map(key, cases)), Counter(key(case) for case in cases if case.faults)
        print(f"\n{title:<40} {'cases':>6} {'wrong':>6}")
        for name in sorted(total):
            print(f"{name:<40} {total[name]:>6} {wrong[name]:>6}")
    for case in [case for case in cases if case.faults][:show]:
        print(f"\n{case.file}, {case.damage}:", *case.faults, sep="\n  ")


if __name__ == "__main__":
    sys.exit(main())
