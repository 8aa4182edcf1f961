"""Running: threads, clocks and files around the pure rules of `exec`."""
