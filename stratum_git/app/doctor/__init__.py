"""Whether all is well: each module looks at one thing, says what it found, and what to do."""
