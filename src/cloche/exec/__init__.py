"""golem:exec: run a program once, streamed, or in a session that lives on."""
