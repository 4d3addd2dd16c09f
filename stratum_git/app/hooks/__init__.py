"""What stratum-git answers when the client calls one of its hooks; ``hooks/README.md`` says what is asked."""
