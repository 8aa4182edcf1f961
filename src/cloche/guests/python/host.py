"""The one host call, and the effects that it carries.

Owns what is pending: futures by the number that the host knows them by.
"""

import json

import _host

EFFECT, SUBMIT, REPORT, WAIT, SEAL, ABANDON = 1, 2, 3, 4, 7, 8

_call = _host.call
_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_encode = _encoder.encode
_decoder = json.JSONDecoder()
decode = _decoder.decode

# What `encode` makes anew for each document, made once; the dictionary finds circles.
_parents = {}
_pieces = json.encoder.c_make_encoder(
    _parents, _encoder.default, json.encoder.encode_basestring, None, ":", ",", False, False, False
)
_scan = _decoder.scan_once
_VALUE = b'{"value":'
_heads = {}  # (kind, target) -> the beginning of the request
_HEAD_COUNT_MAX = 1000


class EffectError(Exception):
    """An effect that was refused or failed.

    Attributes:
        code: stable, to branch on.
        message: for people.
        retryable: whether trying again can help.
        retry_after_ms: when, if known.
    """

    def __init__(self, code, message, retryable=False, retry_after_ms=None):
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retryable = retryable
        self.retry_after_ms = retry_after_ms


EffectError.__module__ = "cloche"


def send(op, document):
    return _call(bytes((op,)) + _encode(document).encode())


def effect(kind, target, args):
    """Ask for an effect and wait for it; return its value or raise EffectError."""
    head = _heads.get((kind, target)) or _head(kind, target)
    try:
        text = "".join(_pieces(args, 0))
    except BaseException:
        _parents.clear()
        raise
    reply = _call(b"%b%b}" % (head, text.encode()))
    if reply.startswith(_VALUE):
        return _scan(reply.decode(), len(_VALUE))[0]
    raise EffectError(**decode(reply.decode())["error"])


def _head(kind, target):
    if len(_heads) >= _HEAD_COUNT_MAX:
        _heads.clear()
    envelope = _encode({"kind": kind, "target": target})
    head = _heads[kind, target] = b'%c%b,"args":' % (EFFECT, envelope[:-1].encode())
    return head


pending = {}
_next_id = 0


def submit(kind, target, args, future):
    """Ask for an effect; `future` gets its value or EffectError later."""
    global _next_id
    _next_id += 1
    send(SUBMIT, {"id": _next_id, "kind": kind, "target": target, "args": args})
    pending[_next_id] = future
    return future


def abandon(number):
    """Give up what `submit` asked for, unless it is complete: the host cancels it."""
    if pending.pop(number, None) is not None:
        send(ABANDON, {"id": number})


def deliver(completions):
    """Hand completions to their futures, in the order given."""
    for completion in completions:
        future = pending.pop(completion["id"], None)
        if future is None or future.done():
            continue
        error = completion.get("error")
        if error is None:
            future.set_result(completion["value"])
        else:
            future.set_exception(EffectError(**error))


def wait(timeout_s):
    """Block until something completes or virtual time has passed."""
    timeout_ns = None if timeout_s is None else max(0, int(timeout_s * 1e9))
    deliver(decode(send(WAIT, {"timeout_ns": timeout_ns}).decode()))
