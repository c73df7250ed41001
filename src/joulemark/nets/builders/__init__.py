"""Builders: functions that build a network from options, one network a file."""
