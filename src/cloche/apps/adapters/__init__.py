"""What connects hosted apps to the world."""
