"""Metrics, one file each: what is kept of a net's outputs, its value, and the bound of what was lost."""
