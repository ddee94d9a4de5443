"""Names in Snowflake: how a source path is read, how any name is quoted, how a name given by a person is found.

An unquoted name is folded to upper case; a name in double quotes is taken as it is, a quote in it is doubled.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from providers.errors import Misconfigured

__all__ = ["find_name", "parse_name", "quote", "shown"]

_PART = re.compile(r'"((?:[^"]|"")+)"|([^\W\d][\w$]*)')
_PLAIN = re.compile(r"[A-Z_][A-Z0-9_$]*")


def quote(name: str) -> str:
    """`name` as a quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def shown(parts: Iterable[str]) -> str:
    """Names joined by dots, quoted where they must be: unambiguous, and what a person would write."""
    return ".".join(part if _PLAIN.fullmatch(part) else quote(part) for part in parts)


def parse_name(text: str, *, what: str = "source_path") -> list[str]:
    """The parts of a dotted name, as Snowflake stores them. Raises Misconfigured."""
    parts: list[str] = []
    place, text = 0, text.strip()
    while match := _PART.match(text, place):
        parts.append(match[1].replace('""', '"') if match[1] is not None else match[2].upper())
        place = match.end()
        if place == len(text):
            return parts
        if text[place] != ".":
            break
        place += 1
    raise Misconfigured(
        f"{what} is not a name Snowflake understands: write DB.SCHEMA.TABLE, SCHEMA.TABLE or TABLE, with"
        ' "double quotes" around a part with other characters than letters, digits and _',
        provider="snowflake",
        path=text,
    )


def find_name(name: str, names: Iterable[str]) -> str | None:
    """Which of `names` a person means: exactly it, else upper-cased or quoted, else the only one but for its case."""
    known = list(names)
    bare = name[1:-1].replace('""', '"') if len(name) > 2 and name[0] == name[-1] == '"' else None
    for wanted in (name, bare, name.upper()):
        if wanted in known:
            return wanted
    alike = [one for one in known if one.upper() == name.upper()]
    return alike[0] if len(alike) == 1 else None
