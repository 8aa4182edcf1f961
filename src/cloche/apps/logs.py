"""What apps say: told at once to who listens, kept in the store for a while.

Owns the logs of all apps of a process. Invariants:
- a line that is written is seen at once by who listens, and kept in the store with the next
  `flush`; a process that is killed loses at most what was written since;
- of each app the newest `apps.log_line_count_max` lines are kept, in blocks, oldest gone first,
  never more than `storage.max_log_rows`;
- what an app that was removed still says is not kept: another app may have its name by then;
- a program cannot forge a line: text is one field of a record.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

import msgspec

from cloche.apps.kinds import LEVELS, Level
from cloche.store.errors import StoreChangedError
from cloche.store.rows import Document

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloche.apps.routing import AppName
    from cloche.limits import Limits
    from cloche.store.ports import Store

_KIND: Final = "apps.logs."
_BLOCK_LINE_COUNT: Final = 200
_BLOCK_COUNT_MAX: Final = 500  # of which most may be nearly empty, after as many restarts
_TIME_DIGITS: Final = 20
_PAGE: Final = 1000
NS_PER_MS: Final = 1_000_000


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line.

    Args:
        at_ms: milliseconds of the Unix epoch.
        level: how grave it is.
        message: as the app wrote it, cut to `apps.log_line_limit_bytes`.
        fields: what else it gave, plain JSON.
        request: the id of the request, job or firing that wrote it.
        version: of the app.
    """

    at_ms: int
    level: Level
    message: str
    fields: dict[str, Any] = {}
    request: str = ""
    version: str = ""


class _Block:
    """Some lines that are kept together; their text only while more may be added."""

    __slots__ = ("count", "lines", "name", "revision")

    def __init__(self, name: str, count: int) -> None:
        self.name = name
        self.count = count
        self.lines: list[LogLine] = []
        self.revision = 0


class Life:
    """Of an app, from its first deployment until it is removed; who writes for it holds it."""

    __slots__ = ("__weakref__", "is_over")

    def __init__(self) -> None:
        self.is_over = False


Listener = tuple["AppName", "Callable[[LogLine], None]"]


class AppLogs:
    """The logs of all apps of one process.

    Args:
        store: where they are kept.
        limits: the groups `apps` and `storage`.
        now_ns: the wall clock.
    """

    def __init__(self, store: Store, limits: Limits, *, now_ns: Callable[[], int]) -> None:
        self._documents = store.documents
        self._limits = limits.apps
        self._line_count_max = min(limits.apps.log_line_count_max, limits.storage.max_log_rows)
        self._now_ns = now_ns
        self._lock = threading.Lock()
        self._keeping = threading.Lock()  # held while the store is changed; taken before the other
        self._lives: WeakValueDictionary[AppName, Life] = WeakValueDictionary()
        self._unkept: dict[AppName, list[LogLine]] = {}
        self._listeners: list[Listener] = []
        self._blocks: dict[AppName, list[_Block]] = {}
        self._last_name = 0

    @property
    def line_limit_bytes(self) -> int:
        """How long a line may be."""
        return self._limits.log_line_limit_bytes

    def life(self, app: AppName) -> Life:
        """Return the life of what has this name now, for `write`."""
        with self._lock:
            life = self._lives.get(app)
            if life is None:
                life = self._lives[app] = Life()
            return life

    def write(self, app: AppName, line: LogLine, life: Life | None = None) -> None:
        """Add a line, unless its life is over. From any thread; never waits for the store."""
        with self._lock:
            if life is not None and life.is_over:
                return
            unkept = self._unkept.setdefault(app, [])
            if len(unkept) < self._line_count_max:
                unkept.append(line)
            listeners = [tell for name, tell in self._listeners if name == app]
        for tell in listeners:
            tell(line)

    def listen(self, app: AppName, tell: Callable[[LogLine], None]) -> Callable[[], None]:
        """Tell each new line of an app to a function, which must not block; return how to stop."""
        listener = (app, tell)
        with self._lock:
            self._listeners.append(listener)

        def stop() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return stop

    def flush(self) -> None:
        """Keep what was written since the last time. Call it every second or so.

        Raises:
            StoreError: it cannot be kept now; it is tried again with the next call.
        """
        with self._keeping:
            self._flush()

    def _flush(self) -> None:
        with self._lock:
            unkept, self._unkept = self._unkept, {}
        while unkept:
            app, lines = next(iter(unkept.items()))
            try:
                while lines:
                    self._keep(app, lines[:_BLOCK_LINE_COUNT])
                    del lines[:_BLOCK_LINE_COUNT]
            except BaseException:
                with self._lock:
                    for name, rest in unkept.items():
                        self._unkept[name] = [*rest, *self._unkept.get(name, [])][
                            -self._line_count_max :
                        ]
                raise
            del unkept[app]
            self._prune(app)

    def _keep(self, app: AppName, lines: list[LogLine]) -> None:
        """Keep lines in the block that is being filled, and in a new one when it is full."""
        blocks = self._blocks.get(app)
        if blocks is None:
            kept = self._documents.list(f"{_KIND}{app}", limit=_PAGE)
            blocks = self._blocks[app] = [_Block(each.name, len(_lines_of(each))) for each in kept]
        last = blocks[-1] if blocks and blocks[-1].lines else None
        if last is None or last.count + len(lines) > _BLOCK_LINE_COUNT:
            # Names are in the order of time, and differ.
            self._last_name = max(self._last_name + 1, self._now_ns())
            last = _Block(f"{self._last_name:0{_TIME_DIGITS}}", 0)
            blocks.append(last)
        document = Document(
            kind=f"{_KIND}{app}",
            name=last.name,
            data=msgspec.json.encode([*last.lines, *lines]),
            revision=last.revision + 1,
        )
        try:
            self._documents.put(document)
        except StoreChangedError:
            # Another process has written a block of this very name.
            last.lines = []
            self._keep(app, lines)
            return
        last.lines += lines
        last.count, last.revision = len(last.lines), last.revision + 1
        for full in blocks[:-1]:
            full.lines = []

    def _prune(self, app: AppName) -> None:
        """Forget the oldest blocks that are too many."""
        blocks = self._blocks.get(app, [])
        count = sum(block.count for block in blocks)
        while len(blocks) > 1 and (
            count - blocks[0].count >= self._line_count_max or len(blocks) > _BLOCK_COUNT_MAX
        ):
            oldest = blocks.pop(0)
            count -= oldest.count
            self._documents.remove(f"{_KIND}{app}", oldest.name)

    def read(
        self,
        app: AppName,
        *,
        level: Level = "debug",
        request: str = "",
        after_ms: int = -1,
        limit: int = 100,
    ) -> list[LogLine]:
        """Return the newest lines that fit, oldest first.

        Args:
            app: whose.
            level: the least grave that is wanted.
            request: of the requests alone whose id begins so.
            after_ms: written behind this time.
            limit: how many at most.
        """
        least = LEVELS.index(level)
        kept = self._documents.list(f"{_KIND}{app}", limit=_PAGE)
        lines = [line for block in kept for line in _lines_of(block)]
        with self._lock:
            lines += self._unkept.get(app, [])
        found = [
            line
            for line in lines
            if LEVELS.index(line.level) >= least
            and line.at_ms > after_ms
            and line.request.startswith(request)
        ]
        return found[-limit:]

    def remove(self, app: AppName) -> None:
        """Forget all lines of an app, and what is still said for it."""
        with self._keeping:
            self._end(app)
            for block in self._documents.list(f"{_KIND}{app}", limit=_PAGE):
                self._documents.remove(block.kind, block.name)

    def end(self, app: AppName) -> None:
        """Forget what is not kept of an app that another one has taken the place of."""
        with self._keeping:
            self._end(app)

    def _end(self, app: AppName) -> None:
        with self._lock:
            life = self._lives.pop(app, None)
            if life is not None:
                life.is_over = True
            self._unkept.pop(app, None)
            self._blocks.pop(app, None)


class RequestLog:
    """The log of one request (a `LogSink`), and of what its run prints.

    Args:
        logs: of all apps.
        app: whose it is.
        request: its id.
        version: of the app.
        now_ns: the wall clock.
        life: of the app; what has its name now when None.
    """

    def __init__(
        self,
        logs: AppLogs,
        app: AppName,
        *,
        request: str,
        version: str,
        now_ns: Callable[[], int],
        life: Life | None = None,
    ) -> None:
        self._life = logs.life(app) if life is None else life
        self._logs = logs
        self._app = app
        self._request = request
        self._version = version
        self._now_ns = now_ns
        self._open: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}

    @property
    def is_over(self) -> bool:
        """Whether the app was removed, so that nothing is kept any more."""
        return self._life.is_over

    def log(self, level: str, message: str, fields: Mapping[str, Any]) -> None:
        """See `LogSink`."""
        known: Level = next((each for each in LEVELS if each == level), "info")
        line = LogLine(
            at_ms=self._now_ns() // NS_PER_MS,
            level=known,
            message=message[: self._logs.line_limit_bytes],
            fields=dict(fields),
            request=self._request,
            version=self._version,
        )
        self._logs.write(self._app, line, self._life)

    def printed(self, stream: str, data: bytes) -> None:
        """Take what the run prints: whole lines become lines of the log."""
        first, *others = data.split(b"\n")
        rest = self._open[stream]
        # What is beyond the limit is not shown, and so not held.
        rest += first[: max(0, self._logs.line_limit_bytes - len(rest))]
        for line in others:
            self._print(stream, bytes(rest))
            rest[:] = line[: self._logs.line_limit_bytes]

    def close(self) -> None:
        """Write what was printed without an end of line."""
        for stream, rest in self._open.items():
            if rest:
                self._print(stream, bytes(rest))
            rest.clear()

    def _print(self, stream: str, line: bytes) -> None:
        limit = self._logs.line_limit_bytes
        text = line[:limit].decode(errors="replace")
        self.log("error" if stream == "stderr" else "info", text, {})


def _lines_of(block: Document) -> list[LogLine]:
    return msgspec.json.decode(block.data, type=list[LogLine])
