"""``score: personal_data``: e-mail addresses, telephone numbers, IP addresses, cards, accounts."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import ClassVar, Literal, TypeAlias, get_args

from pydantic import Field

from ...contracts.errors import DataError
from ...contracts.nearest import suggestion
from .sensitive import Find, Finding, SensitiveScore

Kind: TypeAlias = Literal["email", "card", "iban", "ssn", "ip", "phone"]
#: The digits of a number, with separators.
_RUN = re.compile(r"(?<![\w.])[+(]?\d(?:[ ().\-/]{0,2}\d){6,20}(?![\w])")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_EMAIL = re.compile(
    r"(?<![\w.%+-])[A-Za-z0-9_%+-][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w@])"
)
#: Domains that belong to no one (RFC 2606).
_RESERVED = re.compile(
    r"(?i)@(?:.+\.)?(?:example\.(?:com|net|org)|[^.]+\.(?:example|test|invalid|localhost))$"
)
_IP = re.compile(
    r"(?<![\w.:])(?:(?:\d{1,3}\.){3}\d{1,3}|(?:[0-9A-Fa-f]{0,4}:){3,7}[0-9A-Fa-f]{0,4})(?![\w.:]\w|\w)"
)
#: What stands before four numbers that are no address.
_VERSION = re.compile(r"(?i)\b(?:v|ver|version|release|build)[ .:=]*$")
_CARD = re.compile(r"(?<![\w.])\d(?:[ -]?\d){12,18}(?!\w)")
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)")
_SSN = re.compile(r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])")
#: The first digits of cards and their lengths, by network.
_NETWORKS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2(?:2[2-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|6(?:011|5\d\d|4[4-9]\d)\d{12}|35(?:2[89]|[3-8]\d)\d{12}|3(?:0[0-5]|[68]\d)\d{11}"
)


class PersonalData(SensitiveScore):
    """Counts personal data in texts, and masks it if asked to.

    Finds e-mail addresses (none of reserved domains such as `example.com`), telephone numbers that are
    valid where they belong (by phonenumbers), public IP addresses, payment cards (network and Luhn's check
    digit), IBANs (ISO 7064 check digits), and social security numbers of the USA. Names and postal
    addresses are not found. What was found is written nowhere, only its kind and number.

    Adds:
        personal_data (int64): number of findings.
        personal_data_kinds (list of text): their kinds.
        the columns, masked, with `replace`.

    Example:
        masked: {score: personal_data, from: chats, columns: [messages], replace: true}
    """

    counts: ClassVar[str] = "personal_data"
    suspect: ClassVar[str] = r"@|\d[^A-Za-z]{0,12}\d|:[0-9A-Fa-f]*:"

    kinds: tuple[Kind, ...] = Field(get_args(Kind), min_length=1)
    """Kinds to look for: `email`, `card`, `iban`, `ssn`, `ip`, `phone`."""
    region: str | None = Field("US", pattern="^[A-Z]{2}$")
    """Country of telephone numbers without a country code, as two letters. Null: find only those with `+`."""

    def inspect(self) -> None:
        from phonenumbers import SUPPORTED_REGIONS

        if self.region is not None and self.region not in SUPPORTED_REGIONS:
            raise DataError(
                f"score: personal_data: unknown region: {suggestion(self.region, SUPPORTED_REGIONS)}"
            )

    def finder(self) -> Find:
        ways: dict[Kind, Callable[[str], Iterator[Finding]]] = {
            "email": _emails,
            "card": _cards,
            "iban": _ibans,
            "ssn": partial(_all, _SSN, "ssn"),
            "ip": _addresses,
            "phone": partial(_phones, self.region),
        }
        chosen = [ways[kind] for kind in ways if kind in self.kinds]

        def find(text: str) -> Iterator[Finding]:
            for way in chosen:
                yield from way(text)

        return find


def _all(pattern: re.Pattern[str], kind: str, text: str) -> Iterator[Finding]:
    for match in pattern.finditer(text):
        yield Finding(kind, *match.span())


def _emails(text: str) -> Iterator[Finding]:
    if "@" in text:
        for match in _EMAIL.finditer(text):
            if not _RESERVED.search(match.group()):
                yield Finding("email", *match.span())


def _cards(text: str) -> Iterator[Finding]:
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match.group())
        if _NETWORKS.fullmatch(digits) and luhn(digits) and len(set(digits)) > 1:
            yield Finding("card", *match.span())


def luhn(digits: str) -> bool:
    """Whether the last digit is Luhn's check digit of the others (ISO/IEC 7812-1)."""
    doubled = [int(digit) * 2 for digit in digits[-2::-2]]
    return (sum(map(int, digits[-1::-2])) + sum(each - 9 * (each > 9) for each in doubled)) % 10 == 0


def _ibans(text: str) -> Iterator[Finding]:
    for match in _IBAN.finditer(text):
        code = match.group().replace(" ", "")
        if 15 <= len(code) <= 34 and iban(code):
            yield Finding("iban", *match.span())


def iban(code: str) -> bool:
    """Whether the two check digits are right (ISO 13616: MOD 97-10 of ISO 7064)."""
    return int("".join(str(int(letter, 36)) for letter in code[4:] + code[:4])) % 97 == 1


def _addresses(text: str) -> Iterator[Finding]:
    for match in _IP.finditer(text):
        try:
            public = ipaddress.ip_address(match.group()).is_global
        except ValueError:
            continue
        if public and not _VERSION.search(text, max(0, match.start() - 12), match.start()):
            yield Finding("ip", *match.span())


def _phones(region: str | None, text: str) -> Iterator[Finding]:
    import phonenumbers

    for run in _RUN.finditer(text):
        written = run.group()
        if _NUMBER.fullmatch(written):
            continue  # an amount, an id or a decimal fraction
        for match in phonenumbers.PhoneNumberMatcher(
            written, region, leniency=phonenumbers.Leniency.STRICT_GROUPING
        ):
            yield Finding("phone", run.start() + match.start, run.start() + match.end)
