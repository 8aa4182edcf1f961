"""The console: pages of the server for people, at `/console`.

Pages are made on the server; a small script adds live output and keeps pages usable without it.
`charts`, `effects` and `shown` are pure and decide what a page says; `pages` renders; `gate_keeper`
is what every page stands behind; each `views_*` module has the routes of one section.
"""
