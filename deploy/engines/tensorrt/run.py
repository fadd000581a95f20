"""A loaded plan as an engine: each lane is a thread that owns a `Gpu` and a `Lane`.

One thread more owns the plan: it holds the GPU from before the plan is loaded until after it is
freed, for the primary context ends with its last hold, and all in it.
A GPU without memory gets fewer lanes, or half the batch, once. A context that failed is replaced.
A sticky CUDA error ends the engine: every later batch is refused with it, and readiness shows it.
Shapes: N frames, H x W pixels, h x w cells.
"""

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field

import numpy as np

from deploy.bundle import InputRule
from deploy.engines import Frames, Maps, check_frames
from deploy.engines.tensorrt.cuda import Gpu, Lost, OutOfMemory, plain
from deploy.engines.tensorrt.lane import Choice, Lane, NoContext, Plan
from models.errors import EngineError

log = logging.getLogger(__name__)

OpenGpu = Callable[[], Gpu]


@dataclass
class _Job:
    """A batch somebody waits for; it may take several runs."""

    frames_NHW3: Frames
    future: Future[Maps]
    taken: int = 0
    maps: list[Maps] = field(default_factory=list)

    def add(self, maps: Maps) -> None:
        self.maps.append(maps)
        if sum(map(len, self.maps)) == len(self.frames_NHW3) and not self.future.done():
            self.future.set_result(np.concatenate(self.maps) if len(self.maps) > 1 else maps)

    def fail(self, error: EngineError) -> None:
        with suppress(InvalidStateError):  # who waited has gone, or knows already
            self.future.set_exception(plain(error))


class TensorRTEngine:
    """Raises PlanRefused for a plan that does not run here, EngineError for all else.

    `lanes` may be fewer than asked: each reserves memory for the largest size of the plan.
    """

    name = "tensorrt"
    batch = 8

    def __init__(
        self, content: bytes, *, rule: InputRule, precision: str, lanes: int, open_gpu: OpenGpu
    ) -> None:
        self.precision = precision
        self._rule = rule
        self._open_gpu = open_gpu
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._state = threading.Lock()
        self._over: EngineError | None = None  # why nothing may be submitted any more
        self._threads: list[threading.Thread] = []
        self._plan: Plan | None = None
        self._hold = ExitStack()  # of the GPU, by the owner
        self._owner: ThreadPoolExecutor | None = ThreadPoolExecutor(1, "tensorrt-plan")
        try:
            refused = self._owner.submit(self._load, content).result()
            if refused is not None:
                raise refused
            self._start(lanes)
        except EngineError:
            self.close()
            raise
        self.lanes = len(self._threads)

    def _load(self, content: bytes) -> EngineError | None:
        """In the owner's thread, as `_unload`. Why there is no plan, without the frames that held
        one.
        """
        try:
            self._hold.enter_context(self._open_gpu())
            self._plan = Plan.load(content)
        except EngineError as error:
            return plain(error)
        return None

    def _unload(self) -> None:
        self._plan = None
        self._hold.close()

    def _start(self, lanes: int) -> None:
        """One after the other, until the GPU has no room: then those before must do."""
        for number in range(lanes):
            started: Future[None] = Future()
            name = f"tensorrt-{number}"
            thread = threading.Thread(target=self._live, args=(started,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
            try:
                started.result()
            except OutOfMemory as error:
                if number == 0:
                    raise
                self._threads.pop().join()
                log.warning("%s: going on with %d of %d lanes", error, number, lanes)
                return

    @property
    def over(self) -> str | None:
        return str(self._over) if self._over else None

    def submit(self, frames_NHW3: Frames) -> Future[Maps]:
        job = _Job(frames_NHW3, Future())
        with self._state:
            if self._over is None:
                self._jobs.put(job)
            else:
                job.fail(self._over)
        return job.future

    def close(self) -> None:
        with self._state:
            self._over = self._over or EngineError("this engine was closed")
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        if self._owner is not None:
            with self._owner as owner:
                owner.submit(self._unload).result()
            self._owner = None

    def _live(self, started: Future[None]) -> None:
        """One lane's thread. However it ends, nobody is left waiting."""
        why = EngineError("a TensorRT lane stopped: see the log, and restart the process")
        worker: _Worker | None = None
        try:
            with self._open_gpu() as gpu:
                assert self._plan is not None
                with closing(Lane(gpu, self._plan)) as lane:
                    worker = _Worker(lane, self._jobs, self._rule)
                    started.set_result(None)
                    worker.serve()
        except EngineError as error:
            why = plain(error)
            if worker is not None:
                log.error("%s", why)  # noqa: TRY400  # one line says it all
        finally:
            if worker is None:
                started.set_exception(why)
            elif not worker.ended:
                self._die(why, [*worker.pending, *([worker.taking] if worker.taking else ())])

    def _die(self, why: EngineError, under_way: Sequence[_Job]) -> None:
        with self._state:
            self._over = self._over or why
            left = _drained(self._jobs)
        for job in (*left, *under_way):
            job.fail(why)
        for _ in self._threads:
            self._jobs.put(None)  # the other lanes end too; close() may have put theirs before


class _Worker:
    """Takes jobs in turn and keeps the lane's ring full."""

    def __init__(self, lane: Lane, jobs: "queue.SimpleQueue[_Job | None]", rule: InputRule) -> None:
        self.pending: deque[_Job] = deque()  # one for each run under way, the oldest first
        self.taking: _Job | None = None
        self.ended = False
        self._lane = lane
        self._jobs = jobs
        self._rule = rule
        self._most_pixels: int | None = None  # in one run, once the GPU had no room for more

    def serve(self) -> None:
        """Until None comes, and what was before it is done. Raises where the lane is lost."""
        while True:
            try:
                self.taking = self._jobs.get(block=not self.pending)
            except queue.Empty:
                self._finish()
                continue
            if self.taking is None:
                break
            if self.taking.future.set_running_or_notify_cancel():
                self._take(self.taking)
            self.taking = None  # nor are its frames kept while nothing comes
        self._finish_all()
        self.ended = True

    def _take(self, job: _Job) -> None:
        try:
            check_frames(job.frames_NHW3, self._rule)
            self._at_once(job)
        except EngineError as error:
            job.fail(error)
            return
        failed = None
        try:
            self._start_or_halve(job)
        except OutOfMemory as error:
            job.fail(error)
        except (Lost, NoContext):
            raise  # nobody hears of it before the engine is over
        except EngineError as error:
            failed = plain(error)
        if failed is not None:  # by now the old context is free: two may not fit
            job.fail(failed)
            self._recover(failed)

    def _start_or_halve(self, job: _Job) -> None:
        try:
            self._start(job)
        except OutOfMemory as error:
            number = self._at_once(job).number // 2
            if number < 1:
                raise
            _, height, width, _ = job.frames_NHW3.shape
            self._most_pixels = number * height * width
            log.warning("%s: from now on %d frames of this size at a time", error, number)
            self._start(job)

    def _at_once(self, job: _Job) -> Choice:
        """The profile for what is left of a job, and how much of it fits."""
        number, height, width, _ = job.frames_NHW3.shape
        choice = self._lane.plan.choose(max(1, number - job.taken), height, width)
        if self._most_pixels is None:
            return choice
        room = max(1, self._most_pixels // (height * width))
        return choice._replace(number=min(choice.number, room))

    def _start(self, job: _Job) -> None:
        while job.taken < len(job.frames_NHW3):
            choice = self._at_once(job)
            some_NHW3 = job.frames_NHW3[job.taken : job.taken + choice.number]
            while not self._lane.takes(some_NHW3.shape):
                self._finish()
            if job.future.done():
                return  # an earlier run of it failed
            self._lane.start(some_NHW3, choice.profile)
            self.pending.append(job)
            job.taken += choice.number

    def _finish(self) -> None:
        """Give out the oldest run's maps; where it failed, all that is under way fails."""
        try:
            maps = self._lane.finish()
        except Lost:
            raise
        except EngineError as error:
            self._recover(error)
        else:
            self.pending.popleft().add(maps)

    def _finish_all(self) -> None:
        while self.pending:
            self._finish()

    def _recover(self, error: EngineError) -> None:
        """A new context: all that was under way in the old one fails. Raises where none is made."""
        while self.pending:
            self.pending.popleft().fail(error)
        try:
            self._lane.renew()
        except OutOfMemory as none:  # fewer frames at a time would not help
            raise NoContext(str(none)) from none
        log.warning("%s: the lane goes on with a new context", error)


def _drained(jobs: "queue.SimpleQueue[_Job | None]") -> list[_Job]:
    found: list[_Job] = []
    while True:
        try:
            job = jobs.get_nowait()
        except queue.Empty:
            return found
        if job is not None:
            found.append(job)
