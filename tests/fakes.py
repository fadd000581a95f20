"""Small honest stand-ins: an engine that counts brightness, a source that follows a script."""

import io
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deploy.bundle import Bundle, InputRule, Manifest, Training
from deploy.engines import Frames, Maps, check_frames
from models.interval import Bin, IntervalTable
from service.ingest import Ask, Frame, Watch

with warnings.catch_warnings():  # it wants httpx2 by now, and says so at import
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient as TestClient
    from starlette.testclient import WebSocketTestSession as WebSocketTestSession

STRIDE = 8
RULE = InputRule(stride=STRIDE, multiple=16)


def bundle() -> Bundle:
    """A bundle without files; a count of c lies in 0.9 c - 0.5 to 1.2 c + 1."""
    manifest = Manifest(
        schema_version=1,
        name="fake",
        created="2026-01-01T00:00:00+00:00",
        commit="0000000",
        net="fake",
        arguments={},
        parameters=1,
        input=RULE,
        precisions={"fp32": "model.fp32.onnx"},
        files={},
        validation={},
        interval=IntervalTable(
            coverage=0.9, pictures=10, bins=(Bin(up_to=None, below=0.1, above=0.2),)
        ),
        training=Training(data=(), licence="none", steps=0, recipe={}),
    )
    return Bundle(Path("/nowhere"), manifest)


class FakeEngine:
    """People in a cell: the mean of its 8 x 8 pixels over a thousand. `hold` shuts its gate."""

    name, precision = "fake", "fp32"

    def __init__(self, *, lanes: int = 1, batch: int = 1) -> None:
        self.lanes, self.batch = lanes, batch
        self.error: Exception | None = None
        self.over: str | None = None
        self.shapes: list[tuple[int, ...]] = []
        self.at_once = self.most_at_once = 0
        self.closed = False
        self._gate = threading.Event()
        self._gate.set()
        self._pool = ThreadPoolExecutor(lanes + 1, thread_name_prefix="fake engine")

    def hold(self) -> None:
        self._gate.clear()

    def release(self) -> None:
        self._gate.set()

    def submit(self, frames_NHW3: Frames) -> Future[Maps]:
        self.shapes.append(frames_NHW3.shape)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        return self._pool.submit(self._infer, frames_NHW3)

    def close(self) -> None:
        self.release()
        self._pool.shutdown(wait=True)
        self.closed = True

    def _infer(self, frames_NHW3: Frames) -> Maps:
        try:
            self._gate.wait(30)
            if self.error:
                raise self.error
            check_frames(frames_NHW3, RULE)
            return brightness(frames_NHW3)
        finally:
            self.at_once -= 1


def brightness(frames_NHW3: Frames) -> Maps:
    n, height, width, _ = frames_NHW3.shape
    cells = frames_NHW3.reshape(n, height // STRIDE, STRIDE, width // STRIDE, STRIDE, 3)
    means: Maps = (cells.mean(axis=(2, 4, 5)) / 1000).astype(np.float32)
    return means


class FakeSource:
    """An `Open`: each opening plays the next script, frames and errors, the last one for ever."""

    def __init__(self, *openings: Sequence[Frame | Exception]) -> None:
        self._openings = openings
        self.opened = 0

    def __call__(self, ask: Ask, watch: Watch) -> Iterator[Frame]:
        script = self._openings[min(self.opened, len(self._openings) - 1)]
        self.opened += 1
        for one in script:
            if watch.stopped:
                return
            if isinstance(one, Exception):
                raise one
            watch.packet()
            yield one


def frame(grey: int = 100, *, size_hw: tuple[int, int] = (48, 64), age_s: float = 0.0) -> Frame:
    """A chequered frame: FakeEngine counts grey / 1000 people in each of its cells."""
    return Frame(chequered(grey, size_hw), time.monotonic() - age_s, datetime.now(UTC))


def solid(grey: int, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    return np.full((*size_hw, 3), grey, dtype=np.uint8)


def chequered(grey: int, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Of this mean in each of FakeEngine's cells, and a picture of something: no lens cap."""
    contrast = min(40, grey, 255 - grey)
    rows, columns = np.indices(size_hw) // (STRIDE // 2)
    grey_HW = grey + contrast * (1 - 2 * ((rows + columns) % 2))
    return grey_HW[:, :, None].repeat(3, axis=2).astype(np.uint8)


def encoded(image: NDArray[np.uint8] | Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    save: Callable[..., None] = picture.save
    save(buffer, kind, **options)
    return buffer.getvalue()


def video(
    path: Path, frames: Sequence[tuple[float, int]], *, size_hw: tuple[int, int] = (48, 64)
) -> Path:
    """An MP4 file of chequered greys, each shown at its second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width = size_hw
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for time_s, grey in frames:
            picture = av.VideoFrame.from_ndarray(chequered(grey, size_hw), format="rgb24")
            picture.pts, picture.time_base = round(time_s * 1000), Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path
