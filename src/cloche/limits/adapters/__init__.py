"""Where limits come from: the machine, a file, the environment."""
