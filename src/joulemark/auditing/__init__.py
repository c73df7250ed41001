"""Auditing someone's own net: no labels, no training, a few minutes; what this machine would give and what it costs."""
