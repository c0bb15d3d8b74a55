"""The negative control of a selector, as docs/gate.md has it: a second student, of rows drawn at random."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from gristmill.pipelines.plan.make import make_plan
from gristmill.pipelines.plan.read import read_file

ROOT = Path(__file__).parents[3]


def test_the_student_is_compared_with_one_that_differs_in_its_rows_alone(tmp_path: Path) -> None:
    text = (ROOT / "docs/gate.md").read_text()
    block = re.search(r"^## Negative controls.*?```yaml\n(.*?)```", text, re.S | re.M)
    assert block is not None
    file = yaml.safe_load((ROOT / "pipelines/recipes/quickstart.yaml").read_text())
    more = yaml.safe_load(block[1])["steps"]
    (tmp_path / "control.yaml").write_text(yaml.safe_dump({**file, "steps": {**file["steps"], **more}}))
    spec = read_file(tmp_path / "control.yaml")
    plan = make_plan(spec, file="", digest_of=lambda model: "d" * 64)

    student, control = plan.step("student"), plan.step("control")
    assert student.operator == control.operator, "trained in the same way"
    chosen, drawn = plan.step("chosen"), plan.step("by_chance")
    assert (student.inputs, control.inputs) == (("chosen",), ("by_chance",))
    assert chosen.inputs == drawn.inputs, "from the same pool"
    assert chosen.operator.estimate(10_000).rows == drawn.operator.estimate(10_000).rows
    worth, verdict = plan.step("worth"), plan.step("verdict")
    assert worth.inputs == verdict.inputs, "on the same items"
    trained = [worth.request["models"][field][0]["trained"] for field in ("model", "against")]
    assert trained == [student.fingerprint, control.fingerprint]
    assert "worth" not in (spec.loop.when or ""), "it decides nothing"
