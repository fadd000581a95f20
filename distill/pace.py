"""What a method may change while a run goes on: pure functions of `done`, 0..1 of the run."""

import math


def rising(done: float, *, over: float) -> float:
    """exp(-5 (1 - t)^2) while t goes from 0 to 1 over the first such share of the run, then 1."""
    return math.exp(-5 * (1 - min(1.0, done / over)) ** 2) if over else 1.0


def fading(done: float, *, over: float) -> float:
    """1, then down to 0 in a line over the last such share of the run."""
    return min(1.0, (1 - done) / over)
