"""Stores: in memory, and in a SQL database."""
