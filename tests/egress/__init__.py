"""Tests of the egress room."""
