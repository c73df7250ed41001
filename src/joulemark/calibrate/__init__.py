"""Calibrating the learned energy model on this machine: measure random layers, fit, judge on nets never seen."""
