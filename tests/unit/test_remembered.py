"""What is remembered, for how long, and how much of it."""

from __future__ import annotations

from stores.remembered import Remembered


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_value_is_remembered_until_it_is_too_old() -> None:
    clock = Clock()
    values = Remembered[str](2.0, clock=clock)
    values.put("a", "x")
    clock.now = 2.0
    assert values.get("a") == "x" and values.get("b") is None
    clock.now = 2.1
    assert values.get("a") is None


def test_asking_does_not_make_a_value_young_and_putting_does() -> None:
    clock = Clock()
    values = Remembered[str](2.0, clock=clock)
    values.put("a", "x")
    clock.now = 1.5
    assert values.get("a") == "x"
    values.put("a", "y")
    clock.now = 3.0
    assert values.get("a") == "y"
    clock.now = 3.6
    assert values.get("a") is None


def test_the_oldest_goes_when_there_are_too_many() -> None:
    values = Remembered[int](60.0, most=3)
    for number in range(3):
        values.put(number, number)
    values.put(0, 0)
    values.put(3, 3)
    assert [values.get(number) for number in range(4)] == [0, None, 2, 3]
    values.clear()
    assert values.get(0) is None
