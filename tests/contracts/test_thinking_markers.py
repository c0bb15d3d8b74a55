"""A thought is told apart from the answer that follows it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.contracts.thinking_markers import KNOWN, Markers, markers_in


@pytest.mark.parametrize(
    ("text", "begun", "answer", "thought"),
    [
        ("<think>\nhm\n</think>\n\n4", False, "4", "hm"),
        ("  <think>hm</think>4", False, "4", "hm"),
        ("hm\n</think>\n\n4", True, "4", "hm"),
        ("hm\n</think>\n\n4", False, "4", "hm"),
        ("<think>\n\n</think>\n\n4", False, "4", None),
        ("<think>\nI wonder", False, "", "I wonder"),
        ("I wonder", True, "", "I wonder"),
        ("4", False, "4", None),
        ("Write <think> and </think>.", False, "Write <think> and </think>.", None),
        ("<think>a</think>b</think>c", False, "b</think>c", "a"),
        ("", True, "", None),
    ],
)
def test_a_text_is_split(text: str, begun: bool, answer: str, thought: str | None) -> None:
    assert Markers().split(text, begun=begun) == (answer, thought)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<>[]|◁▷"), min_size=1)


@given(st.sampled_from(KNOWN), TEXT, TEXT)
def test_what_is_joined_is_split_again(markers: Markers, thought: str, answer: str) -> None:
    found = markers.split(markers.joined(thought, answer))
    assert found == (answer.lstrip(), thought.strip() or None)


def test_markers_are_found_in_a_template_or_a_token() -> None:
    assert markers_in("{{ m.content.split('</think>') }}") == Markers()
    assert markers_in("no word of it", "[THINK]") == Markers("[THINK]", "[/THINK]")
    assert markers_in("no word of it") == Markers()
    assert Markers().begun("<|im_start|>assistant\n<think>\n")
    assert not Markers().begun("<|im_start|>assistant\n<think>\n\n</think>\n\n")
