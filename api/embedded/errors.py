"""The one way in which the embedded PostgreSQL fails."""

from pathlib import Path


class EmbeddedPostgresFailed(Exception):
    """The embedded PostgreSQL cannot be started, adopted or stopped.

    `data_dir` is the data directory, where it is known; `problem` a clause saying what is wrong; `details` the last
    lines that PostgreSQL itself wrote about it (may be empty).
    """

    def __init__(self, problem: str, data_dir: Path | None = None, details: str = "") -> None:
        self.problem = problem
        self.data_dir = data_dir
        self.details = details
        place = f" in {data_dir}" if data_dir is not None else ""
        said = f" (PostgreSQL said: {details})" if details else ""
        super().__init__(f"The embedded PostgreSQL{place} cannot be used: {problem}{said}.")
