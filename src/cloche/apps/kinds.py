"""Words that are on the wire of apps: how grave a line is, and what can be done to an app. Pure."""

from __future__ import annotations

from typing import Final, Literal, get_args

Level = Literal["debug", "info", "warn", "error"]
LEVELS: Final[tuple[Level, ...]] = get_args(Level)

Action = Literal["deploy", "rollback", "canary", "promote", "env", "stop", "start"]
