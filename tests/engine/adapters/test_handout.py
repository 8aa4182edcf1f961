"""Tests of images that cross to other processes: what is taken in is what was handed out."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from cloche.engine.adapters.handout import hand_out, take_in
from cloche.engine.adapters.instance import Instance
from cloche.engine.errors import ImageError
from engine.adapters.support import images, machine, run_code
from engine.adapters.test_derived import FILES, PROGRAMS, begun, prepared

READ = "print(open('/app/a.txt').read())"


def taken_in(image):
    """Return an image as another process has it: from descriptors of its own."""
    found = hand_out(image)
    before = images().get(found.base, fuel=found.fuel)
    return take_in(
        before, found.image_id, found.memory_bytes, os.dup(found.memory), os.dup(found.content)
    )


@pytest.mark.parametrize("language", PROGRAMS)
def test_same_start(language):
    """Its instances begin where those of the image that was handed out begin."""
    image = images().derive(prepared(language))
    other = taken_in(image)
    assert other.id == image.id
    for each in (image, other, other):
        instance = begun(each)
        assert run_code(instance, PROGRAMS[language][1], persist=True) == "42\n"
        instance.close()


def test_files():
    """The files of the image come along."""
    other = taken_in(images().derive(prepared("python")))
    assert dict(other.files) == FILES
    instance = begun(other)
    assert run_code(instance, READ, persist=True) == "of the image\n"
    instance.close()


def test_made_fresh_again():
    """An instance of it is renewed from the memory that was handed out."""
    other = taken_in(images().derive(prepared("javascript")))
    instance = begun(other)
    run_code(instance, "x = 7", persist=True)
    if instance.renew():
        instance.attach(machine())
        assert run_code(instance, PROGRAMS["javascript"][1], persist=True) == "42\n"
    instance.close()


def test_nothing_is_changed_and_nothing_stays():
    """What is handed out cannot be written, and is closed with what holds it."""
    image = images().derive(prepared("javascript"))
    gc.collect()  # what other tests have left goes now
    before = len(list(Path("/proc/self/fd").iterdir()))
    found = hand_out(image)
    with pytest.raises(PermissionError):
        os.pwrite(found.content, b"x", 0)
    with pytest.raises(PermissionError):
        os.pwrite(found.memory, b"x", 0)
    other = taken_in(image)
    instance = Instance(other, machine())
    instance.close()
    del found, other, instance
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_not_derived():
    """An image of the catalogue is on disk, and is not handed out."""
    with pytest.raises(ImageError, match="was not derived"):
        hand_out(images().get("javascript"))
