"""What both services stand on: the edge of HTTP, logs, metrics, settings, the life of a process."""
