"""The tests of cloche."""
