"""What connects applications to the world: the deterministic one of cassettes, and real ones."""
