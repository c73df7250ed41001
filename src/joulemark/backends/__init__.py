"""Runtimes that execute a net for real."""
