"""How scripts reach the world: calls of tools on threads."""
