"""golem:exec: run a program once, streamed or not. Sessions are not here yet."""
