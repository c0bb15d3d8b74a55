"""Permitted functions of expressions, checked against all functions of the installed DuckDB."""

from __future__ import annotations

import duckdb
import pytest

from gristmill.contracts.errors import DataError
from gristmill.filters.expressions.condition import check
from gristmill.filters.expressions.sql_functions import catalog, changeable

#: Functions that are consistent only by their label: they read the clock, chance or settings.
LABELED_WRONG = {"reservoir_quantile", "current_setting", "getvariable"}
#: Macros that use the clock, sleep or catalog tables, or that return several rows.
MACROS = {
    "ago", "current_catalog", "format_type", "generate_subscripts", "get_block_size", "pg_conf_load_time",
    "pg_get_constraintdef", "pg_get_viewdef", "pg_postmaster_start_time", "pg_sleep", "regexp_split_to_table",
}  # fmt: skip


def stabilities() -> dict[str, set[str]]:
    rows = (
        duckdb.connect().execute("SELECT lower(function_name), stability FROM duckdb_functions()").fetchall()
    )
    found: dict[str, set[str]] = {}
    for name, stability in rows:
        found.setdefault(name, set()).add(stability)
    return found


def test_a_name_is_refused_only_where_none_of_its_overloads_is_consistent() -> None:
    found = stabilities()
    assert len(found) > 500
    for name, labels in found.items():
        volatile = "CONSISTENT" not in labels and labels & {"VOLATILE", "CONSISTENT_WITHIN_QUERY"}
        assert changeable(name) == bool(volatile or name in LABELED_WRONG | MACROS), name


def test_what_draws_or_tells_the_time_is_among_them() -> None:
    known = catalog()
    for name in (
        "random",
        "uuid",
        "now",
        "today",
        "current_date",
        "get_current_timestamp",
        "nextval",
        "setseed",
    ):
        assert name in known
        assert changeable(name)


@pytest.mark.parametrize(
    "expression",
    [
        "a + b - c * d / e % f > 0",
        "day(t) = 1 AND year(t) > 2000 AND month(t) + hour(t) > 3",
        "strftime(t, '%Y') = '2020' AND date_trunc('day', t) < t",
        "len(range(10)) = 10 AND len(generate_series(1, n)) = n",
        "extract(epoch FROM t) > 1 AND date_diff('day', t, u) > 1 AND age(t, u) > INTERVAL 1 DAY",
        "t AT TIME ZONE 'UTC' > u AND t - INTERVAL 1 DAY < u",
        "list_sum(x) > 1 AND list_aggr(x, 'max') > 2 AND x.list_aggr('min') < 3",
        "lag(n) OVER (ORDER BY t) < n AND ntile(4) OVER (ORDER BY n) = 1 AND count(*) OVER () > 3",
        "median(n) OVER () < n AND avg(n) FILTER (WHERE n > 1) OVER (PARTITION BY g) > 1",
        "len([y * 2 FOR y IN x IF y > 1]) = 1 AND text.upper().contains('A')",
        "text LIKE 'a%' AND text ~ 'b' AND text SIMILAR TO 'c' AND text GLOB 'd*' AND NOT text ILIKE 'e'",
        "TRY_CAST(text AS INT) IS NOT DISTINCT FROM 1 AND coalesce(a, ifnull(b, nullif(c, 1))) = 1",
        "s.part > 1 AND s['part'] < 2 AND x[1] = 1 AND x[1:2] = [1] AND {'a': 1}.a = 1 AND MAP {'k': "
        "1}['k'] = 1",
        "position('a' IN text) = 1 AND trim(BOTH 'a' FROM text) = '' AND substring(text FROM 1 FOR 2) = 'a'",
        "json_extract(text, '$.a') = '1' AND text->>'$.b' = 'c' AND regexp_extract(text, 'x(.)', 1) = 'y'",
        "greatest(a, b, c) = least(a, b) AND CASE WHEN a THEN b ELSE c END AND split_part(text, ',', "
        "1) = 'a'",
    ],
)
def test_what_gives_the_same_rows_is_taken(expression: str) -> None:
    check(expression)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("random() > 0.5", "random() does not"),
        ("system.main.random() > 0.5", "random() does not"),
        ("len(list_transform(x, lambda y: y + random())) > 1", "random() does not"),
        ("sum(a) FILTER (WHERE random() > 0.5) OVER () > 1", "random() does not"),
        ("reservoir_quantile(a, 0.5) OVER () > 1", "reservoir_quantile() does not"),
        ("list_aggr(x, 'reservoir_quantile', 0.5) > 1", "list_aggr() does not"),
        ("list_aggr(x, name) > 1", "list_aggr() does not"),
        ("x.list_aggr('reservoir_quantile', 0.5) > 1", "list_aggr() does not"),
        ("uuid() = text", "uuid() does not"),
        ("now() > t", "now() does not"),
        ("today() > t", "today() does not"),
        ("current_timestamp > t", "current_timestamp does not"),
        ("current_date > t", "current_date does not"),
        ("age(t) > INTERVAL 1 DAY", "age() does not"),
        ("t.age() > INTERVAL 1 DAY", "age() does not"),
        ("nextval('s') = 1", "nextval() does not"),
        ("current_setting('threads') = '1'", "current_setting() does not"),
        ("pg_sleep(10) IS NULL", "pg_sleep()"),
        ("sleep_ms(10000) IS NULL", "sleep_ms()"),
        ("read_text('/etc/passwd') = ''", "reads tables or files"),
        ("read_csv('/etc/passwd') = ''", "reads tables or files"),
        ("len(glob('/etc/*')) > 0", "reads tables or files"),
        ("duckdb_settings() = ''", "reads tables or files"),
        ("query('SELECT 1') = 1", "reads tables or files"),
        ("getenv('HOME') = ''", "no function getenv()"),
        ("get_block_size('memory') = 1", "get_block_size() does not"),
        ("unnest(x) = 1", "several rows"),
        ("uper(text) = 'A'", "did you mean 'upper'?"),
        ("nope(text) OVER () = 'A'", "no function nope()"),
        ("a = ?", "no parameters"),
        ("a = $1", "no parameters"),
        ("a > 1; ATTACH 'x.db'", "not a DuckDB SQL expression"),
        ("a > 1; COPY rows TO 'x'", "not a DuckDB SQL expression"),
        ("PRAGMA version", "not a DuckDB SQL expression"),
        ("INSTALL httpfs", "not a DuckDB SQL expression"),
        ("a IN (WITH RECURSIVE r AS (SELECT 1 UNION ALL SELECT 1 FROM r) SELECT * FROM r)", "no sub-query"),
        ("a = 1 OR " * 3000 + "true", "characters at most"),
        ("- " * 900 + " a > 1", "keep: "),
        ("NOT " * 900 + " a", "keep: "),
        ("+".join(["a"] * 900) + " > 1", "too deeply"),
        ("||".join(["a"] * 400) + " = ''", "too deeply"),
    ],
)
def test_what_does_not_is_refused_without_a_table(expression: str, message: str) -> None:
    with pytest.raises(DataError, match="keep") as caught:
        check(expression)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
