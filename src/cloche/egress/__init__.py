"""Outbound HTTP: where a guest may go, and what it may take along and bring back."""
