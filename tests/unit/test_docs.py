"""The README and the code say the same: settings, commands, ports, folders."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import SecretStr

from deploy.local.ports import Ports
from models.settings import Settings
from providers import provider_types

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text() if (ROOT / "README.md").exists() else ""
PROVIDERS = (ROOT / "providers" / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


def documented_settings() -> dict[str, tuple[str, str]]:
    """Rows of the README's table `| setting | default | meaning |`."""
    rows = re.findall(r"^\| *`(TIDEMARK_\w+)` *\| *(.*?) *\| *(.*?) *\|$", README, re.MULTILINE)
    return {name: (default, meaning) for name, default, meaning in rows}


def settings_rows() -> dict[str, tuple[str, str]]:
    """What the table has to say."""
    rows = {}
    for name, field in Settings.model_fields.items():
        value = field.default
        shown = value.get_secret_value() if isinstance(value, SecretStr) else value
        default = "–" if shown is None else f"`{str(shown).lower() if isinstance(shown, bool) else shown}`"
        rows[f"TIDEMARK_{name.upper()}"] = (default, field.description or "")
    return rows


def settings_table() -> str:
    """The table as the README should have it: `python -m tests.unit.test_docs` prints it."""
    lines = [f"| `{name}` | {default} | {meaning} |" for name, (default, meaning) in settings_rows().items()]
    return "\n".join(["| setting | default | meaning |", "|---|---|---|", *lines])


def test_readme_has_every_setting_and_no_other() -> None:
    documented, real = documented_settings(), settings_rows()
    assert documented.keys() == real.keys()
    assert {name: row for name, row in documented.items() if row != real[name]} == {}


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, (_, meaning) in settings_rows().items() if not meaning or "|" in meaning] == []


def test_readme_commands_exist_and_all_are_named() -> None:
    public = set(re.findall(r"^(\w+):", MAKEFILE, re.MULTILINE)) - {"bootstrap"}
    named = set(re.findall(r"`(?:\w+=\S+ )*make (\w+)", README)) | set(
        re.findall(r"^ *make (\w+)", README, re.MULTILINE)
    )
    assert named == public == {"up", "down", "test", "check", "demo", "bench"}


def test_readme_names_the_ports_and_their_defaults() -> None:
    defaults = Ports()
    missing = [
        variable
        for field in fields(Ports)
        if not re.search(
            rf"`{(variable := defaults.variable(field.name))}`[^\n]*{getattr(defaults, field.name)}", README
        )
    ]
    assert missing == []


def test_readme_maps_every_folder() -> None:
    packages = sorted(file.parent.name for file in ROOT.glob("*/__init__.py"))
    assert [name for name in packages if f"`{name}/`" not in README] == []


@pytest.mark.parametrize("provider", provider_types())
def test_every_provider_has_a_page_of_its_own(provider: str) -> None:
    page = (ROOT / "docs" / f"{provider}.md").read_text()
    assert f"`provider_type: {provider}`" in page
    sections = re.findall(r"^## (.*)", page, re.MULTILINE)
    for topic in (
        "Credentials with the least rights",
        "Source path",
        "Requests per 1,000",
        "[Ll]imits",
        "deletes and renames",
        "commonest mistakes",
        "Without an account",
    ):
        assert any(re.search(topic, section) for section in sections), topic
    for place, link in ((README, f"docs/{provider}.md"), (PROVIDERS, f"../docs/{provider}.md")):
        assert f"({link})" in place


def test_links_of_the_documentation_lead_somewhere() -> None:
    for file in (ROOT / "README.md", ROOT / "providers" / "README.md", *ROOT.glob("docs/*.md")):
        text = file.read_text()
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
            assert (file.parent / target).exists(), (file.name, target)


if __name__ == "__main__":
    print(settings_table())
