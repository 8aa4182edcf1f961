"""Media types by file name. A table of its own: the same on every machine."""

from __future__ import annotations

from typing import Final

DEFAULT: Final = "application/octet-stream"
_UTF_8: Final = "; charset=utf-8"
_TEXT: Final = {
    "css": "text/css",
    "csv": "text/csv",
    "htm": "text/html",
    "html": "text/html",
    "js": "text/javascript",
    "md": "text/markdown",
    "mjs": "text/javascript",
    "txt": "text/plain",
    "vtt": "text/vtt",
}
_OTHER: Final = {
    "aac": "audio/aac",
    "avif": "image/avif",
    "bmp": "image/bmp",
    "flac": "audio/flac",
    "gif": "image/gif",
    "gz": "application/gzip",
    "ico": "image/vnd.microsoft.icon",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "json": "application/json",
    "jsonld": "application/ld+json",
    "m4a": "audio/mp4",
    "map": "application/json",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "ogg": "audio/ogg",
    "otf": "font/otf",
    "pdf": "application/pdf",
    "png": "image/png",
    "svg": "image/svg+xml",
    "tar": "application/x-tar",
    "ttf": "font/ttf",
    "wasm": "application/wasm",
    "wav": "audio/wav",
    "webm": "video/webm",
    "webmanifest": "application/manifest+json",
    "webp": "image/webp",
    "woff": "font/woff",
    "woff2": "font/woff2",
    "xml": "application/xml",
    "zip": "application/zip",
}
_BY_EXTENSION: Final = {**_OTHER, **{name: kind + _UTF_8 for name, kind in _TEXT.items()}}


def media_type_of(name: str) -> str:
    """Return the media type of a file name; bytes without a meaning if its end is not known."""
    _, dot, extension = name.rpartition(".")
    return _BY_EXTENSION.get(extension.lower(), DEFAULT) if dot else DEFAULT
