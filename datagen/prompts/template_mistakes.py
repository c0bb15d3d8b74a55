"""Finds all mistakes of a template at once, without a row: what it contains, and the names that it needs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress

from jinja2 import Environment, TemplateError, nodes

from ...contracts.errors import DataError
from ...contracts.mistakes import Collected, ColumnError
from ...contracts.nearest import did_you_mean, nearest
from ...contracts.operators import no_column
from .collection import Prompt
from .environment import PromptEnvironment, refused
from .variables import optional, required


def check_template(prompt: Prompt) -> None:
    """Raise DataError, naming lines, if a template does not compile or uses what no template has.

    Unlike compiling, it finds all unknown filters and tests, also in branches that no row takes.
    """
    environment = PromptEnvironment()
    with Collected() as found:
        try:
            # Not the environment's own parser, which stops at the first refused construct.
            tree = Environment(extensions=()).parse(prompt.text)
        except (TemplateError, RecursionError):
            found.errors.clear()
            with found.at():
                prompt.renderer()
            return
        for line, said in sorted({*refused(tree), *_unknown(tree, environment)}):
            found.add(DataError(f"template {prompt.name}:{line}: {said}"))
        if not found.errors:
            with found.at():
                prompt.renderer()


def check_names(prompt: Prompt, columns: Collection[str], variables: Collection[str]) -> None:
    """Raise DataError for each name of a template that is neither a column nor a variable.

    Names that only a branch uses may be missing, unless a column or variable has nearly that name.
    """
    here = {*columns, *variables}
    try:
        always, maybe = required(prompt.text) - here, optional(prompt.text) - here
    except TemplateError:
        return  # check_template says why
    close = {name for name in maybe if nearest(name, here) is not None}
    with Collected() as found:
        for name in sorted(always | close):
            found.add(ColumnError(f"the template {prompt.name}: {no_column(name, list(columns))}", name))


def named(prompts: Iterable[Callable[[], Prompt]]) -> frozenset[str]:
    """The names that templates use and do not define; none of those that cannot be found or parsed."""
    found: frozenset[str] = frozenset()
    for prompt in prompts:
        with suppress(DataError, TemplateError, RecursionError):
            found |= required(prompt().text) | optional(prompt().text)
    return found


def _unknown(tree: nodes.Template, environment: PromptEnvironment) -> Iterator[tuple[int, str]]:
    """(line, message) of each filter and test that templates do not have."""
    for kind, known, what in (
        (nodes.Filter, environment.filters, "filter"),
        (nodes.Test, environment.tests, "test"),
    ):
        for node in tree.find_all(kind):
            if node.name not in known:
                own = [name for name in known if not name.startswith(" ")]
                yield node.lineno, f"No {what} named {node.name!r}{did_you_mean(node.name, own) or '.'}"
