"""The trio shell around the engine: time, tasks, cancellation."""
