"""WebSocket (RFC 6455) without a socket: the handshake, frames, messages. Pure."""
