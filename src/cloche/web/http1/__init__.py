"""HTTP/1.1 in and out: one parser and one serializer for every adapter. Pure.

Bytes in, events out (`parser`); responses in, bytes out (`serializer`); both at once as pinned
encodings (`one_shot`). The rules are in docs/web/http1-v1.md.
"""
