"""Imports point one way, foreign libraries stay in their layer, files stay short (design.md, "Layout")."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 400

# What each part may import of ours: everything below it, nothing beside or above it.
BELOW: dict[str, set[str]] = {
    "models": set(),
    "stores": {"models"},
    "providers": {"models"},
    "activities": {"models", "stores", "providers"},
    "workflows": {"models", "stores", "providers", "activities"},
    "api": {"models", "stores", "providers", "activities"},
    "worker": {"models", "stores", "providers", "activities", "workflows"},
    "starter": {"models", "stores", "providers", "activities", "api"},
    "deploy": {"models"},
}
# Who alone may import a foreign package (tests and the local stack's readiness checks aside).
ONLY_IN: dict[str, set[str]] = {
    "temporalio": {"activities", "workflows", "api", "worker", "starter"},
    "pymongo": {"stores"},
    "obstore": {"providers", "stores"},
    "boto3": {"providers", "stores"},
    "botocore": {"providers", "stores"},
    "lxml": {"providers"},
}


def python_files() -> list[Path]:
    """Every Python file git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", "*.py"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [ROOT / name for name in sorted(set(listed)) if (ROOT / name).exists()]


def part_of(file: Path) -> str:
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(source: str, package: str = "") -> Iterator[str]:
    """Top-level names that a module imports; a relative import counts as its own package."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield package if node.level else (node.module or "").partition(".")[0]


def violations(part: str, names: set[str]) -> list[str]:
    """What is wrong with these imports in this part."""
    if part == "tests":
        return []
    wrong = [f"imports {name}" for name in names & (BELOW.keys() | {"tests"}) if name not in BELOW[part] | {part}]
    if part != "deploy":
        wrong += [f"imports {name}" for name in names & ONLY_IN.keys() if part not in ONLY_IN[name]]
    return sorted(wrong)


def test_imports_point_one_way() -> None:
    wrong = {
        str(file.relative_to(ROOT)): found
        for file in python_files()
        if (found := violations(part_of(file), set(imported(file.read_text(), part_of(file)))))
    }
    assert not wrong


@pytest.mark.parametrize(
    ("part", "source", "expected"),
    [
        ("providers", "from temporalio import activity", ["imports temporalio"]),
        ("providers", "import stores.database", ["imports stores"]),
        ("models", "def f():\n    import providers", ["imports providers"]),
        ("api", "from workflows.sync import SyncWorkflow", ["imports workflows"]),
        ("activities", "import pymongo", ["imports pymongo"]),
        ("worker", "import deploy.local", ["imports deploy"]),
        ("stores", "from tests import helpers", ["imports tests"]),
        ("workflows", "import activities.contracts\nfrom . import policies\nimport temporalio", []),
    ],
)
def test_a_wrong_import_would_be_found(part: str, source: str, expected: list[str]) -> None:
    assert violations(part, set(imported(source, part))) == expected


def test_every_part_has_a_rule() -> None:
    parts = {part_of(file) for file in python_files()} - {"tests"}
    assert parts <= BELOW.keys(), "give the new part its place in BELOW"


def test_no_file_is_long() -> None:
    lengths = {str(file.relative_to(ROOT)): file.read_text().count("\n") for file in python_files()}
    assert not {name: lines for name, lines in lengths.items() if lines > MAX_LINES}
