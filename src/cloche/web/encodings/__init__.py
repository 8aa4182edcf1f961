"""Every form in which the web room crosses a boundary as bytes, and the registry of its errors.

Pure. One module for each group of formats: `headers`, `messages`, `cassette`, `settings`, `slices`,
`data_model`; numbers of errors in `codes`. Decoding is strict and total: a blob is exactly what its
encoder makes, or a `DecodeError` with a number of the registry.
"""
