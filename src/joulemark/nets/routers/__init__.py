"""Routers: which rows go on after a segment, one rule a file."""
