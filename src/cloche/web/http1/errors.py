"""What is raised where there is no event to carry it: one-shot parsing, and writing responses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.errors import ClocheError

if TYPE_CHECKING:
    from cloche.web.encodings.codes import Code


class Http1Error(ClocheError):
    """Bytes are no request that is accepted. State: nothing was made of them."""

    code = "HTTP1_REQUEST"
    blame = "remote"

    def __init__(self, *, reason: Code) -> None:
        super().__init__(
            f"HTTP/1.1 request refused: {reason.summary} ({reason.name}, {reason.number}); "
            f"answer {reason.status}",
            number=reason.number,
            name=reason.name,
            status=reason.status,
        )


class Http1ResponseError(ClocheError):
    """A response cannot be written as it is. State: no byte of it was written."""

    code = "HTTP1_RESPONSE"
    blame = "caller"

    def __init__(self, *, reason: Code, problem: str) -> None:
        super().__init__(
            f"HTTP/1.1 response refused: {problem} ({reason.name}, {reason.number})",
            number=reason.number,
            name=reason.name,
            problem=problem,
        )
