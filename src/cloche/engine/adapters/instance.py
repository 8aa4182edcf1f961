"""A live guest: memory mapped from an image, a virtual OS, and turns with a deadline.

Invariants:
- an instance whose guest was stopped, or whose host functions failed, is closed at once: nothing
  more of it is believed;
- a fresh instance shares every page with its image until it writes to it (copy on write).
"""

from __future__ import annotations

import ctypes
import json
import struct
import time
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from cloche.engine.abi import GuestStopped, Report, Stop
from cloche.engine.adapters.mapping import copy_bytes, map_to_write
from cloche.engine.adapters.pagemap import written_pages, written_ranges
from cloche.engine.adapters.stack import Result, run_with_room
from cloche.engine.adapters.wasm import Store
from cloche.engine.descriptors import OpenFile
from cloche.engine.errors import ImageError, InstanceClosedError, SnapshotError
from cloche.engine.pages import PAGE_BYTES
from cloche.engine.vfs import MOUNTED_INODE
from cloche.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloche.engine.adapters.images import Image
    from cloche.engine.adapters.machine import Machine
    from cloche.engine.snapshot import MachineState, Snapshot

DUMP_CHUNK_BYTES: Final = 1 << 16
NEAR_LIMIT_BYTES: Final = 1 << 20  # with less than this left, allocations fail
RENEW_LIMIT_BYTES: Final = 16 << 20  # beyond it a new instance costs less
_COUNT: Final = itemgetter(1)
_DONE: Final = Report(state="done")
_BREAKDOWNS: Final = frozenset({"trap", "protocol"})

Outcome = Report | Stop


class Instance:
    """One guest with its machine.

    Args:
        image: the start state.
        machine: the virtual OS; replaced by `attach` when an instance waited in a pool.
    """

    def __init__(self, image: Image, machine: Machine | None = None) -> None:
        self.image = image
        self._holder = _Holder()
        self._store = Store(image.engine, image.pre, self._holder)
        self._driver = image.driver
        self._exports = self._driver.bind(self._store)
        self.closed = False
        self._running = False
        self._close_wanted = False
        if image.memory is not None:
            self._map(image.memory.descriptor, image.memory.size)
        if machine is not None:
            self.attach(machine)

    def attach(self, machine: Machine) -> None:
        """Give the instance its virtual OS and its memory limit."""
        self.machine = machine
        if self.image.state is not None:
            self._begin_with(self.image.state)
        else:
            if self.image.tree is not None:
                machine.files.mount(self.image.tree)
            for number, node, offset in self.image.open_files:
                machine.descriptors.put(number, OpenFile(node=node, offset=offset))
        self._store.user = machine
        machine.store = self._store
        machine.memory = self._store.memory
        machine.alloc = self._exports[1]
        self.begin_run()

    @property
    def takes_questions(self) -> bool:
        """Whether an app has become its image, and its guest knows `abi.ask_input`."""
        return self.image.state is not None and self._driver.takes_questions

    def _begin_with(self, state: MachineState) -> None:
        """Give a machine what a derived image begins with; its time and entropy stay its own."""
        from cloche.engine.snapshot import (  # noqa: PLC0415
            restore_descriptors,
            restore_files,
        )

        machine = self.machine
        nodes = restore_files(state, machine.files, self.image.tree)
        restore_descriptors(state, machine.descriptors, nodes, self.image.tree)
        clock = machine.clock
        clock.sleep_until(state.clock_now_ns)
        # For the guest, what was measured before it became an image lies in the past.
        clock.started_ns = clock.now_ns - (state.clock_now_ns - state.clock_started_ns)

    def begin_run(self) -> None:
        """Apply the machine's limits, as set for another run of this instance."""
        guests = self.machine.limits.guests
        self._store.cancelled = False
        self._store.set_memory_limit(guests.memory_limit_bytes)
        if self.image.engine.fuel:
            self._store.set_fuel(guests.fuel)

    def _map(self, descriptor: int, size: int) -> None:
        memory = self._store.memory
        memory.grow_to(size)
        try:
            map_to_write(memory.base, descriptor, size)
        except OSError as error:
            raise ImageError(
                f"cannot map the image {self.image.name}: {error.strerror}", image=self.image.name
            ) from error

    def written_pages(self) -> list[int]:
        """Return the numbers of the pages that were written since the image was mapped."""
        memory = self._store.memory
        found = written_pages(memory.base, memory.current_size())
        return [] if found is None else found

    def detach(self) -> None:
        """Let go of the machine of a run that is over, with its files."""
        machine: Machine | None = self.__dict__.pop("machine", None)
        if machine is not None:
            machine.release()
        self._store.user = self._holder

    def renew(self) -> bool:
        """Make a fresh instance of this one: written pages get the image's content back.

        Returns:
            False where that cannot be done or is not worth it: it was stopped, its memory grew, it
            wrote too much, or the kernel does not tell what was written. It is then to be closed.
        """
        kept, memory = self.image.memory, self._store.memory
        if self.closed or kept is None or memory.current_size() != kept.size:
            return False
        ranges = written_ranges(memory.base, kept.size)
        if ranges is None or sum(map(_COUNT, ranges)) * PAGE_BYTES > RENEW_LIMIT_BYTES:
            return False
        for first, count in ranges:
            offset = first * PAGE_BYTES
            copy_bytes(memory.base + offset, kept.base + offset, count * PAGE_BYTES)
        self.detach()
        return True

    def warm(self, sources: list[tuple[str, str]]) -> int:
        """Run the prelude in a raw instance (no deadline: the host wrote it).

        Returns:
            how many bytes of the memory to `dump`.
        """
        return self._guarded(
            lambda: self._driver.warm(self.machine, self._exports, sources), 1 << 62
        )

    def seal(self, *, deadline_ns: int) -> Stop | None:
        """Arrange memory for an image that is to be made of it; what is there now is never freed.

        Returns:
            the stop that ended it, of an instance at its memory limit; it is then closed.

        Raises:
            InstanceClosedError: a stop closed it before.
        """
        self._check_idle()
        try:
            self._guarded(lambda: self._driver.seal(self.machine), deadline_ns)
        except GuestStopped as stopped:
            return self._explained(stopped.stop)
        return None

    def turn(self, body: bytes, *, deadline_ns: int) -> Outcome:
        """Run the guest from one quiescent point to the next.

        Args:
            body: the turn input (see `abi`) that starts or continues it.
            deadline_ns: on the clock of `time.monotonic_ns`.

        Returns:
            the guest's report, or the stop that ended it; the instance is then closed.

        Raises:
            InstanceClosedError: a stop closed it before.
        """
        self._check_idle()
        machine = self.machine
        machine.report = None
        try:
            is_done = self._guarded(
                lambda: self._driver.turn(machine, self._exports, body), deadline_ns
            )
        except GuestStopped as stopped:
            return self._explained(stopped.stop)
        if is_done:
            return _DONE
        if machine.report is None:
            self.close()
            stop = Stop(kind="protocol", message="the guest ended its turn without a report")
            return self._explained(stop)
        return machine.report

    def _explained(self, stop: Stop) -> Stop:
        # Interpreters do not survive every allocation that fails: CPython follows a null pointer
        # now and then. A crash with no memory left is the memory limit, not a fault of anyone.
        limit_bytes = self.machine.limits.guests.memory_limit_bytes
        if stop.kind in _BREAKDOWNS and self.memory_bytes > limit_bytes - NEAR_LIMIT_BYTES:
            return Stop(kind="memory", message=stop.message)
        return stop

    def _check_idle(self) -> None:
        if self._running:
            raise InternalError("this instance is running a turn; only cancel or close it now")
        if self.closed:
            raise InstanceClosedError(
                "this instance is closed; start another from its image or snapshot"
            )

    def _guarded(self, function: Callable[[], Result], deadline_ns: int) -> Result:
        store = self._store
        self._running = True
        entered = done = False
        try:
            store.enter(deadline_ns)
            entered = True
            result = run_with_room(function, store.cancel)
            done = True
            return result
        finally:
            self._running = False  # first: a signal handler may raise in each call
            try:
                if entered:
                    store.leave()
            finally:
                if self._close_wanted or not done:
                    self.close()

    def snapshot(self) -> Snapshot:
        """Take what differs from the image; only between turns.

        Raises:
            InstanceClosedError: nothing is left to take.
        """
        from cloche.engine.snapshot import (  # noqa: PLC0415 - single runs never need it
            MachineState,
            Snapshot,
            capture_descriptors,
            capture_files,
        )

        self._check_idle()
        assert self.image.memory is not None
        memory, machine = self._store.memory, self.machine
        size = memory.current_size()
        pages = self._changed_pages(size)
        content = b"".join(memory.read(page * PAGE_BYTES, PAGE_BYTES) for page in pages)
        descriptors, orphans = capture_descriptors(machine.descriptors)
        return Snapshot(
            image_id=self.image.id,
            memory_bytes=size,
            pages=pages,
            content=content,
            machine=MachineState(
                clock_started_ns=machine.clock.started_ns,
                clock_now_ns=machine.clock.now_ns,
                entropy_seed=machine.entropy.seed,
                entropy_block_count=machine.entropy.block_count,
                next_inode=machine.files.next_inode,
                nodes=capture_files(machine.files) + orphans,
                descriptors=descriptors,
            ),
        )

    def _changed_pages(self, size: int) -> list[int]:
        image_memory = self.image.memory
        assert image_memory is not None
        memory = self._store.memory
        candidates = written_pages(memory.base, size)
        if candidates is None:
            candidates = list(range(size // PAGE_BYTES))
        pages = []
        for page in candidates:
            offset = page * PAGE_BYTES
            if offset < image_memory.size:
                before = ctypes.string_at(image_memory.base + offset, PAGE_BYTES)
            else:
                before = bytes(PAGE_BYTES)
            if memory.read(offset, PAGE_BYTES) != before:
                pages.append(page)
        return pages

    def restore(self, snapshot: Snapshot) -> None:
        """Put a snapshot of the same image into this fresh instance.

        Raises:
            SnapshotError: it belongs to another image or does not fit the limits.
            InstanceClosedError: a stop closed it before.
        """
        from cloche.engine.snapshot import (  # noqa: PLC0415
            restore_descriptors,
            restore_files,
        )

        self._check_idle()
        if snapshot.image_id != self.image.id:
            raise SnapshotError("the snapshot belongs to another image")
        limit = self.machine.limits.guests.memory_limit_bytes
        if snapshot.memory_bytes > limit:
            raise SnapshotError(
                f"the snapshot has {snapshot.memory_bytes} bytes of memory; "
                f"guests.memory_limit_bytes is {limit}"
            )
        memory, machine, state = self._store.memory, self.machine, snapshot.machine
        memory.grow_to(snapshot.memory_bytes)
        view = memoryview(snapshot.content)
        for index, page in enumerate(snapshot.pages):
            piece = view[index * PAGE_BYTES : (index + 1) * PAGE_BYTES]
            memory.write(page * PAGE_BYTES, bytes(piece))
        machine.clock.started_ns = state.clock_started_ns
        machine.clock.now_ns = state.clock_now_ns
        machine.entropy.seed = state.entropy_seed
        machine.entropy.block_count = state.entropy_block_count
        nodes = restore_files(state, machine.files, self.image.tree)
        restore_descriptors(state, machine.descriptors, nodes, self.image.tree)

    def dump(self, path: Path, size: int) -> None:
        """Write `size` bytes of memory to a file, pages of zeros as holes, then what is open.

        A library may keep a file of the image open; the trailer says which, so that every instance
        has it open too. Layout: memory, JSON, length of the JSON (8 bytes), size of the memory (8).
        """
        memory = self._store.memory
        with path.open("wb") as file:
            file.truncate(size)
            for offset in range(0, size, DUMP_CHUNK_BYTES):
                chunk = memory.read(offset, min(DUMP_CHUNK_BYTES, size - offset))
                if chunk.count(0) != len(chunk):
                    file.seek(offset)
                    file.write(chunk)
            kept = [
                (number, opened.node.inode, opened.offset)
                for number, opened in self.machine.descriptors.items()
                if opened.node is not None and opened.node.inode >= MOUNTED_INODE
            ]
            body = json.dumps(kept).encode()
            file.seek(size)
            file.write(body + struct.pack("<QQ", len(body), size))

    def cancel(self) -> None:
        """Stop the running turn within a tick. Callable from any thread."""
        self._store.cancel()

    @property
    def memory_bytes(self) -> int:
        """Size of the guest's memory; it never shrinks, so this is its peak."""
        if self.closed:
            return self._closed_size
        return self._store.memory.current_size()

    def fuel_left(self) -> int:
        """Return the instructions that are left (images with fuel only)."""
        if self.closed:
            return self._closed_fuel
        return self._store.fuel_left()

    def close(self) -> None:
        """Free the memory; a turn that runs is cancelled and frees it. Closing twice is fine."""
        if self._running:
            self._close_wanted = True
            self._store.cancel()
        elif not self.closed:
            self._closed_size = self._store.memory.current_size()
            if self.image.engine.fuel:
                self._closed_fuel = self._store.fuel_left()
            self.closed = True
            self._store.close()
            if hasattr(self, "machine"):
                self.machine.release()


class _Holder:
    """Stands for the machine of an instance that waits in a pool."""


def deadline_after(duration_ns: int) -> int:
    """Return the deadline that lies `duration_ns` ahead."""
    return time.monotonic_ns() + duration_ns
