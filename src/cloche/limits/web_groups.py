"""The limits of inbound HTTP."""

from __future__ import annotations

from cloche.limits.fields import GIB, KIB, MIB, Group, limit


class WebLimits(Group):
    """Inbound HTTP: one message, one connection, one server."""

    request_line_limit_bytes: int = limit(
        8 * KIB, "bytes", 256, 64 * KIB, label="Request Line", description="Method, target, version"
    )
    field_line_limit_bytes: int = limit(
        8 * KIB, "bytes", 256, 64 * KIB, label="Field Line", description="One header field"
    )
    head_limit_bytes: int = limit(
        32 * KIB, "bytes", 512, MIB, label="Head", description="Request line and all header fields"
    )
    field_count_max: int = limit(
        100, "count", 1, 10_000, label="Fields", description="Header fields of a request"
    )
    body_limit_bytes: int = limit(
        MIB, "bytes", 0, 64 * GIB, label="Body", description="Body of a request"
    )
    chunk_line_limit_bytes: int = limit(
        320, "bytes", 32, 8 * KIB, label="Chunk Line", description="Size and extensions of a chunk"
    )
    chunk_overhead_limit_bytes: int = limit(
        64 * KIB,
        "bytes",
        0,
        GIB,
        label="Chunk Overhead",
        description="Framing of a body's chunks beyond an eighth of the data in each",
    )
    trailer_limit_bytes: int = limit(
        4 * KIB, "bytes", 2, MIB, label="Trailers", description="Fields behind a chunked body"
    )
    trailer_count_max: int = limit(
        16, "count", 0, 1000, label="Trailer Count", description="Fields behind a chunked body"
    )
    pipelining_depth_max: int = limit(
        16,
        "count",
        1,
        1000,
        label="Pipelining",
        description="Requests of a connection that wait for their responses",
    )
    websocket_message_limit_bytes: int = limit(
        MIB, "bytes", 125, GIB, label="Message", description="WebSocket message, decompressed"
    )
    websocket_fragment_count_max: int = limit(
        4096, "count", 1, 1_000_000, label="Fragments", description="Frames of a WebSocket message"
    )
    websocket_ping_ms: int = limit(
        20_000,
        "ms",
        10,
        86_400_000,
        label="Ping",
        description="Silence before a WebSocket is asked",
    )
    websocket_pong_timeout_ms: int = limit(
        20_000, "ms", 10, 86_400_000, label="Pong", description="Wait for any sign of life after it"
    )
    websocket_close_timeout_ms: int = limit(
        5000, "ms", 10, 600_000, label="Close", description="Wait for the other side's close"
    )
    handshake_timeout_ms: int = limit(
        5000, "ms", 10, 600_000, label="Handshake", description="TLS, and what a proxy says before"
    )
    head_timeout_ms: int = limit(
        10_000, "ms", 10, 600_000, label="Head Time", description="Head, from its first byte"
    )
    idle_timeout_ms: int = limit(
        15_000, "ms", 10, 86_400_000, label="Idle", description="Connection without a request"
    )
    body_grace_ms: int = limit(
        5000, "ms", 10, 600_000, label="Body Grace", description="Waiting before the rate counts"
    )
    transfer_rate_min_bytes: int = limit(
        240,
        "bytes",
        0,
        GIB,
        label="Transfer Rate",
        description="What a client must send or take in each second it is waited for; 0 is any",
    )
    handler_timeout_ms: int = limit(
        30_000,
        "ms",
        10,
        86_400_000,
        label="Handler",
        description="Until a response begins, without the waiting for the body",
    )
    write_stall_timeout_ms: int = limit(
        30_000, "ms", 10, 86_400_000, label="Write Stall", description="Client that does not read"
    )
    linger_timeout_ms: int = limit(
        2000,
        "ms",
        10,
        600_000,
        label="Linger",
        description="Reading on behind the last response, so that it arrives",
    )
    drain_timeout_ms: int = limit(
        10_000, "ms", 0, 3_600_000, label="Drain", description="Open requests when a server stops"
    )
    stream_window_bytes: int = limit(
        64 * KIB,
        "bytes",
        KIB,
        GIB,
        label="Window",
        description="Bytes of a body or of messages that wait for the handler or for the client",
    )
    discard_limit_bytes: int = limit(
        256 * KIB,
        "bytes",
        0,
        GIB,
        label="Discard",
        description="Rest of a body that nobody reads, before the connection is given up",
    )
    connection_count_max: int = limit(
        1000,
        "count",
        1,
        1_000_000,
        label="Connections",
        description="Open connections of a process",
    )
    address_connection_count_max: int = limit(
        0,
        "count",
        0,
        1_000_000,
        label="Address Connections",
        description="Open connections of one client address; 0 is any",
    )
    connection_request_count_max: int = limit(
        1000, "count", 1, 1_000_000_000, label="Requests", description="Requests of one connection"
    )
    worker_count_max: int = limit(
        64, "count", 1, 1024, label="Workers", description="Processes of one server"
    )
    worker_restart_ms: int = limit(
        1000, "ms", 10, 600_000, label="Restart", description="Least time between two restarts"
    )
