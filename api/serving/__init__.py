"""The parts behind `api.server`, one concern a file: addresses, signals, logging, one server, many workers."""
