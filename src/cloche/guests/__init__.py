"""What runs inside the jar: guest sources, read as data and never imported by the host."""
