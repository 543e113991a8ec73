"""Measures a server of the REST dialect under closed-loop load and compares servers in one run."""
