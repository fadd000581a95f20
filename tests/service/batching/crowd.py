"""More cameras and pictures than an engine can count, step by step."""

import time
from collections import Counter, defaultdict, deque
from concurrent.futures import Future
from dataclasses import dataclass, field

from deploy.engines import Frames, Maps
from service.batching import Batcher, Job
from service.pieces import cut
from service.settings import Batching, Priority
from tests.fakes import RULE, FakeEngine, brightness, solid
from tests.service.batching.line import Ends, running, settled


class Stepped(FakeEngine):
    """Counts one batch when the test says so: its speed is the test's."""

    def __init__(self, *, batch: int = 1) -> None:
        super().__init__(batch=batch)
        self.asked: deque[tuple[Frames, Future[Maps]]] = deque()

    def submit(self, frames_NHW3: Frames) -> Future[Maps]:
        self.shapes.append(frames_NHW3.shape)
        self.asked.append((frames_NHW3, Future()))
        return self.asked[-1][1]

    def step(self) -> None:
        frames_NHW3, future = self.asked.popleft()
        future.set_result(brightness(frames_NHW3))

    def release(self) -> None:
        super().release()
        while self.asked:
            self.step()


@dataclass
class Source:
    """A camera that gives a frame every `every` steps."""

    every: float
    priority: Priority = "normal"
    side: int = 16


@dataclass
class Crowd:
    """An engine with more to do than it can, in steps of 50 ms; one batch is counted in each."""

    cameras: dict[str, Source]
    pictures: int = 0  # pieces that are in the line at any time
    batch: int = 1
    told: dict[str, Ends] = field(default_factory=lambda: defaultdict(Ends))
    gaps: Counter[str] = field(default_factory=Counter)  # steps at most from count to count

    async def work(self, steps: int) -> None:
        engine = Stepped(batch=self.batch)
        async with running(engine, Batching(wait_ms=0.001, max_age_s=1000)) as batcher:
            began_s, served = time.monotonic() - 100, dict.fromkeys(self.cameras, 0)
            due = {name: index / 100 for index, name in enumerate(self.cameras)}
            for step in range(steps):
                self._offer(batcher, due, step, began_s)
                before = {name: self.counts(name) for name in self.cameras}
                await settled()
                if engine.asked:
                    engine.step()
                await settled()
                for name in self.cameras:
                    if self.counts(name) > before[name]:
                        served[name] = step
                    self.gaps[name] = max(self.gaps[name], step - served[name])
        self.shapes = engine.shapes

    def counts(self, name: str) -> int:
        return sum(isinstance(one, int) for one in self.told[name].told)

    def _offer(self, batcher: Batcher, due: dict[str, float], step: int, began_s: float) -> None:
        for name, source in self.cameras.items():
            while due[name] <= step:
                piece = cut(solid(20, (source.side, source.side)), RULE).pieces[0]
                since_s = began_s + due[name] * 0.05
                batcher.offer(Job(piece, since_s, name, self.told[name], source.priority))
                due[name] += source.every
        piece = cut(solid(20, (16, 16)), RULE).pieces[0]
        for _ in range(self.pictures - len(batcher._line)):
            batcher.offer(Job(piece, began_s + step * 0.05, None, self.told["pictures"]))
