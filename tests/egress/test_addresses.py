"""Which addresses may be connected to."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.egress.addresses import blocked, carried, table

ROWS = [
    line.split("\t")
    for line in (Path(__file__).parent / "data/addresses.tsv").read_text().splitlines()
    if not line.startswith("#")
]
V4 = st.integers(0, (1 << 32) - 1).map(ipaddress.IPv4Address)
PUBLIC = ipaddress.ip_address("93.184.216.34")


@pytest.mark.parametrize(("text", "verdict"), ROWS, ids=[row[0] for row in ROWS])
def test_the_table_of_addresses(text, verdict):
    """Each address has its verdict, and each refusal says where that is laid down."""
    found = blocked(ipaddress.ip_address(text))
    assert (found.reason if found else "ok") == verdict
    assert found is None or found.source


@pytest.mark.parametrize(("network", "reason", "source"), table(), ids=str)
def test_every_row_blocks_its_two_ends(network, reason, source):
    """The first and the last address of each row are refused, and no row lacks a source."""
    ends = ipaddress.ip_network(network)
    for address in (ends[0], ends[-1]):
        assert blocked(address) is not None
    assert reason
    assert source


@given(V4)
def test_an_address_is_judged_the_same_in_every_form(address):
    """Mapped, translated and tunnelled forms of a refused address are refused."""
    value = int(address)
    forms = [
        ipaddress.IPv6Address(0xFFFF << 32 | value),
        ipaddress.IPv6Address(0x64FF9B << 96 | value),
        ipaddress.IPv6Address(0x2002 << 112 | value << 80 | 1),
    ]
    plain = blocked(address)
    for form in forms:
        assert carried(form) == (address,)
        assert blocked(form) == plain
    for form in (
        ipaddress.IPv6Address(0x20010000 << 96 | value << 64 | 0xF7F7F7F7),
        ipaddress.IPv6Address(0x20010000 << 96 | int(PUBLIC) << 64 | (~value & 0xFFFFFFFF)),
    ):
        assert blocked(form) is not None


@given(st.one_of(V4, st.integers(0, (1 << 128) - 1).map(ipaddress.IPv6Address)))
def test_what_python_calls_private_is_refused(address):
    """Nothing that Python's own registry knows as not global gets past the table.

    But for the relays that the registry of Python calls private and that the table unwraps.
    """
    if not address.is_global and not carried(address):
        assert blocked(address) is not None


@pytest.mark.parametrize("text", ["93.184.216.34", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"])
def test_addresses_of_this_machine_are_refused_in_every_form(text):
    """An address that the caller calls its own is refused, though it is public."""
    address = ipaddress.ip_address(text)
    assert blocked(address) is None
    found = blocked(address, frozenset({PUBLIC}))
    assert found is not None
    assert found.reason == "an address of this machine"
