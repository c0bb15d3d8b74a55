"""Prompt templates in sandboxed Jinja, with names, versions and digests."""

from .collection import Prompt, find_prompt, packaged

__all__ = ["Prompt", "find_prompt", "packaged"]
