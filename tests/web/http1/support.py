"""Feeding a parser, and what comes out in a form that can be compared."""

from __future__ import annotations

from cloche.web.http1.events import Data, End, Reject, RequestHead
from cloche.web.http1.parser import RequestParser


def joined(events):
    """Return events with neighbouring pieces of a body made one: where they end says nothing."""
    found = []
    for event in events:
        if isinstance(event, Data) and found and isinstance(found[-1], Data):
            found[-1] = Data(found[-1].data + event.data)
        else:
            found.append(event)
    return found


def parse(pieces, caps=None, *, end=True, answer=False):
    """Feed pieces to a new parser; return all events. With `answer`, each request is answered."""
    parser = RequestParser(caps)
    events = []
    for piece in pieces:
        events += answered(parser, parser.feed(piece)) if answer else parser.feed(piece)
    if end:
        events += parser.finish()
    return joined(events)


def answered(parser, events):
    """Return events and those that answers to them make, as a server that never waits."""
    found = list(events)
    waiting = list(events)
    while waiting:
        if isinstance(waiting.pop(0), End):
            more = parser.answered()
            found += more
            waiting += more
    return found


def two_ways(raw):
    """Yield every way of cutting bytes in two."""
    for cut in range(1, len(raw)):
        yield raw[:cut], raw[cut:]


def single_bytes(raw):
    """Return the bytes one by one."""
    return [raw[index : index + 1] for index in range(len(raw))]


def requests(events):
    """Return the complete requests of some events as pairs of head and body."""
    found, head, body = [], None, b""
    for event in events:
        if isinstance(event, RequestHead):
            head, body = event, b""
        elif isinstance(event, Data):
            body += event.data
        elif isinstance(event, End):
            found.append((head, body))
    return found


def refusal(events):
    """Return the name of the code that ended the events, or None."""
    if events and isinstance(events[-1], Reject):
        return events[-1].code.name.removeprefix("SPEC_ERR_HTTP1_")
    return None
