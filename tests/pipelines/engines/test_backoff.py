from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from gristmill.pipelines.engines.backoff import asked_pause, pause_before, retry_after


def test_pauses_double_with_jitter_unless_the_server_says_how_long() -> None:
    for attempt, middle in ((1, 0.5), (2, 1.0), (4, 4.0)):
        assert all(middle / 2 <= pause_before(attempt, None) <= middle * 1.5 for _ in range(50))
    assert 3.0 <= pause_before(1, 3.0) <= 3.1
    assert pause_before(30, None, longest=10) <= 15
    assert pause_before(30, None) <= 90


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("0.5", 0.5), ("-3", 0.0), ("soon", None), (None, None), ("", None)]
)
def test_retry_after_as_a_number(header: str | None, seconds: float | None) -> None:
    assert retry_after(header) == seconds


def test_retry_after_as_a_date() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 85 < (retry_after(later) or 0) < 91
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0


@pytest.mark.parametrize(
    ("headers", "said", "seconds"),
    [
        ({"retry-after-ms": "250", "retry-after": "9"}, None, 0.25),
        ({"retry-after": "7"}, None, 7.0),
        ({"retry-after": "1m30s"}, None, 90.0),
        ({"retry-after": "inf"}, None, None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m30.5s"}, None, 90.5),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "20ms"}, None, 0.02),
        ({"x-ratelimit-remaining-tokens": "9", "x-ratelimit-reset-tokens": "20ms"}, None, None),
        ({}, [{"error": {"details": [{"@type": "x.RetryInfo", "retryDelay": "34s"}]}}], 34.0),
        ({}, {"error": {"details": [{"@type": "x.Help"}, {"retryDelay": "34.5s"}]}}, 34.5),
        ({}, {"error": "slow down"}, None),
        ({}, None, None),
    ],
)
def test_a_pause_is_read_in_every_form(headers: dict[str, str], said: Any, seconds: float | None) -> None:
    assert asked_pause(headers, said) == seconds
