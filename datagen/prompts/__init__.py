"""Prompt templates: sandboxed Jinja, versioned, named, found and digested."""

from .collection import Prompt, find_prompt, packaged

__all__ = ["Prompt", "find_prompt", "packaged"]
