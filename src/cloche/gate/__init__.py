"""The gate: the one way out of a guest, and the journal of all that passes.

Pure: policy, budget, journal and replay decide here; sinks and handlers are in `adapters`.
"""
