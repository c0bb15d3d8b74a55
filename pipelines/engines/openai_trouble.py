"""What a server says instead of an answer, and what is to be done about it."""

from __future__ import annotations

import json
import os
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Literal

from ...contracts.printable import shown
from .backoff import asked_pause

#: - ``busy``: the server takes fewer requests than it gets; ask again later, with fewer in flight.
#: - ``unreachable``: nobody answers at the address, or a proxy there reaches nobody; wait until somebody
#: does. - ``broken``: this exchange went wrong; ask again.
#: - ``refused``: this request cannot be answered; asking again is of no use.
#: - ``stop``: no request can be answered until a person mends something.
Kind = Literal["busy", "unreachable", "broken", "refused", "stop"]

#: Status codes of a server that is busy, restarting or behind a proxy that timed out.
TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_BUSY = frozenset({429, 503, 529})
_UNREACHABLE = frozenset({502, 504, 521, 522, 523})
#: The key is wrong, the account is empty, or the address is.
_STOP = frozenset({401, 402, 404, 405, 301, 302, 303, 307, 308})
#: Codes of errors, with any status, that hold for every request.
_STOP_CODES = frozenset(
    {"insufficient_quota", "invalid_api_key", "model_not_found", "billing_hard_limit_reached"}
)
#: Servers that answer a wrong key with status 400.
_KEY_WORDS = re.compile(r"api key (is )?(not valid|invalid)|(invalid|incorrect) api key", re.I)
#: Servers that answer an unknown model so. A refusal of one request may have such words too.
_UNKNOWN_MODEL = re.compile(r"\bmodel\b.{0,80}\b(not exist|not found)|(unknown|invalid) model\b", re.I | re.S)
_MODEL_CODE = re.compile(r"(unknown|invalid)_?model$|model_?not", re.I)


#: What reading an answer of another form raises.
ODD_FORM = (ValueError, ArithmeticError, KeyError, IndexError, TypeError, AttributeError, RecursionError)


class Trouble(Exception):
    """An exchange without an answer. ``pause``: seconds that the server asks to wait. ``charged``: the
    ``usage`` that it reports nevertheless. ``status``: that of the response, if there is one. ``said``: its
    JSON. ``hung``: was the request given up?
    """

    def __init__(
        self,
        kind: Kind,
        reason: str,
        *,
        pause: float | None = None,
        charged: Any = None,
        status: int = 0,
        said: object = None,
        hung: bool = False,
    ) -> None:
        super().__init__(reason)
        self.kind: Kind = kind
        self.reason = reason
        self.pause = pause
        self.charged = charged
        self.status = status
        self.said = said
        self.hung = hung


def read(answer: Any) -> dict[str, Any]:
    """Return the JSON object of an HTTP response (of httpx). Raises Trouble if it is an error or none."""
    status = int(answer.status_code)
    said = _json_of(answer)
    if status != 200:
        raise response_trouble(answer)
    if said is None:
        raise Trouble("broken", f"an answer that is not a completion: {_told(answer)}")
    inside = said[0] if isinstance(said, list) and said else said
    if isinstance(inside, dict) and inside.get("error"):
        error = inside["error"]
        code = error.get("code") if isinstance(error, dict) else None
        worse = code if isinstance(code, int) and 400 <= code < 600 else 500
        reason = f"status 200 with an error inside: {server_message(answer)}"
        trouble = from_status(worse, reason, said, answer.headers)
        trouble.charged = inside.get("usage")
        raise trouble
    if not isinstance(said, dict):
        raise Trouble("broken", f"an answer that is not a completion: {_told(answer)}")
    return said


def not_a_completion(error: Exception, answer: object = None) -> str:
    """Say that an answer is not a completion. ``error``: one of ``ODD_FORM``, met in reading ``answer``."""
    if isinstance(error, KeyError) and isinstance(error.args[0], str):
        found = f"it has no {error.args[0]!r}"
    elif isinstance(error, IndexError):
        found = "a list in it is too short"
    elif isinstance(error, RecursionError):
        found = "it is nested too deeply"
    else:
        found = "a part of it has another form than in OpenAI's API"
    told = f"an answer that is not a completion: {found}"
    with suppress(RecursionError):  # of an answer that is nested deeply
        return told if answer is None else f"{told}; it begins {_beginning(json.dumps(answer))}"
    return told


def _json_of(answer: Any) -> Any:
    """Return the JSON of an HTTP response; None if it is none, or is nested too deeply to be read."""
    try:
        return answer.json()
    except (ValueError, RecursionError):
        return None


def response_trouble(answer: Any) -> Trouble:
    """Return what a response with another status than 200 means."""
    status = int(answer.status_code)
    said = _json_of(answer)
    return from_status(status, f"status {status}: {server_message(answer)}", said, answer.headers)


def from_status(
    status: int, reason: str, said: object, headers: Mapping[str, str] = MappingProxyType({})
) -> Trouble:
    """Return what an error means. ``said``: its JSON."""
    codes, words = _codes(said), _message(reason, said)
    if status in _STOP or codes & _STOP_CODES or (status in (400, 422) and _KEY_WORDS.search(words)):
        return Trouble("stop", reason)
    if status in _BUSY:
        return Trouble("busy", reason, pause=asked_pause(headers, said))
    if status in _UNREACHABLE:
        return Trouble("unreachable", reason, pause=asked_pause(headers, said))
    if status in TRANSIENT or status >= 500:
        return Trouble("broken", reason, pause=asked_pause(headers, said))
    return Trouble("refused", reason, status=status, said=said)


def holds_for_all(trouble: Trouble, model: str, *, answered: bool) -> bool:
    """Whether a refusal is that of every request: the server forbids all, or does not know the ``model``.

    ``answered``: has the server ever answered? Then only a refusal that names the model holds for all.
    """
    if trouble.status == 403:
        return not answered
    message = _message(trouble.reason, trouble.said)
    if trouble.status not in (400, 422) or _UNKNOWN_MODEL.search(message) is None:
        return False
    error = _error(trouble.said)
    named = error.get("param") == "model" or _MODEL_CODE.search(str(error.get("code")))
    return not answered or bool(named) or _is_said_unknown(model, message)


def _is_said_unknown(model: str, message: str) -> bool:
    """Whether the words for an unknown model are next to its name, with at most one word in between."""
    name, between = rf"(?<![\w-]){re.escape(model)}(?![\w-])", r"\W*(\w+\W+)?"
    after = rf"{name}{between}(not exist|not found)"
    before = rf"((unknown|invalid) model|not exist|not found)\b{between}{name}"
    return re.search(f"{after}|{before}", message, re.I) is not None


def _message(reason: str, said: object) -> str:
    """Return what an error says, without the input that it repeats; else the ``reason``."""
    return " ".join(texts(said)) or reason


def texts(said: object) -> Iterator[str]:
    """Yield the message, the parameter and the places of an error, but not the input that it repeats."""
    left = [said]
    while left:
        each = left.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, list):
            left += reversed(each)
        elif isinstance(each, dict):
            parts = [each.get(name) for name in ("error", "detail", "message", "param", "msg", "code")]
            if isinstance(each.get("loc"), list):
                parts.append(".".join(str(part) for part in each["loc"] if isinstance(part, str | int)))
            left += reversed(parts)


def _error(said: object) -> dict[str, Any]:
    """Return the record of an error; empty if there is none."""
    inside = said[0] if isinstance(said, list) and said else said
    error = inside.get("error", inside) if isinstance(inside, dict) else None
    return error if isinstance(error, dict) else {}


def _codes(said: object) -> set[str]:
    """Return the code and type of an error."""
    error = _error(said)
    return {value for name in ("code", "type") if isinstance(value := error.get(name), str)}


def server_message(answer: Any) -> str:
    """Return the server's error message, on one line."""
    said = _json_of(answer)
    said = said[0] if isinstance(said, list) and said else said
    if isinstance(said, dict):
        said = said.get("error", said)
        text = said.get("message", said) if isinstance(said, dict) else said
    else:
        text = _page(answer.text) or answer.text
    # Secrets are removed first, because truncated ones would not be found.
    return " ".join(shown(str(text)).split())[:500]


def _told(answer: Any) -> str:
    """Describe a body that is not a JSON object."""
    text = answer.text
    if not text.strip():
        return "an empty body"
    return _page(text) or _beginning(text)


def _beginning(text: str) -> str:
    return repr(" ".join(shown(text).split())[:100])


def _page(text: str) -> str | None:
    """Describe an HTML page; None if the text is none."""
    if not re.match(r"\s*<(!doctype|html|head|body|\?xml)", text, re.I):
        return None
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.I | re.S)
    named = " ".join(shown(title[1]).split())[:100] if title else ""
    return f"an HTML page ({named})" if named else "an HTML page"


def connection_trouble(error: Exception) -> Trouble:
    """Return what a failed exchange of httpx means."""
    import httpx

    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return Trouble("unreachable", _cause(error))
    if isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout | httpx.PoolTimeout):
        return Trouble("broken", f"no answer in time ({type(error).__name__})")
    return Trouble("broken", f"the connection broke: {_cause(error)}")


def _cause(error: BaseException) -> str:
    """Return the reason that the system gives for a failed connection."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError):
            return str(cause.reason or cause)
        if isinstance(cause, TimeoutError):
            return "no connection in time"
        if isinstance(cause, OSError) and cause.errno:
            # Names that are not found have numbers of their own, which are negative.
            told = os.strerror(cause.errno) if cause.errno > 0 else cause.strerror
            return (told or str(cause)).lower()
    return f"{type(error).__name__}: {error}".rstrip(": ")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the causes of an error, the first one first."""
    if error is None:
        return
    yield from _causes(error.__cause__ or error.__context__)
    for each in getattr(error, "exceptions", ()):
        yield from _causes(each)
    yield error
