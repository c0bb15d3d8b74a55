"""``gristmill merge`` and ``gristmill quantize``, as a user runs them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gristmill.contracts.inference import ModelWeights
from gristmill.pipelines.cli.main import main
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.adapters.peft_files import save_adapter
from gristmill.trainer.model.quantization import OWN_PRODUCTS
from gristmill.trainer.model.tensor_files import TensorReader
from gristmill.trainer.model.weight_formats import FORMATS

NAME = "model.layers.1.mlp.up_proj.weight"
IDS = torch.arange(40)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_model) -> Path:
    """The current directory, with a model and two adapters for it."""
    path = make_model(name="tiny")
    settings = AdapterSettings(rank=2, alpha=4, targets=("up_proj",))
    for seed, name in ((1, "one"), (2, "two")):
        weights = ModelWeights("base", path, "digest", None)
        model = load_adapted(weights, settings, seed=seed, dtype=torch.float32, quantize="none", skip=())
        generator = torch.Generator().manual_seed(seed)
        for parameter in model.parameters():
            parameter.data.normal_(0, 0.2, generator=generator)
        save_adapter(model, tmp_path / name, settings.peft(str(path)), IDS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tensor(path: str) -> Tensor:
    with TensorReader(Path(path)) as reader:
        return reader.get(NAME)


def change(path: str) -> Tensor:
    return tensor(path) - tensor("./tiny")


def test_one_adapter_two_adapters_and_their_mean(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for out, arguments in {
        "a": ["one"],
        "b": ["two"],
        "sum": ["one", "two", "--weight", "0.5", "--weight", "-2"],
        "soup": ["one", "two", "--method", "soup"],
        "ties": ["one", "two", "--method", "ties", "--density", "0.2"],
        "dare": ["one", "--method", "dare", "--density", "0.25", "--seed", "3"],
        "dare again": ["a", "--method", "dare", "--density", "0.25", "--seed", "3"],
        "dare else": ["one", "--method", "dare", "--density", "0.25", "--seed", "4"],
    }.items():
        assert main(["merge", "./tiny", *arguments, "--out", out]) == 0
        assert capsys.readouterr().out == f"{out}\n"
    one, two = change("a"), change("b")
    torch.testing.assert_close(change("sum"), 0.5 * one - 2 * two, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(change("soup"), (one + two) / 2, atol=1e-5, rtol=1e-4)
    dropped = change("dare")
    assert float((dropped != 0).float().mean()) == pytest.approx(0.25, abs=0.03)
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], 4 * one[kept], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(change("dare again"), dropped, atol=1e-4, rtol=1e-3)
    assert not torch.equal(change("dare else") != 0, kept)
    assert 0.2 < float((change("ties") != 0).float().mean()) < 0.4


def test_the_caller_says_which_base(here: Path) -> None:
    assert main(["merge", "./tiny", "one", "--out", "original"]) == 0
    assert main(["merge", "./tiny", "one", "--into", "nf4", "--skip", "up_proj", "--out", "spared"]) == 0
    base, one = tensor("./tiny"), change("original")
    assert torch.equal(tensor("spared"), tensor("original"))
    for name, held in FORMATS.items():
        if name in OWN_PRODUCTS:
            with pytest.raises(SystemExit):  # no dense weight gives its outputs
                main(["merge", "./tiny", "one", "--into", name, "--out", "seen"])
            continue
        assert main(["merge", "./tiny", "one", "--into", name, "--out", "seen"]) == 0
        rounded = held.dequantize(held.quantize(base), torch.float32)
        torch.testing.assert_close(tensor("seen"), rounded + one, atol=1e-6, rtol=1e-6)
        assert not torch.equal(rounded, base)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["merge", "./tiny", "one", "--method", "mean", "--out", "x"],
            "there are task-arithmetic, soup, ties, dare, model-stock",
        ),
        (
            ["merge", "./tiny", "one", "--weight", "1", "--weight", "2", "--out", "x"],
            "weights has 2 for 1 models: give one weight for each",
        ),
        (
            ["merge", "./tiny", "one", "--method", "dare", "--density", "0", "--out", "x"],
            "give a share above 0",
        ),
        (
            ["merge", "./tiny", "one", "--method", "model-stock", "--weight", "2", "--out", "x"],
            "takes no weights",
        ),
        (["merge", "./tiny", "absent", "--out", "x"], "absent: nothing to merge: give an adapter"),
        (["merge", "./absent", "one", "--out", "x"], "looks like a path"),
        (
            ["merge", "./tiny", "one", "--into", "nf4", "--skip", "up", "--out", "x"],
            "there are q_proj, k_proj",
        ),
        (
            ["merge", "./tiny", "one", "--skip", "up_proj", "--out", "x"],
            "give it only when merging into a format",
        ),
        (["merge", "./tiny", "one", "--out", "tiny"], "would overwrite the input"),
        (["merge", "./tiny", "one", "--out", "one"], "one: writing there would overwrite the input one"),
        (["merge", "./tiny", "one", "--out", "."], "would overwrite the input"),
        (
            ["merge", "./tiny", "one", "--out", "mine"],
            "mine: this directory holds something other than a model",
        ),
        (["merge", "./tiny", "one", "--out", "notes.txt"], "notes.txt: this is a file"),
        (["quantize", "./tiny", "--format", "nf3", "--out", "x"], "no format 'nf3'"),
        (["quantize", "./tiny", "--skip", "head", "--out", "x"], "no linear layers called head"),
        (["quantize", "./tiny", "--out", "tiny"], "would overwrite the input"),
        (["quantize", "./tiny", "--out", "mine"], "this directory holds something other than a model"),
        (["quantize", "one", "--out", "tiny"], "would overwrite the input"),
    ],
)
def test_mistakes_exit_1_and_touch_nothing(
    here: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "notes.txt").write_text("mine")
    (here / "mine").mkdir()
    (here / "mine" / "notes.txt").write_text("mine")
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*") if path.is_file()}
    assert main(arguments) == 1
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1
    assert {path: path.stat().st_mtime_ns for path in here.rglob("*") if path.is_file()} == before


def test_an_earlier_result_is_replaced(here: Path) -> None:
    for source in ("one", "two"):
        assert main(["merge", "./tiny", source, "--out", "out"]) == 0
    assert main(["merge", "./tiny", "two", "--out", "other"]) == 0
    assert torch.equal(tensor("out"), tensor("other"))
    assert main(["quantize", "./tiny", "--out", "out"]) == 0
    with TensorReader(Path("out")) as reader:
        assert f"{NAME}.absmax" in reader


@pytest.mark.parametrize("format", ["nf4", "int8"])
def test_quantizing_says_what_it_did(here: Path, format: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quantize", "./tiny", "--format", format, "--out", "q", "--skip", "down_proj"]) == 0
    assert capsys.readouterr().out.startswith(f"q: 12 layers in {format}, ")
    assert main(["merge", "./q", "one", "--out", "from-q"]) == 0
    assert main(["merge", "./tiny", "one", "--into", format, "--skip", "down_proj", "--out", "seen"]) == 0
    torch.testing.assert_close(tensor("from-q"), tensor("seen"), atol=1e-7, rtol=1e-6)
    assert not torch.equal(tensor("seen"), tensor("./tiny"))
