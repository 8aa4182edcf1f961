"""The rules of the contract: pure functions from a `Subject` to findings, one file per subject."""
