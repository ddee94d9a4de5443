"""Column types: how a value is asked for so that nothing of it is lost, bound again, and written as JSON.

Everything but text, floats and truth values is asked for as text made by the server, whose output formats
the session pins: no client-side date, decimal or integer type can then round it, reject it or shift its time zone.

| Snowflake | JSON |
|---|---|
| NUMBER without decimals | number; text beyond 64 bits |
| NUMBER with decimals, DECFLOAT | text, every digit as declared |
| FLOAT | number; `"NaN"`, `"inf"`, `"-inf"` |
| BOOLEAN | true, false |
| VARCHAR, UUID, INTERVAL and types unknown to us | text |
| DATE, TIME, TIMESTAMP_NTZ | ISO 8601 text, up to nanoseconds, no offset |
| TIMESTAMP_LTZ, TIMESTAMP_TZ | the same with the offset: +00:00, or the one it was stored with |
| BINARY | upper-case hexadecimal text |
| VARIANT, OBJECT, ARRAY, MAP, VECTOR, FILE | their JSON, digit for digit |
| GEOGRAPHY, GEOMETRY | GeoJSON |

SQL NULL is null; in a column of JSON it leaves the property out, because there null is a value of its own.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

import orjson

from providers.snowflake.identifiers import quote

__all__ = ["Column", "Term", "is_json", "iso_time", "json_value", "to_json"]

_JSON_KINDS = frozenset({"VARIANT", "OBJECT", "ARRAY", "MAP", "VECTOR", "FILE", "GEOGRAPHY", "GEOMETRY"})
_TIMES = frozenset({"TIMESTAMP_NTZ", "TIMESTAMP_LTZ", "TIMESTAMP_TZ"})
_RAW = frozenset({"TEXT", "FLOAT", "BOOLEAN", "FILE"})
_COMPARABLE = frozenset({"NUMBER", "FLOAT", "TEXT", "BINARY", "BOOLEAN", "DATE", "TIME", "UUID"}) | _TIMES
_ADVANCING = frozenset({"NUMBER", "FLOAT", "DATE"}) | _TIMES
_SYNONYMS = {
    **dict.fromkeys(("DECIMAL", "NUMERIC", "INT", "INTEGER", "BIGINT", "SMALLINT", "TINYINT", "BYTEINT"), "NUMBER"),
    **dict.fromkeys(("VARCHAR", "CHAR", "CHARACTER", "STRING", "NVARCHAR", "NCHAR"), "TEXT"),
    **dict.fromkeys(("DOUBLE", "REAL", "FLOAT4", "FLOAT8"), "FLOAT"),
    "VARBINARY": "BINARY",
}
_TIME = re.compile(r"(\d{4,}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d+))?(?: ?(Z|[+-]\d\d)(?::?(\d\d))?)?")
_CLOCK = re.compile(r"(\d\d:\d\d:\d\d)(?:\.(\d+))?")
_INT64 = 1 << 63


def iso_time(text: str) -> str:
    """A timestamp as Snowflake writes it, in ISO 8601 without idle zeros; anything else as it is."""
    match = _TIME.fullmatch(text)
    if match is None:
        return text
    day, clock, fraction, hours, minutes = match.groups()
    zone = "" if hours is None else "+00:00" if hours == "Z" else f"{hours}:{minutes or '00'}"
    fraction = (fraction or "").rstrip("0")
    return f"{day}T{clock}{'.' + fraction if fraction else ''}{zone}"


@dataclass(frozen=True, slots=True)
class Term:
    """Something rows are ordered and compared by. `select` gives it as text, `bound` takes that text back."""

    name: str
    select: str
    order: str
    bound: str
    nullable: bool
    kind: str

    def text(self, value: Any) -> str | None:
        """A fetched value as it is put into cursors and bound again."""
        if value is None:
            return None
        return iso_time(str(value)) if self.kind in _TIMES else str(value)


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `kind` is INFORMATION_SCHEMA's DATA_TYPE, without parameters."""

    name: str
    kind: str
    scale: int
    nullable: bool
    collated: bool = False

    @classmethod
    def of(cls, name: str, data_type: str, nullable: bool, scale: Any, collation: str | None) -> Column:  # noqa: FBT001
        """A column as INFORMATION_SCHEMA describes it."""
        kind = re.split(r"[(\s]", data_type.strip().upper(), maxsplit=1)[0]
        return cls(name, _SYNONYMS.get(kind, kind), int(scale or 0), nullable, bool(collation))

    @property
    def comparable(self) -> bool:
        """Whether rows can be ordered by it and found again."""
        return self.kind in _COMPARABLE

    @property
    def advancing(self) -> bool:
        """Whether it can be a watermark."""
        return self.kind in _ADVANCING

    @property
    def is_time(self) -> bool:
        """Whether it holds points in time."""
        return self.kind in _TIMES

    @property
    def _sql(self) -> str:
        """Qualified: ORDER BY would else prefer an alias of the same name."""
        return f"T.{quote(self.name)}"

    @property
    def select(self) -> str:
        """The expression that gives the value without loss."""
        name = self._sql
        if self.kind in _RAW:
            return name
        if self.kind == "BINARY":
            return f"HEX_ENCODE({name})"
        if self.kind == "VECTOR":
            return f"TO_JSON(CAST(CAST({name} AS ARRAY) AS VARIANT))"
        if self.kind in ("GEOGRAPHY", "GEOMETRY"):
            return f"TO_JSON(CAST(ST_ASGEOJSON({name}) AS VARIANT))"
        if self.kind in _JSON_KINDS:
            return f"TO_JSON(CAST({name} AS VARIANT))"
        return f"TO_VARCHAR({name})"

    @property
    def term(self) -> Term:
        """The column as something to order by: by instant, by binary value; never by a collation."""
        order = self._sql
        if self.kind == "TIMESTAMP_TZ":
            order = f"CONVERT_TIMEZONE('UTC', {order})"
        elif self.collated:
            order = f"COLLATE({order}, 'utf8')"
        select = {"TEXT": order, "FLOAT": order, "BINARY": f"HEX_ENCODE({order})"}.get(
            self.kind, f"TO_VARCHAR({order})"
        )
        bound = {
            "TEXT": "?",
            "BINARY": "TO_BINARY(?, 'HEX')",
            "NUMBER": f"CAST(? AS NUMBER(38, {self.scale}))",
        }.get(self.kind, f"CAST(? AS {self.kind}{'(9)' if self.kind in _TIMES | {'TIME'} else ''})")
        return Term(self.name, select, order, bound, self.nullable, self.kind)


def is_json(column: Column) -> bool:
    """Whether the column holds JSON, so that a JSON null is not SQL NULL."""
    return column.kind in _JSON_KINDS


def to_json(column: Column, value: Any) -> str | None:
    """A fetched value as a piece of JSON text; None leaves the property out."""
    if value is None:
        return None if is_json(column) else "null"
    if column.kind == "NUMBER":
        text = str(value)
        return text if column.scale == 0 and _is_int64(text) else _text(text)
    if column.kind == "FLOAT":
        number = float(value)
        return (
            orjson.dumps(number).decode()
            if math.isfinite(number)
            else _text({1: "inf", -1: "-inf"}.get((number > 0) - (number < 0), "NaN"))
        )
    if column.kind == "BOOLEAN":
        return "true" if value else "false"
    if is_json(column):
        return _verbatim(str(value))
    if column.kind == "TIME":
        match = _CLOCK.fullmatch(str(value))
        fraction = (match[2] or "").rstrip("0") if match else ""
        return _text(f"{match[1]}{'.' + fraction if fraction else ''}" if match else str(value))
    return _text(iso_time(str(value)) if column.kind in _TIMES else str(value))


def _text(value: str) -> str:
    return orjson.dumps(value).decode()


def _is_int64(text: str) -> bool:
    try:
        return -_INT64 <= int(text) < _INT64
    except ValueError:
        return False


def _verbatim(text: str) -> str:
    """JSON as Snowflake wrote it, where it is JSON: an array with `undefined` in it is not."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return _text(text)
    return text


def json_value(text: str) -> Any:
    """A row's JSON as values that lose nothing: a number no 64-bit type holds exactly becomes its text."""
    return json.loads(text, parse_int=_exact_int, parse_float=_exact_float)


def _exact_int(text: str) -> int | str:
    return int(text) if _is_int64(text) else text


def _exact_float(text: str) -> float | str:
    number = float(text)
    if not math.isfinite(number):
        return text
    digits, exponent = _digits(text)
    return number if (digits, exponent) == _digits(repr(number)) else text


def _digits(text: str) -> tuple[str, int]:
    """Significant digits and exponent, to tell whether two ways of writing a number mean the same one."""
    mantissa, _, power = text.lower().lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    exponent = int(power or 0) - len(fraction)
    stripped = digits.rstrip("0")
    return (stripped, exponent + len(digits) - len(stripped)) if stripped else ("", 0)
