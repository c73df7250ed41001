"""Joulemark."""
