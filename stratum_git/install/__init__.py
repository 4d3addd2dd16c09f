"""Puts stratum-git where clients look, and takes it out again: every byte of others stays."""
