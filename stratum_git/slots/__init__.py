"""Places to work: slots from a pool, and the leases that say whose they are."""
