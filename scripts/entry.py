"""Where the command `flowledger` begins: it loads the rest, and a Ctrl-C meanwhile is no error."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        from scripts.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)
