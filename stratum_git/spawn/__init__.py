"""Holds what was started: tethers, and a small process beside this one that starts them quickly."""
