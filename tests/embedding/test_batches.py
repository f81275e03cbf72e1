"""Reading ahead keeps the order, passes errors on, holds few items, and ends when it is closed."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator

import pytest

from stflow.embedding.batches import ahead


def numbers(count: int, taken: list[int] | None = None) -> Generator[int, None, None]:
    for number in range(count):
        if taken is not None:
            taken.append(number)
        yield number


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "stflow-read"]


def test_all_items_in_order() -> None:
    assert list(ahead(numbers(100), 3)) == list(range(100))
    assert list(ahead(numbers(0), 3)) == []
    assert readers() == []


def test_an_item_that_is_none_is_no_end() -> None:
    def source() -> Generator[int | None, None, None]:
        yield None
        yield 1

    assert list(ahead(source(), 2)) == [None, 1]


def test_what_comes_next_is_read_meanwhile_and_no_more_than_that() -> None:
    taken: list[int] = []
    items = ahead(numbers(100, taken), 2)
    assert next(items) == 0
    for _ in range(100):
        if len(taken) == 4:
            break
        time.sleep(0.02)
    time.sleep(0.1)
    assert taken == [0, 1, 2, 3]  # one in use, two waiting, one about to
    items.close()


def test_an_error_comes_after_the_items_before_it() -> None:
    def source() -> Generator[int, None, None]:
        yield 1
        raise KeyError("here")

    items = ahead(source(), 2)
    assert next(items) == 1
    with pytest.raises(KeyError, match="here"):
        next(items)
    assert readers() == []


def test_closing_early_ends_the_thread_and_closes_the_source() -> None:
    closed = []

    def source() -> Generator[int, None, None]:
        try:
            yield from range(10**9)
        finally:
            closed.append(True)

    items = ahead(source(), 2)
    next(items)
    items.close()
    assert closed == [True]
    assert readers() == []
