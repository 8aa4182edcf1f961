"""Scripts: programs in a model's message that run with tools and approvals.

Nothing is exported from here; see `finder`, `tools`, `policy`, `approvals` and `messages`.
"""
