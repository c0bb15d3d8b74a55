"""What the site has beside the guides: pages of the repository's root, and the reference in its menu.

A hook of MkDocs (see mkdocs.yml): it calls these functions as it builds.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[1]
#: File at the root -> page of the site.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "LICENSE": "license.md",
}
#: Pages of the reference that come before those of the verbs.
FIRST = ("index", "file", "parts", "cli", "recipes")
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the reference, and guides that no section names, into the menu."""
    docs = Path(config.docs_dir)
    pages = sorted((docs / "reference").glob("*.md"), key=_place)
    named = set(re.findall(r"[\w/-]+\.md", str(config.nav)))
    others = [path.name for path in sorted(docs.glob("*.md")) if path.name not in named]
    *guides, project = list(config.nav or [])
    more: list[dict[str, Any]] = [{"More": others}] if others else []
    config.nav = [*guides, *more, {"Reference": [f"reference/{path.name}" for path in pages]}, project]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie at the root."""
    from mkdocs.structure.files import File

    for name, page in PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        content = linked(text, ROOT) if name.endswith(".md") else f"# License\n\n```\n{text}\n```\n"
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links that leave docs/ at the site's own pages."""
    source = page.file.abs_src_path
    return markdown if source is None else linked(markdown, Path(source).parent)


def linked(text: str, folder: Path) -> str:
    """The text of a file in ``folder`` with links as the site has them.

    A link to a file that the site does not have becomes plain text.
    """

    def link(found: re.Match[str]) -> str:
        mark, said, target, anchor = found.groups()
        place = (folder / target).resolve()
        if "://" in target or not place.is_relative_to(ROOT) or not place.exists():
            return found[0]
        name = place.relative_to(ROOT).as_posix()
        docs = ROOT / "docs"
        here = folder.relative_to(docs) if folder.is_relative_to(docs) else Path()
        up = "../" * len(here.parts)
        if name in PAGES:
            return f"{mark}[{said}]({up}{PAGES[name]}{anchor or ''})"
        if place.is_relative_to(docs):
            return f"{mark}[{said}]({up}{place.relative_to(docs).as_posix()}{anchor or ''})"
        return said

    return _LINK.sub(link, text)


def _place(path: Path) -> tuple[int, str]:
    return (FIRST.index(path.stem), "") if path.stem in FIRST else (len(FIRST), path.stem)
