"""Tests of the pool: who gets what, and what never comes back."""

from __future__ import annotations

import threading

from cloche.engine.adapters.pool import Pool
from engine.adapters.support import guest, machine, run_code


def used(code: str = "globalThis.secret = 42"):
    """Return an instance after a run."""
    instance = guest("javascript")
    run_code(instance, code)
    return instance


def test_what_was_used_comes_back_fresh() -> None:
    """The same instance is given out again, and knows nothing of the run before."""
    pool = Pool(2)
    first = used()
    pool.give_back(first)
    pool.settle()
    second = pool.take(first.image)
    assert second is first
    second.attach(machine())
    assert run_code(second, "console.log(typeof secret)") == "undefined\n"
    pool.close()


def test_an_instance_is_given_out_once() -> None:
    """While one holds it, the next one gets another."""
    pool = Pool(2)
    pool.give_back(first := used())
    pool.settle()
    taken = [pool.take(first.image) for _ in range(3)]
    assert len(set(map(id, taken))) == 3
    pool.close()


def test_what_nobody_made_ready_yet_is_made_so_when_it_is_wanted() -> None:
    """A run that follows at once gets the instance of the one before, fresh."""
    pool = Pool(2, has_thread=False)
    pool.give_back(first := used())
    assert pool.take(first.image) is first
    first.attach(machine())
    assert run_code(first, "console.log(typeof secret)") == "undefined\n"
    pool.close()


def test_what_cannot_be_made_ready_is_closed_behind_the_next_run() -> None:
    """Who asks for an instance gets a new one, and does not wait for the end of the old."""
    pool = Pool(2, has_thread=False)
    grown = used("globalThis.big = new Uint8Array(16 << 20)")
    pool.give_back(grown)
    assert pool.take(grown.image) is not grown
    assert not grown.closed
    pool.tend()
    assert grown.closed
    pool.close()


def test_no_more_than_its_size_wait() -> None:
    """What is too many is closed."""
    pool = Pool(1)
    instances = [used(), used(), used()]
    for instance in instances:
        pool.give_back(instance)
    pool.settle()
    assert [instance.closed for instance in instances] == [False, True, True]
    pool.close()
    assert instances[0].closed


def test_a_pool_of_none_closes() -> None:
    """Size 0 turns it off, and no thread is started."""
    pool = Pool(0)
    pool.give_back(instance := used())
    assert instance.closed
    assert pool._thread is None
    pool.close()


def test_what_was_stopped_or_grew_is_never_given_again() -> None:
    """Only a guest that ended well and kept its size can be made fresh."""
    pool = Pool(4)
    stopped, grown = used(), used("globalThis.big = new Uint8Array(8 << 20)")
    stopped.close()
    pool.give_back(stopped)
    pool.give_back(grown)
    pool.settle()
    assert grown.closed
    assert pool.take(grown.image) not in (stopped, grown)
    pool.close()


def test_a_closed_pool_takes_nothing_back() -> None:
    """After the end everything is closed at once."""
    pool = Pool(2)
    pool.close()
    pool.give_back(instance := used())
    assert instance.closed


def test_many_threads_share_it() -> None:
    """Every run in every thread begins with a fresh instance."""
    pool = Pool(2)
    image = guest("javascript").image
    seen: list[str] = []

    def work() -> None:
        for _ in range(10):
            instance = pool.take(image)
            instance.attach(machine())
            seen.append(run_code(instance, "console.log(typeof mine); globalThis.mine = 1"))
            pool.give_back(instance)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pool.close()
    assert seen == ["undefined\n"] * 40
