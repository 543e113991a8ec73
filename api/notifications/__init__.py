"""Notifications: what becomes due by the log, where it may go, and how it gets there."""
