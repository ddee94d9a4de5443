"""Whether one OpenAPI document has all that another has: the comparison behind `test_api_openapi.py`.

A request must be taken as widely as the contract says, a reply may be narrower: every type and value of a reply
of ours must be one of the contract's, so that its clients can read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

JSON = dict[str, Any]
METHODS = ("get", "post", "put", "patch", "delete")
BOUNDS = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "minItems", "maxItems",
    "minProperties", "maxProperties", "pattern", "format",
)  # fmt: skip


class Option(NamedTuple):
    """One alternative of a schema, and the component it is."""

    name: str
    schema: JSON

    @property
    def kind(self) -> str:
        values = self.values or set()
        guess = "string" if values and all(isinstance(value, str) for value in values) else ""
        return str(self.schema.get("type", guess))

    @property
    def values(self) -> set[Any] | None:
        if "const" in self.schema:
            return {self.schema["const"]}
        found = self.schema.get("enum", self.schema.get("x-stated-values"))
        return None if found is None else set(found)

    @property
    def properties(self) -> JSON:
        found: JSON = self.schema.get("properties", {})
        return found


def operations(document: JSON) -> dict[tuple[str, str], JSON]:
    return {
        (method, path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    }


def lacks(theirs: JSON, ours: JSON) -> list[str]:
    """What `ours` lacks: a line per path, parameter, field, type, range, default, enum or required mark."""
    wanted, given = operations(theirs), operations(ours)
    compared = {side: _Schemas(theirs, ours, reply=side == "reply") for side in ("request", "reply")}
    found: list[str] = []
    for key, operation in wanted.items():
        where = f"{key[0].upper()} {key[1]}"
        if key not in given:
            found.append(f"{where}: missing")
            continue
        found += _asked(where, operation, given[key], compared["request"])
        for status, response in operation["responses"].items():
            mine = given[key]["responses"].get(status)
            if mine is None:
                found.append(f"{where} {status}: missing")
            elif "content" in response:
                found += compared["reply"].compare(f"{where} {status}", _json(response), _json(mine))
    return found


def _asked(where: str, wanted: JSON, given: JSON, schemas: _Schemas) -> Iterator[str]:
    own = {(one["in"], one["name"]): one for one in given.get("parameters", [])}
    for parameter in wanted.get("parameters", []):
        name = f"{where} ?{parameter['name']}"
        mine = own.get((parameter["in"], parameter["name"]))
        if mine is None:
            yield f"{name}: missing"
            continue
        yield from _marked(name, parameter, mine)
        yield from schemas.compare(name, parameter["schema"], mine["schema"])
    body, mine = wanted.get("requestBody"), given.get("requestBody")
    if body is not None and mine is not None:
        yield from _marked(f"{where} body", body, mine)
        yield from schemas.compare(f"{where} body", _json(body), _json(mine))
    elif body is not mine:
        yield f"{where} body: {'missing' if mine is None else 'not of the contract'}"


def _marked(where: str, wanted: JSON, given: JSON) -> Iterator[str]:
    if bool(wanted.get("required")) != bool(given.get("required")):
        yield f"{where}: required is {given.get('required', False)}"


def _json(part: JSON) -> JSON:
    content: JSON = part.get("content", {}).get("application/json", {}).get("schema", {})
    return content


class _Schemas:
    """Compares schemas, each pair of components once."""

    def __init__(self, theirs: JSON, ours: JSON, *, reply: bool) -> None:
        self._theirs, self._ours, self._reply = theirs, ours, reply
        self._seen: set[tuple[str, str]] = set()

    def compare(self, where: str, wanted: JSON, given: JSON) -> Iterator[str]:
        if "default" in wanted and ("default" not in given or given["default"] != wanted["default"]):
            yield f"{where}: default is {given.get('default', 'none')!r}, not {wanted['default']!r}"
        stated = {} if self._reply else {name: wanted[name] for name in ("x-stated-values",) if name in wanted}
        theirs = [
            Option(one.name, {**stated, **one.schema} if one.kind == "string" else one.schema)
            for one in _options(self._theirs, wanted)
        ]
        ours = list(_options(self._ours, given))
        # An option without a type stands for anything.
        if self._reply and all(one.kind for one in theirs):
            for option in ours:
                yield from self._among(where, option, theirs)
        elif not self._reply and all(one.kind for one in ours):
            for option in _widest(theirs):
                yield from self._among(where, option, ours)

    def _among(self, where: str, option: Option, others: list[Option]) -> Iterator[str]:
        alike = [one for one in others if one.kind == option.kind] or [
            one for one in others if {one.kind, option.kind} == {"integer", "number"}
        ]
        if not alike:
            yield f"{where}: type {option.kind or 'any'}, beside {sorted(one.kind for one in others)}"
            return
        names = option.properties.keys()
        best = max(alike, key=lambda one: (one.name == option.name, len(names & one.properties.keys())))
        wanted, given = (best, option) if self._reply else (option, best)
        if wanted.name and given.name:
            if (wanted.name, given.name) in self._seen:
                return
            self._seen.add((wanted.name, given.name))
            where = wanted.name
        yield from self._bounds(where, wanted, given)
        yield from self._inner(where, wanted.schema, given.schema)

    def _bounds(self, where: str, wanted: Option, given: Option) -> Iterator[str]:
        for bound in BOUNDS:
            theirs, ours = wanted.schema.get(bound), given.schema.get(bound)
            if theirs != ours and not (theirs is None and (self._reply or bound in {"format", "pattern"})):
                yield f"{where}: {bound} is {ours}, not {theirs}"
        wide, narrow = (wanted.values, given.values) if self._reply else (given.values, wanted.values)
        if wide is not None and (narrow is None or not narrow <= wide):
            yield f"{where}: values {sorted(map(str, narrow or ()))} are not all of {sorted(map(str, wide))}"

    def _inner(self, where: str, wanted: JSON, given: JSON) -> Iterator[str]:
        if "items" in wanted:
            yield from self.compare(f"{where}[]", wanted["items"], given.get("items", {}))
        more, own = wanted.get("additionalProperties"), given.get("additionalProperties")
        if isinstance(more, dict) and isinstance(own, dict):
            yield from self.compare(f"{where}.*", more, own)
        elif isinstance(more, dict) or (more is True and own is False):
            yield f"{where}: additionalProperties is {own}"
        ours, theirs = given.get("properties", {}), wanted.get("properties", {})
        if not ours and own is not False:
            return  # a free object
        for name, schema in theirs.items():
            if name in ours:
                yield from self.compare(f"{where}.{name}", schema, ours[name])
            else:
                yield f"{where}.{name}: missing"
        marked = set(given.get("required", [])) & theirs.keys()
        if set(wanted.get("required", [])) != marked:
            yield f"{where}: required are {sorted(marked)}, not {sorted(wanted.get('required', []))}"


def _options(document: JSON, schema: JSON, name: str = "") -> Iterator[Option]:
    """The alternatives of a schema, references and nested alternatives opened."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        yield from _options(document, document["components"]["schemas"][name], name)
        return
    for key in ("anyOf", "oneOf"):
        if key in schema:
            for one in schema[key]:
                yield from _options(document, one)
            return
    yield Option(name, schema)


def _widest(options: list[Option]) -> list[Option]:
    """Without those that another of the same type covers: a text of 1..2083 characters beside any text."""
    free = {one.kind for one in options if one.schema.keys() == {"type"}}
    return [one for one in options if one.kind not in free or one.schema.keys() == {"type"}]
