"""Ways to come to the files of a slot, from the quickest to the one that always works."""
