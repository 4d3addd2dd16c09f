"""Everything that is asked of git. Synchronous: the dispatcher calls it in threads."""
