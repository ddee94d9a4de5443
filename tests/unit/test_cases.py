"""Each hard case has a test named after it, and each test named so belongs to a case."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.cases import CASES, PERMISSIONS

TESTS = Path(__file__).resolve().parents[1]


def named() -> dict[str, list[str]]:
    """Case id -> tests that begin with it; `test_s19_s20_…` belongs to both."""
    found: dict[str, list[str]] = {}
    for file in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (
                ids := re.match(r"test_((?:[sgmw]\d\d_)+)", node.name)
            ):
                for case in ids.group(1).upper().strip("_").split("_"):
                    found.setdefault(case, []).append(f"{file.name}::{node.name}")
    return found


def test_every_case_has_a_test_named_after_it() -> None:
    assert sorted(CASES.keys() - named().keys()) == []


def test_every_test_named_after_a_case_has_one() -> None:
    assert sorted(named().keys() - CASES.keys()) == []


def test_cases_are_told_apart_from_permissions() -> None:
    assert not CASES.keys() & PERMISSIONS.keys()
    assert len(CASES) + len(PERMISSIONS) == 117
