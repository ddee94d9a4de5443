"""The subset of Drive's search language (`q`) that the simulator understands; anything else is refused as Drive does.

https://developers.google.com/workspace/drive/api/guides/ref-search-terms
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["InvalidQueryError", "compile_query"]

Predicate = Callable[[Mapping[str, Any]], bool]
_TOKEN = re.compile(r"\s*(?:(?P<text>'(?:[^'\\]|\\.)*')|(?P<word>[A-Za-z.]+)|(?P<op>!=|>=|<=|=|>|<|\(|\)))", re.DOTALL)


class InvalidQueryError(Exception):
    """Not a query."""


def compile_query(text: str) -> Predicate:
    """A predicate on file resources (with `sharedWithMe` worked out by the caller)."""
    tokens: list[str] = []
    rest = text.strip()
    while rest:
        match = _TOKEN.match(rest)
        if match is None:
            raise InvalidQueryError(text)
        tokens.append(match.group(0).strip())
        rest = rest[match.end() :].strip()
    if not tokens:
        return lambda _file: True
    parser = _Parser(tokens)
    predicate = parser.either()
    if parser.tokens:
        raise InvalidQueryError(text)
    return predicate


class _Parser:
    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens

    def take(self) -> str:
        if not self.tokens:
            raise InvalidQueryError
        return self.tokens.pop(0)

    def either(self) -> Predicate:
        parts = [self.both()]
        while self.tokens and self.tokens[0] == "or":
            self.take()
            parts.append(self.both())
        return parts[0] if len(parts) == 1 else lambda file: any(part(file) for part in parts)

    def both(self) -> Predicate:
        parts = [self.one()]
        while self.tokens and self.tokens[0] == "and":
            self.take()
            parts.append(self.one())
        return parts[0] if len(parts) == 1 else lambda file: all(part(file) for part in parts)

    def one(self) -> Predicate:
        first = self.take()
        if first == "not":
            inner = self.one()
            return lambda file: not inner(file)
        if first == "(":
            inner = self.either()
            if self.take() != ")":
                raise InvalidQueryError
            return inner
        if first.startswith("'"):
            value = _text(first)
            self.expect("in")
            field = self.take()
            if field != "parents":
                raise InvalidQueryError(field)
            return lambda file: value in (file.get("parents") or ())
        return self.compare(first, self.take(), self.take())

    def expect(self, word: str) -> None:
        if self.take() != word:
            raise InvalidQueryError(word)

    @staticmethod
    def compare(field: str, operator: str, right: str) -> Predicate:
        if field in {"trashed", "starred", "sharedWithMe"} and right in {"true", "false"} and operator in {"=", "!="}:
            wanted = (right == "true") == (operator == "=")
            return lambda file: bool(file.get(field)) == wanted
        if not right.startswith("'"):
            raise InvalidQueryError(right)
        text = _text(right)
        if field == "name" and operator == "=":
            return lambda file: str(file.get("name", "")).lower() == text.lower()
        if field == "name" and operator == "contains":
            return lambda file: str(file.get("name", "")).lower().startswith(text.lower())
        if field == "mimeType" and operator in {"=", "!="}:
            return lambda file: (file.get("mimeType") == text) == (operator == "=")
        if field == "modifiedTime" and operator in {">", ">="}:
            return lambda file: str(file.get("modifiedTime", "")) >= text
        if field == "shortcutDetails.targetId" and operator == "=":
            return lambda file: (file.get("shortcutDetails") or {}).get("targetId") == text
        raise InvalidQueryError(field)


def _text(token: str) -> str:
    return re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL)
