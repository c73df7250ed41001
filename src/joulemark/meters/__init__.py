"""Meters: read energy counters of the hardware and turn two readings into joules, or say why not."""
