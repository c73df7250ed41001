"""Measuring another program: `joulemark measure`."""
