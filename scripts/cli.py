"""The command `flowledger`: one function a command; the work itself is done elsewhere."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import SecretStr, ValidationError

from api.server import serve as serve_api
from api.settings import Settings
from api.version import VERSION
from scripts.benchmarking.command import app as benchmark

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(benchmark, name="benchmark")


def option_for(setting: str, note: str = "") -> Any:
    """Make the command-line option that takes the place of a setting, described in the setting's own words."""
    field = Settings.model_fields[setting]
    default = f" Default: {field.default}." if field.default is not None else ""
    return typer.Option(help=f"{field.description}{default} {note}".strip(), show_default=False)


SEEN_BY_OTHERS = "Other users can see arguments: give a password only in FLOWLEDGER_DATABASE_URL."


@app.callback()
def describe_settings() -> None:
    """Flowledger keeps the books on workflow runs and speaks the Prefect REST dialect.

    Every option can also be given as an environment variable: FLOWLEDGER_PORT for --port, and so on.
    """


@app.command()
def serve(
    host: Annotated[str | None, option_for("host")] = None,
    port: Annotated[int | None, option_for("port")] = None,
    data_dir: Annotated[Path | None, option_for("data_dir")] = None,
    workers: Annotated[int | None, option_for("workers")] = None,
    database_url: Annotated[str | None, option_for("database_url", SEEN_BY_OTHERS)] = None,
) -> None:
    """Serve the API until Ctrl-C."""
    url = SecretStr(database_url) if database_url is not None else None
    settings = read_settings(host=host, port=port, data_dir=data_dir, workers=workers, database_url=url)
    raise typer.Exit(serve_api(settings))


@app.command()
def version() -> None:
    """Print the version of Flowledger."""
    print(VERSION)


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
        raise typer.Exit(1) from None


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
