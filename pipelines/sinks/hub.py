"""Rows to a repository on the Hugging Face Hub, only when a pipeline file asks for it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from pydantic import Field

from ...contracts.context import Context
from ...contracts.errors import DataError
from ...contracts.operators import Written
from ...contracts.stored_rows import StoredRows
from .card import data_card
from .export import FILE_ROWS, Export, file_names
from .features import refuse_unreadable, tell_turns
from .parquet import write_parquet
from .placing import place_directory

TOKEN = "HF_TOKEN"
_FILE = "data/train-{number:05d}-of-{count:05d}.parquet"
#: The files of an earlier push, of any number: readers take every file that is named so.
_FILES = _FILE.format(number=0, count=0).replace("0", "[0-9]")


class HubExport(Export):
    """Pushes Parquet files and a data card to a data set repository on the Hugging Face Hub.

    The files of an earlier push (``data/train-N-of-M.parquet``) are replaced; others in the repository stay.
    The token comes from the environment (``HF_TOKEN``), never from a file. A copy of the pushed files stays
    at ``path``.

    Example:
        shared: {export: hub, from: chosen, repo: me/tiny-instructions, format: prompt_completion}
    """

    repo: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    """Repository, as `owner/name`. It is created if it does not exist."""
    private: bool = True
    """Make a new repository private."""
    revision: str = "main"
    """Branch to push to."""
    title: str | None = None
    """Title of the data card. By default the repository's name."""
    license: str | None = None
    """License of the data, as an SPDX name, for the data card."""

    def markers(self) -> Sequence[str]:
        return ("README.md",)

    def environment(self) -> Mapping[str, str]:
        where = "https://huggingface.co/settings/tokens"
        return {TOKEN: f"make a token that may write to {self.repo} at {where}, and set it to that"}

    def export(self, rows: StoredRows, context: Context, default: Path) -> Written:
        token = os.environ.get(TOKEN)
        if not token:
            raise DataError(
                f"export to {self.repo}: {TOKEN} is not set in the environment; make a token that "
                "may write at "
                "https://huggingface.co/settings/tokens, set it, and run again (finished steps are kept)"
            )
        layout = self.layout(rows)
        tell_turns(layout.own)
        place = default if self.path is None else Path(self.place() or "")
        title = self.title or self.repo.partition("/")[2]
        card = data_card(layout.tables(rows), context, title=title, form=self.format, licence=self.license)
        files = file_names(rows.num_rows, _FILE)

        def write(folder: Path) -> None:
            (folder / "data").mkdir()
            rows.write(
                partial(write_parquet, layout, check=refuse_unreadable),
                [folder / file for file in files],
                layout.reads(rows.column_names),
                file_rows=FILE_ROWS,
            )
            (folder / "README.md").write_text(card, encoding="utf-8")

        names = place_directory(place, ("README.md", *files), write, ours=self.path is None)
        return Written(location=self._push(place, names, token), files=names, rows=rows.num_rows)

    def _push(self, folder: Path, names: Sequence[str], token: str) -> str:
        from huggingface_hub import HfApi

        api = HfApi(token=token)
        try:
            api.create_repo(self.repo, repo_type="dataset", private=self.private, exist_ok=True)
            api.upload_folder(
                repo_id=self.repo,
                repo_type="dataset",
                folder_path=str(folder),
                revision=self.revision,
                commit_message="Rows from Gristmill",
                allow_patterns=list(names),
                delete_patterns=[_FILES],
            )
        except Exception as error:  # the client raises many unrelated types
            first = next(iter(str(error).splitlines()), type(error).__name__).replace(token, "…")
            raise DataError(
                f"export to {self.repo}: the Hugging Face Hub refused or cannot be reached "
                f"({first}). The rows are "
                f"at {folder}; run again once the network and the token's rights are in order"
            ) from None
        return f"{api.endpoint}/datasets/{self.repo}"
