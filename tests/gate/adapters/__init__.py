"""Tests of the gate's adapters."""
