"""`python -m cloche` is `cloche`."""

from __future__ import annotations

from cloche.cli import main

if __name__ == "__main__":
    main()
