from collections.abc import Callable

import anyio
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from models.errors import EngineError
from service.settings import Batching
from tests.fakes import FakeEngine
from tests.service.batching.line import Ends, job, running, until

pytestmark = pytest.mark.anyio


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("offer"), st.sampled_from(["a", "b", "c", None]), st.sampled_from([0, 9])
        ),
        st.tuples(st.sampled_from(["hold", "release", "fail", "heal", "turn"])),
        st.tuples(st.just("withdraw"), st.sampled_from(["a", "b", "c"])),
    ),
    max_size=60,
)


@given(steps=STEPS, lanes=st.integers(1, 3), batch=st.integers(1, 4))
@hypothesis_settings(max_examples=60)
async def test_every_frame_ends_exactly_once_whatever_happens(
    steps: list[tuple[str, object, int]], lanes: int, batch: int
) -> None:
    engine, ends, offered = FakeEngine(lanes=lanes, batch=batch), Ends(), 0
    async with running(engine, Batching(max_age_s=5, wait_ms=0.1)) as batcher:
        for name, *details in steps:
            if name == "offer":
                camera, age_s = details
                assert camera is None or isinstance(camera, str)
                batcher.offer(job(10, ends, camera, age_s=float(str(age_s))))
                offered += 1
            elif name == "withdraw":
                batcher.withdraw(str(details[0]))
            elif name == "turn":
                await anyio.sleep(0.0005)
            else:
                actions[name](engine)
        engine.release()
        await until(lambda: len(ends.told) == offered)
        assert engine.most_at_once <= lanes
        assert max([shape[0] for shape in engine.shapes], default=1) <= batch


def _fail(engine: FakeEngine) -> None:
    engine.error = EngineError("no")


def _heal(engine: FakeEngine) -> None:
    engine.error = None


actions: dict[str, Callable[[FakeEngine], None]] = {
    "hold": FakeEngine.hold,
    "release": FakeEngine.release,
    "fail": _fail,
    "heal": _heal,
}
