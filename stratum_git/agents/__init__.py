"""Who does an attempt, and how their processes are held."""
