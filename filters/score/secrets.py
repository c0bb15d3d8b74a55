"""``score: secrets``: keys, tokens and passwords of known forms."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from functools import cache
from typing import ClassVar

from .sensitive import Find, Finding, SensitiveScore

#: kind -> module and class of detect-secrets. Left out are guesses by entropy or by the name of a variable.
_DETECTORS: dict[str, tuple[str, str]] = {
    "aws_key": ("aws", "AWSKeyDetector"),
    "azure_key": ("azure_storage_key", "AzureStorageKeyDetector"),
    "password": ("basic_auth", "BasicAuthDetector"),
    "discord_token": ("discord", "DiscordBotTokenDetector"),
    "github_token": ("github_token", "GitHubTokenDetector"),
    "gitlab_token": ("gitlab_token", "GitLabTokenDetector"),
    "jwt": ("jwt", "JwtTokenDetector"),
    "mailchimp_key": ("mailchimp", "MailchimpDetector"),
    "npm_token": ("npm", "NpmDetector"),
    "openai_key": ("openai", "OpenAIDetector"),
    "pypi_token": ("pypi_token", "PypiTokenDetector"),
    "sendgrid_key": ("sendgrid", "SendGridDetector"),
    "slack_token": ("slack", "SlackDetector"),
    "square_secret": ("square_oauth", "SquareOAuthDetector"),
    "stripe_key": ("stripe", "StripeDetector"),
    "telegram_token": ("telegram_token", "TelegramBotTokenDetector"),
    "twilio_key": ("twilio", "TwilioKeyDetector"),
}
#: Forms that detect-secrets does not know, or of which it finds only the start.
_OWN: dict[str, str] = {
    "private_key": r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:(?s:.){0,20000}?-----END [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----|[\w+/=\s\\-]{0,20000})",
    "anthropic_key": r"(?<!\w)sk-ant-[\w-]{24,200}",
    "openai_key": r"(?<!\w)sk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{40,200}(?!\w)",
    "github_token": r"(?<!\w)github_pat_\w{40,120}",
    "jwt": r"(?<!\w)eyJ[\w-]{8,2000}\.eyJ[\w-]{4,4000}\.[\w-]{0,1000}",
    "google_key": r"(?<!\w)AIza[\w-]{35}(?!\w)",
    "huggingface_token": r"(?<!\w)hf_[A-Za-z0-9]{34,40}(?!\w)",
}
#: Kinds whose pattern has the secret as its group, within what surrounds it.
_GROUPED = ("aws_key", "password")
#: A longer line is looked at in pieces of this length, since time may grow with its square.
_PIECE = 4000
_OVERLAP = 400


class Secrets(SensitiveScore):
    """Counts keys, tokens and passwords of known forms in texts, and masks them if asked to.

    By the patterns of detect-secrets for the services that it knows, private keys, passwords in URLs, and
    some newer forms. A secret without a known form is not found. What was found is written nowhere, only
    its kind and number.

    Adds:
        secrets (int64): number of findings.
        secrets_kinds (list of text): their kinds, such as `aws_key`.
        the columns, masked, with `replace`.

    Example:
        safe:  {score: secrets, from: code, columns: [prompt, response]}
        kept:  {keep: "secrets = 0", from: safe}
    """

    counts: ClassVar[str] = "secrets"
    suspect: ClassVar[str] = r"[A-Za-z0-9+/=_.-]{20}|PRIVATE KEY|://[^\s/]*:[^\s/]*@"

    def finder(self) -> Find:
        patterns = _patterns()

        def find(text: str) -> Iterator[Finding]:
            for kind, pattern in patterns:
                if kind == "private_key":
                    yield from _matches(kind, pattern, text, 0)
            for start, line in _pieces(text):
                for kind, pattern in patterns:
                    if kind != "private_key":
                        yield from _matches(kind, pattern, line, start)

        return find


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    import detect_secrets.plugins as plugins

    found = [(kind, re.compile(pattern)) for kind, pattern in _OWN.items()]
    for kind, (module, name) in _DETECTORS.items():
        plugin = getattr(importlib.import_module(f"{plugins.__name__}.{module}"), name)
        found += [(kind, pattern) for pattern in plugin.denylist]
    return tuple(found)


def _matches(kind: str, pattern: re.Pattern[str], text: str, offset: int) -> Iterator[Finding]:
    for match in pattern.finditer(text):
        start, end = match.span(match.lastindex if kind in _GROUPED and match.lastindex else 0)
        yield Finding(kind, offset + start, offset + end)


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """(start, text) of each line; of a long line in overlapping pieces."""
    start = 0
    for line in text.splitlines(keepends=True):
        for begin in range(0, max(len(line) - _OVERLAP, 1), _PIECE):
            yield start + begin, line[begin : begin + _PIECE + _OVERLAP]
        start += len(line)
