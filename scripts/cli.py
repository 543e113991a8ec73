"""The command `flowledger`: one function a command; the work itself is done elsewhere."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from api.server import serve as serve_api
from api.version import VERSION
from scripts.archiving import archive, restore
from scripts.benchmarking.command import app as benchmark
from scripts.erasure import erase
from scripts.options import option_for, read_settings
from scripts.rebuilding import rebuild_projections
from scripts.replaying.command import replay_run
from scripts.verification import verify_ledger

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(benchmark, name="benchmark")


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
    database_url: Annotated[str | None, option_for("database_url")] = None,
) -> None:
    """Serve the API until Ctrl-C."""
    url = SecretStr(database_url) if database_url is not None else None
    settings = read_settings(host=host, port=port, data_dir=data_dir, workers=workers, database_url=url)
    raise typer.Exit(serve_api(settings))


@app.command()
def version() -> None:
    """Print the version of Flowledger."""
    print(VERSION)


app.command()(replay_run)
app.command()(verify_ledger)
app.command()(rebuild_projections)
app.command()(archive)
app.command()(restore)
app.command()(erase)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
