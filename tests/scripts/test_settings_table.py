"""The README tells the settings as they are."""

from scripts.settings_table import README, with_table


def test_the_settings_table_of_the_readme_is_current() -> None:
    readme = README.read_text()
    assert with_table(readme) == readme, "run python -m scripts.settings_table"
