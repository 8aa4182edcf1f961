"""One small file per attack: what a hostile program tries, and how its run ends."""
