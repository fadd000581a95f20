"""Whether a picture shows anything that can be counted: a cheap look at every seventh pixel.

A network counts people in noise as readily as in a crowd, so what it says of a lens cap must not
pass as a count. Real places, night or plain, leave these rules a wide margin: see the tests.
Shapes: H x W pixels, RGB; h x w samples.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Fault = Literal["black", "covered", "overexposed", "frozen"]

STRIDE = 7  # odd, so that samples do not fall in step with textures and with blocks of a codec
SAMPLES = 110  # on the longer side; larger pictures are sampled more coarsely, at the same price

BLACK, WHITE = 16, 235  # mean luma beyond what video calls black and white
STEP = 5.0  # between neighbours: no step is higher where a hand or spray lies on the lens
NOISY_STEP = 8.0  # the same in the dark, where a camera turns up its gain, and in glare
EDGES = 0.05  # share of higher steps that are overlooked: a burnt-in clock, a name
LASTING_S = 0.5  # a flash or one broken picture is no state of a camera


class Guard:
    """Looks at one camera's pictures in their order."""

    def __init__(self, *, frozen_after_s: float = 60.0) -> None:
        self._frozen_after_s = frozen_after_s
        self._sample_hw3: Image | None = None
        self._changed_s = self._wrong_s = 0.0
        self._fault: Fault | None = None
        self.lasting: Fault | None = None
        """What was wrong for at least half a second and still is."""

    def look(self, image_HW3: Image, now_s: float) -> Fault | None:
        """What is wrong with this picture, taken at `now_s` by a monotonic clock."""
        sample_hw3 = _sampled(image_HW3)
        if self._sample_hw3 is None or not np.array_equal(sample_hw3, self._sample_hw3):
            self._sample_hw3, self._changed_s = sample_hw3, now_s
        still_s = now_s - self._changed_s
        fault = _blind(sample_hw3) or ("frozen" if still_s >= self._frozen_after_s else None)
        self._remember(fault, now_s)
        return fault

    def _remember(self, fault: Fault | None, now_s: float) -> None:
        """A lasting fault ends with the first good picture; another one takes over once seen twice.

        What is frozen has lasted long enough.
        """
        if fault is None or self._fault is None:
            self._wrong_s = now_s
        lasts = fault == "frozen" or now_s - self._wrong_s >= LASTING_S
        if fault is None or (lasts and (self.lasting is None or fault == self._fault)):
            self.lasting = fault
        self._fault = fault


def _sampled(image_HW3: Image) -> Image:
    """A copy: it outlives the picture, whose memory may be a reader's."""
    stride = max(STRIDE, max(image_HW3.shape) // SAMPLES | 1)
    return image_HW3[::stride, ::stride].copy()


def _blind(sample_hw3: Image) -> Fault | None:
    """Means of 2 x 2 samples tell steps from noise; a picture of a few samples tells nothing."""
    red_hw, green_hw, blue_hw = sample_hw3.transpose(2, 0, 1).astype(np.int16)
    luma_hw = (38 * red_hw + 75 * green_hw + 15 * blue_hw) >> 7
    height, width = luma_hw.shape[0] // 2, luma_hw.shape[1] // 2
    if min(height, width) < 2:
        return None
    even_hw = luma_hw[: 2 * height, : 2 * width]
    sums_hw = even_hw[::2, ::2] + even_hw[1::2, ::2] + even_hw[::2, 1::2] + even_hw[1::2, 1::2]
    mean = float(luma_hw.mean())
    if mean < BLACK and _flat(sums_hw, NOISY_STEP):
        return "black"
    if mean > WHITE and _flat(sums_hw, NOISY_STEP):
        return "overexposed"
    return "covered" if _flat(sums_hw, STEP) else None


def _flat(sums_hw: NDArray[np.int16], step: float) -> bool:
    """Whether hardly any neighbours differ by `step`."""
    across, down = sums_hw[:, 1:] - sums_hw[:, :-1], sums_hw[1:] - sums_hw[:-1]
    high = np.count_nonzero(abs(across) >= 4 * step) + np.count_nonzero(abs(down) >= 4 * step)
    return bool(high <= EDGES * (across.size + down.size))
