"""The rules: pure functions. No clock, no disk, no processes, no randomness."""
