"""Runs that make outbound calls: who gets an egress, and what is left of it afterwards."""

from __future__ import annotations

import asyncio

import pytest

import cloche
from cloche.gate.policy import Policy

from .net_support import allowing, net_world

CALL = """
from _cloche import host
try:
    value = host.effect("http.fetch", "GET {origin}", {{"url": "{origin}/x"}})
    print(value["status"], value["body"])
except host.EffectError as error:
    print(error.code)
"""


@pytest.fixture
def net():
    """Return the world of the process's service."""
    with net_world() as world:
        yield world


def program(server):
    """Return a program that calls a server, without any library of the guest."""
    return CALL.format(origin=f"https://a.example.com:{server.port}")


def test_run_with_a_policy(net):
    """A run whose policy allows a host can call it."""
    server = net.server()
    result = cloche.run(program(server), policy=allowing(server))
    assert result.run.stdout == "200 ok\n"
    assert [request.target for request in server.requests] == ["/x"]


def test_run_without_a_policy(net):
    """A run without rules of outbound HTTP reaches nobody, and makes no service."""
    server = net.server()
    assert cloche.run(program(server)).run.stdout == "POLICY_DENIED\n"
    assert cloche.run(program(server), policy=Policy(net=cloche.NetPolicy())).run.stdout == (
        "NET_BLOCKED\n"
    )
    assert server.requests == []


def test_streaming(net):
    """A run whose output is streamed makes calls as any other."""
    server = net.server()

    async def collect():
        events = cloche.run_streaming(program(server), policy=allowing(server))
        return [event async for event in events]

    *chunks, last = asyncio.run(collect())
    assert b"".join(chunk.data for chunk in chunks) == b"200 ok\n"
    assert isinstance(last, cloche.Finished)


def test_session(net):
    """Each run of a session calls by its own policy."""
    server = net.server()
    with cloche.Session.create("python") as session:
        assert session.run(program(server), policy=allowing(server)).run.stdout == "200 ok\n"
        assert session.run(program(server)).run.stdout == "POLICY_DENIED\n"
    assert len(server.requests) == 1
