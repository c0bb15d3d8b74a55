"""The number format that is taken where none is asked for."""

from __future__ import annotations

import pytest
import torch

from gristmill.contracts import number_formats
from gristmill.contracts.number_formats import default_format, fast_bfloat16

pytestmark = pytest.mark.light


@pytest.mark.parametrize(
    ("cpu", "fast", "format"),
    [(True, True, "bfloat16"), (True, False, "float32"), (False, False, "bfloat16")],
)
def test_a_cpu_without_bfloat16_computes_in_float32(
    cpu: bool, fast: bool, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(number_formats, "fast_bfloat16", lambda: fast)
    assert default_format(cpu=cpu) == format


def test_pytorch_is_asked_about_this_machine() -> None:
    capability = torch.backends.cpu.get_cpu_capability()
    if capability == "DEFAULT" or capability == "AVX2":
        assert not fast_bfloat16()
    elif capability == "AVX512":
        assert fast_bfloat16()


def test_without_onednn_it_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not fast_bfloat16.__wrapped__()
