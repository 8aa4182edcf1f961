"""What touches names, sockets, files and clocks for outbound HTTP."""
