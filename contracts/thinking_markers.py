"""What opens and closes a thought in the text that a model writes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Markers:
    """The markers of a family of models."""

    opening: str = "<think>"
    closing: str = "</think>"

    def split(self, text: str, *, begun: bool = False) -> tuple[str, str | None]:
        """Return the answer and the thought before it; None if there is none.

        ``begun``: the prompt opened the thought. A thought that is not closed was cut: the answer is empty.
        """
        rest = text.lstrip()
        if rest.startswith(self.opening):
            rest = rest[len(self.opening) :]
        elif not begun and (self.closing not in text or self.opening in text):
            return text, None
        thought, _, answer = rest.partition(self.closing)
        return answer.lstrip(), thought.strip() or None

    def joined(self, thought: str, answer: str) -> str:
        """Return what a model writes that thinks and then answers."""
        return f"{self.opening}\n{thought}\n{self.closing}\n\n{answer}"

    def begun(self, prompt: str) -> bool:
        """Whether a prompt ends inside of a thought."""
        return prompt.rstrip().endswith(self.opening)


#: The markers of the families that think. The first pair is that of Qwen, DeepSeek, GLM, Phi, Nemotron and
#: most others; then those of Gemini, Gemma, gpt-oss, Mistral, Cohere, Kimi and Seed.
KNOWN = (
    Markers(),
    Markers("<thought>", "</thought>"),
    Markers("<|channel>thought", "<channel|>"),
    Markers("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    Markers("[THINK]", "[/THINK]"),
    Markers("<|START_THINKING|>", "<|END_THINKING|>"),
    Markers("◁think▷", "◁/think▷"),
    Markers("<seed:think>", "</seed:think>"),
)


def markers_in(*places: str) -> Markers:
    """Return the first known markers of which one of these texts (a chat template, a token) has one; else the
    most frequent pair, which a student learns whose template has none."""
    for markers in KNOWN:
        if any(markers.opening in place or markers.closing in place for place in places):
            return markers
    return KNOWN[0]
