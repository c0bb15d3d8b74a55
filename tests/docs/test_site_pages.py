"""Links of pages that lie at the root, and to them, lead to the site's own pages."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def site() -> ModuleType:
    spec = spec_from_file_location("site_pages", DOCS / "site_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("folder", "text", "expected"),
    [
        ("", "[a](docs/install.md)", "[a](install.md)"),
        ("", "[a](docs/filters.md#keep)", "[a](filters.md#keep)"),
        ("", "[a](SECURITY.md) and [b](LICENSE)", "[a](security.md) and [b](license.md)"),
        ("", "[a](docs/reference/index.md)", "[a](reference/index.md)"),
        ("", "see [the code](contracts/operators.py)", "see the code"),
        ("", "[a](docs/nowhere.md)", "[a](docs/nowhere.md)"),
        ("", "[a](https://example.org/docs/install.md)", "[a](https://example.org/docs/install.md)"),
        ("docs", "[a](../SECURITY.md#secrets) [b](models.md)", "[a](security.md#secrets) [b](models.md)"),
        ("docs/reference", "[a](../pipeline-file.md)", "[a](../pipeline-file.md)"),
        ("docs/reference", "[a](file.md#steps)", "[a](../reference/file.md#steps)"),
        ("docs/reference", "[a](../../README.md)", "[a](../index.md)"),
    ],
)  # fmt: skip
def test_links_as_the_site_has_them(site: ModuleType, folder: str, text: str, expected: str) -> None:
    assert site.linked(text, DOCS.parent / folder) == expected


def test_the_menu_has_every_page(site: ModuleType) -> None:
    nav = [{"Home": "index.md"}, {"Start": ["install.md"]}, {"Project": ["architecture.md"]}]
    made = site.on_config(SimpleNamespace(docs_dir=str(DOCS), nav=nav)).nav
    assert [next(iter(section)) for section in made] == ["Home", "Start", "More", "Reference", "Project"]
    assert "filters.md" in made[2]["More"]
    assert "install.md" not in made[2]["More"]
    first = ("index", "file", "parts", "cli", "recipes")
    assert made[3]["Reference"][:5] == [f"reference/{name}.md" for name in first]
    there = {path.relative_to(DOCS).as_posix() for path in (DOCS / "reference").glob("*.md")}
    assert set(made[3]["Reference"]) == there
