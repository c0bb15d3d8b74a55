"""The base class of everything that can be checked of a response."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class Check(BaseModel):
    """One check of a response; the fields are its parameters. ``kind``: its name in files and rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str]

    def check(self, response: str, prompt: str) -> bool:
        """Whether the response satisfies the constraint. Never raises; an empty response satisfies none."""
        return bool(response.strip()) and self.holds(response, prompt)

    @property
    def bounded(self) -> bool:
        """Whether judging any response takes time about linear in its length."""
        return True

    @abstractmethod
    def holds(self, response: str, prompt: str) -> bool:
        """The check itself, on a response that is not blank."""

    def arguments(self) -> dict[str, Any]:
        """The JSON form: ``{"kind": name, **parameters}``."""
        return {"kind": self.kind, **self.model_dump(mode="json")}
