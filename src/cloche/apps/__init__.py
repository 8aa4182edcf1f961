"""Hosted apps: deploy them, serve their requests, keep what they store."""
