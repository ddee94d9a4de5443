"""What fields and parameters mean, from `api/words/*.toml`, and examples made of it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["Glossary", "Word", "glossary"]

JsonObject = dict[str, Any]
_REF = "#/components/schemas/"
_SHORT_LIST = 1


@dataclass(frozen=True, slots=True)
class Word:
    """A field's meaning and an example of its value; a silent field never has one."""

    key: str
    meaning: str
    example: Any = None
    silent: bool = False


class Glossary:
    """Words by name, or by `Model.name` where a model means something of its own."""

    def __init__(self, words: Mapping[str, Word], bodies: Mapping[str, JsonObject]) -> None:
        self.words = words
        self.bodies = bodies

    def find(self, owner: str, name: str) -> Word | None:
        """What `name` means in `owner`, a model or an operation."""
        return self.words.get(f"{owner}.{name}") or self.words.get(name)

    def describe(self, schemas: Mapping[str, JsonObject]) -> None:
        """Write meanings and examples into the fields of component schemas."""
        for owner, schema in schemas.items():
            for name, field in schema.get("properties", {}).items():
                word = self.find(owner, name)
                if word is None:
                    continue
                field["description"] = word.meaning
                if not word.silent:
                    field["examples"] = [word.example]

    def whole(self, name: str, schemas: Mapping[str, JsonObject]) -> Any:
        """An example of a whole component: a request as written down, a reply made of its fields' examples."""
        if name in self.bodies:
            return self.bodies[name]
        return self._made(name, schemas, ())

    def _made(self, owner: str, schemas: Mapping[str, JsonObject], above: tuple[str, ...]) -> JsonObject:
        made: JsonObject = {}
        for name, field in schemas[owner].get("properties", {}).items():
            word = self.find(owner, name)
            if word is None or word.silent:
                continue
            inner = next(_parts(field), None)
            if inner is None or inner[0] in (*above, owner) or word.example not in ([], {}):
                made[name] = word.example
            else:
                part = self._made(inner[0], schemas, (*above, owner))
                made[name] = [part] * _SHORT_LIST if inner[1] else part
        return made


def _parts(field: JsonObject) -> Iterator[tuple[str, bool]]:
    """(component, whether as a list) of what a field refers to."""
    for option in (field, *field.get("anyOf", ())):
        if "$ref" in option:
            yield option["$ref"].removeprefix(_REF), False
        elif "$ref" in option.get("items", {}):
            yield option["items"]["$ref"].removeprefix(_REF), True


@cache
def glossary() -> Glossary:
    """The glossary of this server. Raises ValueError when a word is given two meanings."""
    words: dict[str, Word] = {}
    bodies: dict[str, JsonObject] = {}
    reason = ""
    for path in sorted((Path(__file__).parent / "words").glob("*.toml")):
        found = tomllib.loads(path.read_text("utf-8"))
        silent = found.get("silent", {})
        reason = silent.get("reason", reason)
        new = [Word(key, meaning, example) for key, (meaning, example) in found["fields"].items()]
        new += [Word(key, "", silent=True) for key in silent.get("fields", [])]
        for word in new:
            if word.key in words:
                raise ValueError(f"{path.name}: {word.key} has a meaning already")
            words[word.key] = word
        bodies |= found.get("bodies", {})
    silent = {key: Word(key, reason, silent=True) for key, word in words.items() if word.silent}
    return Glossary({**words, **silent}, bodies)
