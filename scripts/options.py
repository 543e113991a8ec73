"""Options of the command line that take the place of settings, and the settings that come of them."""

import sys
from typing import Any, get_args

import typer
from pydantic import SecretStr, ValidationError

from api.settings import Settings


def option_for(setting: str) -> Any:
    """Make the command-line option that takes the place of a setting, described in the setting's own words.

    Of one that may hold a password it says where that is better given.
    """
    field = Settings.model_fields[setting]
    default = f" Default: {field.default}." if field.default is not None else ""
    note = ""
    if SecretStr in (field.annotation, *get_args(field.annotation)):
        note = f" Other users can see arguments: give a password only in FLOWLEDGER_{setting.upper()}."
    return typer.Option(help=f"{field.description}{default}{note}", show_default=False)


IMPOSSIBLE = 1
"""The exit code of a command that could not do what it was asked."""


def failed(sentence: str) -> typer.Exit:
    """Say on standard error why a command could not be done; give what ends it."""
    print(f"{sentence.rstrip('.')}.", file=sys.stderr)
    return typer.Exit(IMPOSSIBLE)


def read_settings(**options: Any) -> Settings:
    """Read the settings, with the options that were given taking the place of the environment.

    Ends the process with exit code 1 and one line for each setting that is wrong.
    """
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_context=False, include_input=False):
            setting = "_".join(str(part) for part in problem["loc"]).upper()
            print(f"FLOWLEDGER_{setting} cannot be used: {problem['msg']}.", file=sys.stderr)
        raise typer.Exit(IMPOSSIBLE) from None
