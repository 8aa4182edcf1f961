"""Tests of derived images: what a guest has become is where others begin."""

from __future__ import annotations

import mmap
import os

import pytest

from cloche.engine.adapters.instance import Instance, deadline_after
from cloche.engine.adapters.pool import Pool
from cloche.engine.errors import ImageError
from cloche.engine.snapshot import seal, unseal
from cloche.limits import Limits
from engine.adapters.support import images, machine, run_code

KEY = bytes(32)
PROGRAMS = {
    "javascript": ("var x = 41", "console.log(++x)"),
    "python": ("x = 41", "x += 1\nprint(x)"),
}
FILES = {"/app/a.txt": b"of the image"}


def prepared(language: str, *, seed: int = 1) -> Instance:
    """Return an instance between two turns, in an image with a file of its own."""
    image = images().with_files(images().get(language), FILES)
    instance = Instance(image, machine(seed=seed))
    run_code(instance, PROGRAMS[language][0], persist=True)
    return instance


def begun(image, **options) -> Instance:
    """Return a new instance of an image."""
    return Instance(image, machine(**options))


@pytest.mark.parametrize("language", PROGRAMS)
def test_every_instance_begins_where_the_program_was(language):
    """What one instance changes, the next one does not see."""
    image = images().derive(prepared(language))
    for _ in range(2):
        instance = begun(image)
        assert run_code(instance, PROGRAMS[language][1], persist=True) == "42\n"
        instance.close()


@pytest.mark.parametrize("language", PROGRAMS)
def test_the_same_program_makes_the_same_image(language):
    """Its id depends on what ran, not on when, how often or with which seed."""
    first, second = prepared(language), prepared(language, seed=2)
    assert images().derive(first).id == images().derive(second).id == images().derive(first).id
    run_code(second, PROGRAMS[language][1], persist=True)
    assert images().derive(first).id != images().derive(second).id


@pytest.mark.parametrize("language", PROGRAMS)
def test_a_kept_snapshot_makes_the_same_image(language):
    """Another process needs the snapshot, not the program."""
    instance = prepared(language)
    blob = seal(instance.snapshot(), KEY)
    other = begun(images().with_files(images().get(language), FILES))
    kept = unseal(blob, KEY, limits=Limits())
    other.restore(kept)
    image = images().derive(other, kept=kept)
    assert image.id == images().derive(instance).id
    assert run_code(begun(image), PROGRAMS[language][1], persist=True) == "42\n"


def test_files_that_were_written_are_there_and_are_not_shared():
    """Files belong to the state; each instance has its own."""
    instance = prepared("javascript")
    run_code(instance, "require('fs').writeFileSync('/k', 'kept')", persist=True)
    image = images().derive(instance)
    change = "fs = require('fs'); print(fs.readFileSync('/k', 'utf8')); fs.unlinkSync('/k')"
    for _ in range(2):
        assert run_code(begun(image), change, persist=True) == "kept\n"


def test_the_files_of_the_image_are_read_only_and_not_listed():
    """They can be read by path; they cannot be changed, and `/` does not show them."""
    code = (
        "fs = require('fs'); print(fs.readFileSync('/app/a.txt', 'utf8'), fs.readdirSync('/'))\n"
        "print(fs.readFileSync('/app/../app/a.txt', 'utf8'), fs.readdirSync('/app'))\n"
        "for (const change of ['writeFileSync', 'unlinkSync'])"
        " try { fs[change]('/app/a.txt', '') } catch (e) { print(e.code) }"
    )
    image = images().derive(prepared("javascript"))
    assert run_code(begun(image), code, persist=True) == (
        "of the image []\nof the image [ 'a.txt' ]\nEPERM\nEPERM\n"
    )


def test_going_up_from_the_files_of_the_image():
    """`..` above a mounted folder is the guest's own root."""
    instance = begun(images().with_files(images().get("python"), FILES))
    code = "open('/own', 'w').write('mine')\nprint(open('/app/../own').read())"
    assert run_code(instance, code) == "mine\n"


def test_a_name_of_the_image_is_taken():
    """The standard library of Python lies below /usr."""
    with pytest.raises(ImageError, match="the image has files of its own at /usr"):
        images().with_files(images().get("python"), {"/usr/a": b""})


def test_other_files_are_another_image():
    """Content and paths count."""
    image = images().get("javascript")
    ids = {
        images().with_files(image, files).id
        for files in ({"/a/b": b"1"}, {"/a/b": b"2"}, {"/a/c": b"1"}, {"/a/b": b"1", "/a/c": b""})
    }
    assert len(ids | {image.id}) == 5


def test_time_and_entropy_are_those_of_the_instance():
    """A later instance has a later clock, and what was measured before lies in the past."""
    code = "print(Date.now() >= 3e12, crypto.randomUUID())"
    instance = prepared("javascript")
    clock = instance.machine.clock
    image = images().derive(instance)
    told = set()
    for seed in (1, 2, 1):
        other = begun(image, now_ns=3 * 10**18, seed=seed)
        before = other.machine.clock
        assert before.now_ns == 3 * 10**18
        assert before.now_ns - before.started_ns == clock.now_ns - clock.started_ns
        told.add(run_code(other, code, persist=True))
    assert len(told) == 2
    assert all(text.startswith("true ") for text in told)


def test_a_pool_makes_them_fresh():
    """An instance of a derived image is given out again in the state of that image."""
    pool = Pool(1)
    image = images().derive(prepared("javascript"))
    first = pool.take(image)
    first.attach(machine())
    assert run_code(first, "print(++x)", persist=True) == "42\n"
    pool.give_back(first)
    pool.settle()
    second = pool.take(image)
    second.attach(machine())
    assert second is first
    assert run_code(second, "print(++x)", persist=True) == "42\n"
    pool.close()


def test_a_pool_drops_an_image():
    """What waited of an image that is not used any more is closed."""
    pool = Pool(1)
    image = images().derive(prepared("javascript"))
    instance = pool.take(image)
    instance.attach(machine())
    run_code(instance, "print(++x)", persist=True)
    pool.give_back(instance)
    pool.settle()
    pool.drop(image)
    assert instance.closed
    assert pool.take(image) is not instance
    pool.close()


def test_nobody_can_change_the_memory():
    """Its file is sealed: no write, no shared writable mapping, no other size."""
    image = images().derive(prepared("javascript"))
    descriptor = image.memory.descriptor
    with pytest.raises(PermissionError):
        os.pwrite(descriptor, b"x", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 0)
    with pytest.raises(PermissionError):
        mmap.mmap(descriptor, image.memory.size, flags=mmap.MAP_SHARED)


def test_an_image_that_nobody_has_gives_its_memory_back():
    """Its file is closed with it."""
    image = images().derive(prepared("javascript"))
    descriptor = image.memory.descriptor
    os.fstat(descriptor)
    del image
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


HANDLE = """
x.items.push(x.items.length);
let size = 0;
for (const one of kept) size += one.text.length;
console.log(x.name + x.items.join());
"""


def _written(image) -> int:
    instance = begun(image)
    assert run_code(instance, HANDLE, persist=True) == "a0,1,2\n"
    count = len(instance.written_pages())
    instance.close()
    return count


def test_what_is_sealed_is_what_it_was_and_writes_less():
    """Sealing before the image is made changes no program, and spares pages."""
    source = """
    var x = {name: 'a', items: [0, 1]};
    var kept = [];
    for (let i = 0; i < 2000; i++) {
      kept.push({i, text: 'text ' + i});
      if (i % 3) kept.pop();
    }
    """
    counts = []
    for is_sealed in (False, True):
        instance = Instance(images().get("javascript"), machine())
        run_code(instance, source, persist=True)
        if is_sealed:
            assert instance.seal(deadline_ns=deadline_after(60 * 10**9)) is None
            assert run_code(instance, "console.log(x.name, kept.length)", persist=True) == "a 667\n"
        counts.append(_written(images().derive(instance)))
        instance.close()
    assert counts[1] < counts[0]


def test_sealing_at_the_memory_limit_is_a_stop():
    """A guest without memory for it is stopped, as anywhere else."""
    limits = Limits().replace({"guests": {"memory_limit_bytes": 16 << 20}})
    instance = Instance(images().get("javascript"), machine(limits))
    run_code(instance, "var x = new Uint8Array(2 << 20)", persist=True)
    stop = instance.seal(deadline_ns=deadline_after(60 * 10**9))
    assert stop is not None
    assert (stop.kind, instance.closed) == ("memory", True)
