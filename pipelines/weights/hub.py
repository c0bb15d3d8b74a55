"""Models of the Hugging Face Hub, in the hub library's own cache (shared with other programs)."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...contracts.errors import ModelError
from .catalogue import PACKAGED
from .progress import FetchProgress

if TYPE_CHECKING:
    from tqdm.auto import tqdm

#: The required files of a model: weights in safetensors, settings, tokenizer and chat template.
WANTED = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken"]
#: Copies of the weights for other programs.
UNWANTED = ["onnx/*", "openvino/*", "coreml/*", "original/*", "consolidated*.safetensors"]
ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class HubId:
    """``org/name`` and a branch, tag or commit."""

    repo: str
    revision: str = "main"

    @classmethod
    def parse(cls, reference: str) -> HubId | None:
        found = ID.fullmatch(reference)
        return cls(found["repo"], found["revision"] or "main") if found and ".." not in reference else None

    def __str__(self) -> str:
        return f"{self.repo}@{self.revision}"


def hub_cache() -> Path:
    """The cache directory of huggingface_hub, by its own rule but without importing it."""
    if given := os.environ.get("HF_HUB_CACHE"):
        return Path(given).expanduser()
    home = os.environ.get("HF_HOME")
    root = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return (Path(home) if home else Path(root) / "huggingface").expanduser() / "hub"


def commit_of(model: HubId) -> str | None:
    """The commit of the revision, as far as the local cache knows."""
    if COMMIT.fullmatch(model.revision):
        return model.revision
    reference = _repository(model) / "refs" / model.revision
    return reference.read_text().strip() if reference.is_file() else None


def digest(model: HubId) -> str:
    """``hub:ID@COMMIT``, or ``hub:ID@REVISION`` if the commit is unknown."""
    return f"hub:{model.repo}@{commit_of(model) or model.revision}"


def snapshot(model: HubId) -> Path | None:
    """The model's directory in the local cache, if it contains the weights."""
    commit = commit_of(model)
    if commit is None:
        return None
    path = _repository(model) / "snapshots" / commit
    whole = (path / "config.json").exists() and any(path.glob("*.safetensors"))
    return path if whole else None


def fetch(model: HubId, progress: FetchProgress) -> Path:
    """Download the missing files of the model. Raises ModelError, with a fix, if they are not available."""
    import httpx
    import huggingface_hub
    from huggingface_hub import errors

    try:
        path = Path(
            huggingface_hub.snapshot_download(
                model.repo,
                revision=model.revision,
                allow_patterns=WANTED,
                ignore_patterns=UNWANTED,
                tqdm_class=_bar(progress),
            )
        )
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{model.repo} asks for its terms to be accepted: do so on its page, then set HF_TOKEN"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelError(
            f"the hub has no model {model.repo} (or it is private and HF_TOKEN is unset)"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelError(f"{model.repo} has no branch, tag or commit {model.revision!r}") from error
    except (
        errors.LocalEntryNotFoundError,
        errors.OfflineModeIsEnabled,
        errors.HfHubHTTPError,
        httpx.HTTPError,
    ) as error:
        raise _unreachable(model) from error
    if not any(path.glob("*.safetensors")):
        raise ModelError(f"{model} holds no *.safetensors at its top level: it cannot be loaded here")
    return path


def _unreachable(model: HubId) -> ModelError:
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    cause = "HF_HUB_OFFLINE is set" if offline else "the hub cannot be reached"
    return ModelError(
        f"{model} is not on this machine and {cause}. With a network (and HF_HUB_OFFLINE "
        f"unset), run 'gristmill models pull {model.repo}'; or use a packaged model: {', '.join(PACKAGED)}"
    )


def _repository(model: HubId) -> Path:
    return hub_cache() / f"models--{model.repo.replace('/', '--')}"


def _bar(progress: FetchProgress) -> type[tqdm]:
    """The hub library's progress bar, turned into calls of ``progress`` with bytes."""
    from tqdm.auto import tqdm as bar

    class Reporting(bar):
        def __init__(self, *args: Any, **options: Any) -> None:
            options.pop("name", None)
            options["disable"] = False
            options["file"] = _Nowhere()
            super().__init__(*args, **options)

        def update(self, n: float | None = 1) -> bool | None:
            shown: bool | None = super().update(n)
            if self.unit == "B":
                progress("downloading", self.n, max(self.total or 0, self.n, 2))
            return shown

    return Reporting


class _Nowhere:
    """A stream that discards the library's progress bar."""

    def write(self, text: str) -> None:
        return None

    def flush(self) -> None:
        return None
