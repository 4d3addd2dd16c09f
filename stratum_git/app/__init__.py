"""One function per thing a user can ask, for the command line and the servers alike."""
