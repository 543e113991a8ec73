"""The services: what Flowledger does by itself, without anyone asking."""
