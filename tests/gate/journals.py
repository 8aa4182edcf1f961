"""Entries, files of any story, and a strategy for every story that the rules of order allow."""

from __future__ import annotations

from hypothesis import strategies as st

from cloche.gate.entries import (
    Delivered,
    EffectCompleted,
    EffectRefused,
    EffectStarted,
    RunFinished,
    split_inputs,
)
from cloche.gate.journal import Chain, encode_file
from gate.support import ZERO_SHA256, make_inputs, make_limits

LIMITS = make_limits()


def file_of(*entries, limits=LIMITS):
    """Return a journal file of these entries, whatever their order."""
    chain = Chain(limits)
    return encode_file([chain.append(entry) for entry in entries])


def started(**changes):
    """Return the entries of small inputs."""
    return tuple(split_inputs(make_inputs(**changes)))


FINISHED = RunFinished(
    exit_code=0,
    stage="run",
    error=None,
    stdout_sha256=ZERO_SHA256,
    stderr_sha256=ZERO_SHA256,
    files_sha256=ZERO_SHA256,
    clock_ns=0,
    effects={},
    refused=0,
)


def effect(sequence, **changes):
    """Return a started effect."""
    fields = {
        "sequence": sequence,
        "task": "main",
        "ordinal": sequence,
        "kind": "tool",
        "target": "add",
        "args": b"[1]",
    }
    return EffectStarted(**{**fields, **changes})


def completed(sequence, value=b"1", error=None):
    """Return a completed effect."""
    return EffectCompleted(sequence=sequence, value=value, error=error, duration_ns=1)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
args_texts = st.sampled_from([b"null", b"[1,2.0]", b'{"a":"\xc3\xa9","z":1}'])
json_texts = args_texts | st.just(b'{"z":1,"a":2}')
errors = st.sampled_from([b'{"code":"X","message":"m","retryable":true}'])


@st.composite
def journals(draw):
    """Make the entries of a run of any shape that the rules of order allow."""
    entries = list(
        split_inputs(
            make_inputs(
                language=draw(texts),
                args=tuple(draw(st.lists(texts, max_size=3))),
                env=tuple(draw(st.lists(st.tuples(texts, texts), max_size=3))),
                seed=draw(st.integers(0, 2**64 - 1)),
                stdin=draw(st.binary(max_size=20)),
            )
        )
    )
    open_, answered, sequence = [], [], 0
    for step in draw(st.lists(st.sampled_from("srcd"), max_size=12)):
        if step == "s":
            entries.append(effect(sequence, task=draw(texts), args=draw(args_texts)))
            open_.append(sequence)
            sequence += 1
        elif step == "r":
            entries.append(
                EffectRefused(
                    sequence=sequence,
                    task="main",
                    ordinal=0,
                    kind="tool",
                    target=draw(texts),
                    args_sha256=draw(st.sampled_from(["", ZERO_SHA256])),
                    error=draw(errors),
                )
            )
            answered.append(sequence)
            sequence += 1
        elif step == "c" and open_:
            one = open_.pop(draw(st.integers(0, len(open_) - 1)))
            failed = draw(st.booleans())
            value, error = (None, draw(errors)) if failed else (draw(json_texts), None)
            entries.append(completed(one, value, error))
            answered.append(one)
        elif step == "d":
            count = draw(st.integers(0, len(answered)))
            taken, answered = answered[:count], answered[count:]
            entries.append(
                Delivered(sequences=tuple(taken), clock_advance_ns=draw(st.integers(0, 2**63 - 1)))
            )
    if draw(st.booleans()):
        entries.append(FINISHED)
    return tuple(entries)
