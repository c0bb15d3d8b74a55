"""What the report's histograms read of a column."""

from __future__ import annotations

import pyarrow as pa

from gristmill.pipelines.report.distributions import _characters


def test_only_texts_have_lengths() -> None:
    texts = pa.table({"prompt": pa.array(["ab", None, "äöü"])})
    assert _characters(texts, "prompt").tolist() == [2.0, 3.0]
    assert _characters(pa.table({"prompt": [1, 2, None]}), "prompt").tolist() == []
    assert _characters(pa.table({"prompt": [["a"], None]}), "prompt").tolist() == []
