"""The table of settings in the README, made from the settings class. `python -m scripts.settings_table` rewrites it."""

from pathlib import Path

from api.settings import Settings

README = Path(__file__).parents[1] / "README.md"
BEGIN = "<!-- settings: made by scripts/settings_table.py, held current by a test -->\n"
END = "<!-- end of settings -->"


def settings_table() -> str:
    """One row a setting: its variable, its default, and what it is for."""
    lines = ["| variable | default | what it is for |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        lines.append(f"| `FLOWLEDGER_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


def with_table(readme: str) -> str:
    """The README with the table as it should be."""
    before, _, rest = readme.partition(BEGIN)
    return before + BEGIN + settings_table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    README.write_text(with_table(README.read_text()))
