"""A server from Python: the verbs of the local API, answered elsewhere.

    client = Client("http://127.0.0.1:8787", key)
    client.run("print(6 * 7)", language="python").run.stdout
    client.Session.create("python", name="notes").run("total = 40")

`AsyncClient` has the same verbs, awaited. Results and errors are those of `cloche.run` and
`cloche.Session`. What is said on the wire is in `calls`, which is pure.
"""
