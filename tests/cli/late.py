"""`cloche`, where no deadline passes before the program has written something."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.clock import StoppedClock

from cloche.cli import main
from cloche.exec.adapters.output import Output

clock = StoppedClock()
write = Output.write


def write_and_start(output, stream, data):
    """Take a piece of output, and let time pass from now on."""
    write(output, stream, data)
    clock.start()


if __name__ == "__main__":
    time.monotonic_ns = clock
    Output.write = write_and_start
    main()
