"""The web room: inbound HTTP as a pure function on pinned bytes, and adapters that make it real.

Arrows inside the room go `web -> http1 -> encodings`. Nothing here opens a socket or reads a clock;
what does is in `adapters`.
"""
