"""No provider leaves out a fault of `tests.contract.faults`, and none skips a test."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from providers import provider_types
from tests.contract.faults import ANSWERS, COURSES

CONTRACT = Path(__file__).resolve().parents[1] / "contract"
FILES = {
    "s3": "test_s3_faults.py",
    "tigris": "test_s3_faults.py",
    "google_drive": "test_google_drive_faults.py",
    "sharepoint": "test_sharepoint_faults.py",
    "snowflake": "test_snowflake_faults.py",
}


def faults_of(tree: ast.Module) -> set[str]:
    """The keys of the file's FAULTS."""
    for node in tree.body:
        target = node.target if isinstance(node, ast.AnnAssign) else None
        if isinstance(target, ast.Name) and target.id == "FAULTS":
            assert isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict)
            return {str(key.value) for key in node.value.keys if isinstance(key, ast.Constant)}
    return set()


def test_every_provider_has_a_matrix() -> None:
    assert FILES.keys() == set(provider_types())


@pytest.mark.parametrize("provider", FILES)
def test_every_fault_is_tried(provider: str) -> None:
    tree = ast.parse((CONTRACT / FILES[provider]).read_text())
    assert sorted(set(ANSWERS) - faults_of(tree)) == []
    tests = [node.name for node in tree.body if isinstance(node, ast.AsyncFunctionDef)]
    assert [course for course in COURSES if not any(name.startswith(f"test_{course}") for name in tests)] == []


def test_no_provider_test_is_skipped() -> None:
    files = [file for file in CONTRACT.glob("*.py") if "blob" not in file.name]
    assert [file.name for file in files if "skip(" in file.read_text() or "skipif" in file.read_text()] == []


def test_tigris_is_tried_beside_s3() -> None:
    for name in ("test_s3_faults.py", "test_provider_s3.py"):
        assert '"tigris"' in (CONTRACT / name).read_text()
