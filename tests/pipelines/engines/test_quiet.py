from __future__ import annotations

import logging
from importlib.metadata import distribution

import pytest

from gristmill.pipelines.engines.quiet import quiet_loading


def test_no_library_asks_for_packages_or_draws_bars(caplog: pytest.LogCaptureFixture) -> None:
    from transformers.utils import logging as bars

    # The name of the module that asks, at the version that is installed.
    asks = next(
        each for each in distribution("bitsandbytes").files or [] if each.match("backends/cpu/ops.py")
    )
    logger = logging.getLogger(".".join(asks.with_suffix("").parts))
    assert "getLogger(__name__)" in asks.read_text()
    before = bars.is_progress_bar_enabled()
    with quiet_loading():
        assert not bars.is_progress_bar_enabled()
        logger.warning("Please make sure you already `pip install kernels`")
    assert caplog.records == []
    assert bars.is_progress_bar_enabled() == before
