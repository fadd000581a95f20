"""Where the machine is short of time, every camera's rate shrinks: fairly, visibly, for a while.

The batcher is fair already, but frames that it gives up were decoded and scaled for nothing.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType
from typing import Protocol

from models.errors import Overloaded
from service.settings import Camera, Priority

TICK_S = 1.0
WEIGHTS: dict[Priority, float] = {"low": 0.5, "normal": 1.0, "high": 2.0}
EQUAL: Mapping[str, float] = MappingProxyType({})

ENOUGH = 5  # frames: fewer tell nothing yet, and the next second is added to them
TOLERATED = 0.05  # share of frames given up that is no shortage: cameras are not punctual
SPELLS = 4  # short ones are a shortage; a hiccup of two seconds touches three of them
RELIEF = 0.5  # what a spell without shortage takes back: a machine just over its limit has both
MARGIN = 0.95  # of what was counted in a shortage: a machine that is full to the brim is late
STEP = 1.08  # one raise: twice above the margin is hardly over what the machine can do
CALM_S = 2.0  # without shortage before each raise
PAUSE_S, LONGEST_PAUSE_S = 2.0, 60.0  # after a shortage; doubled by each raise that led to one
FORGET_S = 10.0  # everyone had what was asked for so long: what was learnt of the machine is old
NEWS = 1.05  # a raise that fails this much above the last failure says that more is possible now
FLOOR = 0.05  # of what is asked: some count now and then, whatever happens
ADMIT = 0.9  # shares below this are seen by people; above it may be the swing around a full machine


def fair(
    asked: Mapping[str, float], capacity: float, weights: Mapping[str, float] = EQUAL
) -> dict[str, float]:
    """Max-min fair shares: each gets what it asked, or the level that all others share.

    Nobody can get more without taking it from one who has less. A weight (1 unless given)
    multiplies the level of its camera.
    """
    heights = {name: rate / weights.get(name, 1.0) for name, rate in asked.items()}
    left, weight_left = capacity, sum(weights.get(name, 1.0) for name in asked)
    shares: dict[str, float] = {}
    for name in sorted(heights, key=heights.__getitem__):
        weight = weights.get(name, 1.0)
        shares[name] = min(asked[name], left * weight / weight_left)
        left -= shares[name]
        weight_left -= weight
    return shares


@dataclass(frozen=True)
class Sample:
    """What became of the cameras' frames in some seconds."""

    seconds: float = 0.0
    counted: int = 0
    short: int = 0  # given up because there was no time: replaced, stale, late, busy
    waited_s: float = 0.0  # for the engine: of all counted frames together

    def __add__(self, other: "Sample") -> "Sample":
        return Sample(
            self.seconds + other.seconds,
            self.counted + other.counted,
            self.short + other.short,
            self.waited_s + other.waited_s,
        )

    @property
    def frames(self) -> int:
        return self.counted + self.short

    @property
    def kept(self) -> float:
        """Share of the frames that were counted."""
        return self.counted / self.frames if self.frames else 1.0

    @property
    def wait_s(self) -> float:
        """Of a frame, on average. Its age would not do: some cameras are late without our help."""
        return self.waited_s / self.counted if self.counted else 0.0


@dataclass
class Tally:
    """Counts what a sample needs, by plain additions: this is done for every frame."""

    counted: int = 0
    short: int = 0
    waited_s: float = 0.0
    _late: dict[str, int] = field(default_factory=dict)

    def lost(self, camera: str, why: str, frames: int) -> None:
        """Frames that a reader gave up. Some reasons are not for want of time."""
        if why == "busy":
            self.short += frames
        elif why == "late":
            self._late[camera] = self._late.get(camera, 0) + frames

    def take(self, seconds: float, *, cameras: int) -> Sample:
        """What was counted since the last time, some seconds ago, of so many cameras.

        Late frames say something of the machine only where most cameras have them: one may be far
        away, or too large for one core, and slowing down the others would not help it.
        """
        late = sum(self._late.values()) if 2 * len(self._late) > cameras else 0
        sample = Sample(seconds, self.counted, self.short + late, self.waited_s)
        self.counted, self.short, self.waited_s = 0, 0, 0.0
        self._late.clear()
        return sample


class Pace:
    """How many counts a second the machine can do, learnt from what it did.

    `capacity` is infinite until there is a shortage. Then it falls to what was counted, and rises
    in small steps until all is given that is asked. A step too far is taken back, and the next one
    waits longer: the rates of a machine that is too small rest, and are tried once a minute.
    """

    def __init__(self, *, patience_s: float) -> None:
        """`patience_s`: a mean wait for the engine above this is a shortage without any loss."""
        self.capacity = math.inf
        self._patience_s = patience_s
        self._asked = 0.0
        self._spell = Sample()
        self._recent: deque[Sample] = deque(maxlen=SPELLS)
        self._shortage = 0.0  # in spells
        self._calm_s = 0.0  # since the last short spell or move
        self._rest_s = 0.0  # until the next raise is allowed
        self._pause_s = PAUSE_S
        self._raised = False  # the last move was a raise
        self._failed_at = math.inf  # the level of the last shortage

    @property
    def load(self) -> float:
        """The share of what is asked that is given, in 0..1."""
        return min(1.0, self.capacity / self._asked) if self._asked else 1.0

    def admit(self) -> None:
        """Raises Overloaded where one more camera would only take from the others."""
        if self.load < ADMIT:
            raise Overloaded(
                f"cameras get {self.load:.0%} of the counts that they ask for: "
                "remove some, or lower their rates",
                retry_after_s=max(10, math.ceil(self._rest_s)),
            )

    def feel(self, sample: Sample, *, asked: float) -> None:
        """What became of the last frames, and the counts a second that are asked by now."""
        self._asked = asked
        self.capacity = max(self.capacity, asked * FLOOR)
        self._rest_s -= sample.seconds
        self._spell += sample
        if self._spell.frames < ENOUGH:
            return
        spell, self._spell = self._spell, Sample()
        self._recent.append(spell)
        if 1 - spell.kept > TOLERATED or spell.wait_s > self._patience_s:
            self._shortage += 1
            self._calm_s = 0.0
        else:
            self._shortage = max(0.0, self._shortage - RELIEF)
            self._calm_s += spell.seconds
        self._move()

    def _move(self) -> None:
        if self._shortage >= SPELLS:
            self._shortage = 0.0
            self._lower()
        elif self.capacity == math.inf:
            if self._calm_s >= FORGET_S:
                self._pause_s, self._raised, self._failed_at = PAUSE_S, False, math.inf
        elif self._calm_s >= CALM_S and self._rest_s <= 0:
            self._raise()

    def _lower(self) -> None:
        """To what was done in the best two seconds: a stop tells nothing of the speed."""
        kept = max((one + other).kept for one, other in pairwise(self._recent))
        if not kept or not self._asked:  # a rate of nothing would be for ever
            return
        level = min(self.capacity, self._asked)
        if self._raised:
            known = level <= self._failed_at * NEWS
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S) if known else PAUSE_S
        self._failed_at, self._raised = level, False
        self._rest_s = self._pause_s
        self.capacity = max(level * kept * MARGIN, self._asked * FLOOR)

    def _raise(self) -> None:
        self.capacity *= STEP
        if self.capacity >= self._asked:
            self.capacity = math.inf
        self._raised, self._calm_s = True, 0.0


class Paced(Protocol):
    """The cameras, as far as their rates go. Belongs to the event loop."""

    def asked(self) -> Mapping[str, float]:
        """Counts a second that are asked of each camera that gives frames now."""

    def settings(self, name: str) -> Camera: ...

    def set_rate(self, name: str, rate: float) -> None:
        """Ask for so many counts a second from now on, over reconnects, too; told every second."""


async def keep_pace(
    pace: Pace, cameras: Paced, tally: Tally, *, show: Callable[[float], object]
) -> None:
    """Once a second: feel the machine, share out what it can do, show the load. Until cancelled."""
    felt_s = time.monotonic()
    while True:
        await asyncio.sleep(TICK_S)
        now_s = time.monotonic()
        asked = cameras.asked()
        sample = tally.take(now_s - felt_s, cameras=len(asked))
        pace.feel(sample, asked=sum(asked.values()))
        felt_s = now_s
        weights = {name: WEIGHTS[cameras.settings(name).priority] for name in asked}
        for name, rate in fair(asked, pace.capacity, weights).items():
            cameras.set_rate(name, rate)
        show(pace.load)
