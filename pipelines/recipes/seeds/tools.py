"""Small tools without state, network or files, for `source: python_tools` and the recipe `tool_calls`.

Each public function is a tool: its annotations and its docstring are what a model is told about it.
"""

import ast
import math
import operator
import re
import statistics
from datetime import date, datetime, timedelta
from typing import Any, Literal

_METERS = {"millimeter": 0.001, "centimeter": 0.01, "meter": 1, "kilometer": 1000, "inch": 0.0254,
           "foot": 0.3048, "yard": 0.9144, "mile": 1609.344}  # fmt: skip
_GRAMS = {"gram": 1, "kilogram": 1000, "tonne": 1_000_000, "ounce": 28.349523125, "pound": 453.59237}
_OPERATORS: dict[type, Any] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.USub: operator.neg, ast.UAdd: operator.pos,
}  # fmt: skip
_ARTICLES = {
    "Windmill": "A windmill turns the energy of wind into rotation. Most were built to grind grain.",
    "Watermill": "A watermill uses the flow of a river to drive a wheel, which grinds grain or saws wood.",
    "Sourdough": "Sourdough bread rises by wild yeast and lactic acid bacteria instead of baker's yeast.",
    "Yeast": "Yeast is a fungus of one cell. It turns sugar into carbon dioxide and alcohol.",
    "Honey bee": "Honey bees live in colonies with one queen. They make honey from the nectar of flowers.",
    "Silk": "Silk is a fiber that silkworms spin for their cocoons. One cocoon gives about 900 meters.",
    "Lighthouse": "A lighthouse guides ships at night. Its lens bundles light into a beam.",
    "Glacier": "A glacier is a mass of ice that moves slowly under its own weight.",
    "Volcano": "A volcano is an opening in the crust of a planet through which lava and gas escape.",
    "Moon": "The Moon orbits the Earth in about 27.3 days. Its gravity causes the tides.",
    "Bicycle": "A bicycle has two wheels and is driven by pedals. Chains came into use in the 1880s.",
    "Piano": "A piano has 88 keys. Hammers strike its strings when keys are pressed.",
}


def convert_length(
    value: float,
    from_unit: Literal["millimeter", "centimeter", "meter", "kilometer", "inch", "foot", "yard", "mile"],
    to_unit: Literal["millimeter", "centimeter", "meter", "kilometer", "inch", "foot", "yard", "mile"],
) -> float:
    """Convert a length from one unit to another.

    Args:
        value: The length, in `from_unit`.
        from_unit: The unit to convert from.
        to_unit: The unit to convert to.
    """
    return round(value * _METERS[from_unit] / _METERS[to_unit], 6)


def convert_weight(
    value: float,
    from_unit: Literal["gram", "kilogram", "tonne", "ounce", "pound"],
    to_unit: Literal["gram", "kilogram", "tonne", "ounce", "pound"],
) -> float:
    """Convert a weight from one unit to another.

    Args:
        value: The weight, in `from_unit`.
        from_unit: The unit to convert from.
        to_unit: The unit to convert to.
    """
    return round(value * _GRAMS[from_unit] / _GRAMS[to_unit], 6)


def convert_temperature(
    value: float,
    from_unit: Literal["celsius", "fahrenheit", "kelvin"],
    to_unit: Literal["celsius", "fahrenheit", "kelvin"],
) -> float:
    """Convert a temperature from one scale to another.

    Args:
        value: The temperature, on the scale `from_unit`.
        from_unit: The scale to convert from.
        to_unit: The scale to convert to.
    """
    kelvin = {
        "celsius": value + 273.15,
        "fahrenheit": (value + 459.67) * 5 / 9,
        "kelvin": value,
    }[from_unit]
    if kelvin < 0:
        raise ValueError("the temperature is below absolute zero")
    return round(
        {"celsius": kelvin - 273.15, "fahrenheit": kelvin * 9 / 5 - 459.67, "kelvin": kelvin}[to_unit], 2
    )


def calculate(expression: str) -> float:
    """Compute an arithmetic expression with + - * / // % and parentheses.

    Args:
        expression: The expression, such as "(2 + 3) * 4.5".
    """

    def value(node: ast.AST) -> Any:
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            return node.value
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            return _OPERATORS[type(node.op)](value(node.left), value(node.right))
        if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
            return _OPERATORS[type(node.op)](value(node.operand))
        raise ValueError(f"not arithmetic: {expression!r}")

    result: float = value(ast.parse(expression, mode="eval").body)
    return result


def add_days(start: str, days: int) -> str:
    """Give the date that is a number of days after another date.

    Args:
        start: The first date, as YYYY-MM-DD.
        days: How many days to add. A negative number goes back.
    """
    return (date.fromisoformat(start) + timedelta(days=days)).isoformat()


def days_between(start: str, end: str) -> int:
    """Count the days from one date to another.

    Args:
        start: The first date, as YYYY-MM-DD.
        end: The second date, as YYYY-MM-DD.
    """
    return (date.fromisoformat(end) - date.fromisoformat(start)).days


def day_of_week(day: str) -> str:
    """Give the day of the week of a date.

    Args:
        day: The date, as YYYY-MM-DD.
    """
    return date.fromisoformat(day).strftime("%A")


def add_minutes(time: str, minutes: int) -> str:
    """Give the time of day that is a number of minutes after another.

    Args:
        time: The first time, as HH:MM, from 00:00 to 23:59.
        minutes: How many minutes to add. A negative number goes back.
    """
    return (datetime.strptime(time, "%H:%M") + timedelta(minutes=minutes)).strftime("%H:%M")


def search_articles(words: str, limit: int = 3) -> list[dict[str, str]]:
    """Search a small encyclopedia of short articles on crafts, nature and technology.

    Args:
        words: Words to search for. Articles with more of them come first.
        limit: How many articles to give at most.
    """
    wanted = set(re.findall(r"\w+", words.lower()))
    rated = []
    for title, text in _ARTICLES.items():
        hits = len(wanted & set(re.findall(r"\w+", f"{title} {text}".lower())))
        if hits:
            rated.append((-hits, title, text))
    if not rated:
        raise LookupError(f"no article has one of the words {sorted(wanted)}")
    return [{"title": title, "text": text} for _, title, text in sorted(rated)[:limit]]


def count_text(text: str, unit: Literal["characters", "words", "lines"]) -> int:
    """Count the characters, words or lines of a text.

    Args:
        text: The text to measure.
        unit: What to count.
    """
    return len({"characters": text, "words": text.split(), "lines": text.splitlines()}[unit])


def summarize_numbers(numbers: list[float]) -> dict[str, float]:
    """Give the number, sum, mean, median, lowest and highest of a list of numbers.

    Args:
        numbers: The numbers, at least one.
    """
    return {
        "count": len(numbers),
        "sum": math.fsum(numbers),
        "mean": round(statistics.fmean(numbers), 6),
        "median": statistics.median(numbers),
        "lowest": min(numbers),
        "highest": max(numbers),
    }


def loan_payment(amount: float, yearly_percent: float, months: int) -> float:
    """Compute the equal monthly payment of a loan.

    Args:
        amount: The sum that is borrowed.
        yearly_percent: The yearly interest rate in percent, such as 4.5.
        months: The number of monthly payments.
    """
    if amount <= 0 or months <= 0 or yearly_percent < 0:
        raise ValueError("amount and months must be above 0, and the rate not below")
    rate = yearly_percent / 1200
    share = 1 / months if rate == 0 else rate / (1 - (1 + rate) ** -months)
    return round(amount * share, 2)


def split_bill(total: float, people: int, tip_percent: float = 0) -> float:
    """Compute what each person pays of a bill, with a tip.

    Args:
        total: The bill without the tip.
        people: How many people share it.
        tip_percent: The tip in percent of the bill.
    """
    if people < 1:
        raise ValueError("at least one person must pay")
    return round(total * (1 + tip_percent / 100) / people, 2)
