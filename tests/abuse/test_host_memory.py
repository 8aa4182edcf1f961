"""Attack: taking the host's memory little by little, each run within its limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from abuse.support import attack
from cloche.exec.api import default_runner

ATTACK_COUNT = 20
GROWTH_LIMIT_BYTES = 48 << 20  # less than one instance at its memory limit
PAGE_BYTES = 4096

ATTACKS = {
    "python": "k = []\nwhile True: k.append(b'x' * (1 << 16))",
    "javascript": "const k = []; for (;;) k.push(new Uint8Array(1 << 16).fill(1))",
}
HOST_SIDE = {
    "python": (
        "import os, sys\nfor i in range(40):\n"
        "    with open(f'/f{i}', 'wb') as f: f.write(b'x' * (1 << 20))\n"
        "while True: sys.stdout.write('x' * 9999); sys.stdout.flush()"
    ),
    "javascript": (
        "const fs = require('fs'); for (let i = 0; i < 20; i++) {\n"
        "  fs.writeFileSync('/f' + i, 'x'.repeat(1 << 20));\n}\n"
        "for (;;) process.stdout.write('x'.repeat(9999))"
    ),
}


def resident_bytes():
    """Return what of this process is in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("attacks", [ATTACKS, HOST_SIDE], ids=["guest memory", "files and output"])
@pytest.mark.parametrize("language", ["python", "javascript"])
def test_twenty_attacks_leave_nothing(attacks, language):
    """After as many attacks as would fill the memory twenty times the process is as before."""
    for _ in range(3):  # allocators keep some for the next time
        attack(attacks[language], language)
    default_runner()._pool.settle()  # what waits for the next run is made beside the last one
    before_bytes = resident_bytes()
    for _ in range(ATTACK_COUNT):
        _, error = attack(attacks[language], language)
        assert error is not None
        assert error.case == "resource-exceeded", error
    default_runner()._pool.settle()
    assert resident_bytes() - before_bytes < GROWTH_LIMIT_BYTES
