"""The memory of the program: flows as commits under ``refs/stratum/flows/``."""
