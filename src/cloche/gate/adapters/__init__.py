"""Sinks of journals: files and memory."""
