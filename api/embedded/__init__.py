"""The parts of the launcher behind `api.embedded_postgres`, one concern a file."""
