"""The plaza: a drawn scene whose true count is known. numpy and OpenCV only.

Shapes: H x W pixels, P head points, M walkers. The ground is in metres: X to the right, Z away
from the camera, Y up. Colours are RGB. Everything follows from a seed; nothing keeps state.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.scene._backdrop import Camera, Mood, backdrop, paving
from models.scene._crowd import Crowd
from models.scene._figure import Look, Pen, draw_arm, draw_head, draw_legs, draw_torso
from models.scene._world import FADE_M, LOOKS, Floats, Picture, Rng


@dataclass(frozen=True)
class Drawn:
    """A frame and the heads that can be seen in it."""

    image_HW3: Picture
    points_P2: NDArray[np.float32]

    @property
    def count(self) -> int:
        return len(self.points_P2)


def _palette(rng: Rng) -> Floats:
    """Clothes of this plaza: mostly muted, a few bright."""
    muted = rng.uniform(40, 190, (9, 1)) + rng.uniform(-14, 14, (9, 3))
    bright = np.array(
        [(176, 52, 48), (50, 88, 150), (214, 170, 66), (66, 120, 84), (222, 220, 212)]
    )
    return np.vstack([muted, bright[rng.permutation(5)[: int(rng.integers(2, 6))]]])


def _finish(image: Picture) -> Picture:
    """The lens: a slight vignette."""
    h, w = image.shape[:2]
    y, x = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
    return np.asarray(image * (1 - 0.16 * ((x**2 + y**2) / 2) ** 1.3)[..., None], np.uint8)


def _hidden(heads_P2: Floats, foot_P: Floats, scale_P: Floats, z_P: Floats) -> NDArray[np.bool_]:
    """Heads of which more than 60 % lies behind nearer heads and bodies, by nine probes each."""
    ring = np.array([(0, 0)] + [(np.cos(a), np.sin(a)) for a in np.arange(8) * np.pi / 4])
    probes = heads_P2[:, None] + ring * (0.085 * scale_P)[:, None, None]
    d = probes[:, :, None] - heads_P2
    near = (z_P[None] < z_P[:, None] - 1e-6)[:, None]
    head = (d[..., 0] / 0.1) ** 2 + (d[..., 1] / 0.12) ** 2 < scale_P**2
    body = (
        (np.abs(d[..., 0]) < 0.2 * scale_P)
        & (d[..., 1] > 0.14 * scale_P)
        & (probes[:, :, None, 1] < foot_P)
    )
    return np.asarray(((head | body) & near).any(axis=2).mean(axis=1) > 0.6, np.bool_)


class Plaza:
    """A camera over a plaza. A seed is a place, a time of day and a crowd; `at` is a pure function.

    `people` is the typical number in view; the true one drifts about it over minutes. A head that
    nearer people hide by more than 60 % is not counted.
    """

    def __init__(
        self, *, seed: int = 0, size_hw: tuple[int, int] = (720, 1280), people: int = 90
    ) -> None:
        rng = np.random.default_rng((seed, 7))
        self.seed, self.size_hw = seed, size_hw
        self.camera = Camera.roll(rng, size_hw)
        self.mood = Mood.roll(rng)
        tint = np.array(self.mood.tint)
        self.haze = np.array(self.mood.sky[1]) * 0.85
        ground = paving(rng, self.camera, self.mood)
        self.backdrop = _finish(backdrop(rng, ground, self.camera, self.mood))
        rng = np.random.default_rng((seed, 9))  # no draw above may change the people
        palette = _palette(rng)
        self.looks = [Look.roll(rng, palette, tint) for _ in range(LOOKS)]
        self.crowd = Crowd(np.random.default_rng((seed, 8)), self.camera, people)
        h, w = size_hw
        spread = rng.uniform(1.5, 5)
        grain = rng.normal(128, spread, (h + 64, w + 64, 3)) + rng.normal(
            0, spread, (h + 64, w + 64, 1)
        )
        self.grain = (
            cv2.GaussianBlur(grain.astype(np.float32), (3, 3), 0.5).round().astype(np.uint8)
        )
        self.wave = rng.uniform(0, 2 * np.pi, 2)

    def at(self, time_s: float) -> Drawn:
        """`time_s` may be any time, in any order."""
        now = self.crowd.at(time_s)
        tall = np.array([self.looks[i].tall_m for i in now["look"]])
        x, z = now["place"].T
        u, v, _ = self.camera.project(x, 0.0, z)
        head_u, head_v, head_scale = self.camera.project(x, 0.93 * tall, z)
        cloud = 0.5 + 0.5 * np.sin(time_s / 19 + self.wave[0]) * np.sin(time_s / 47 + self.wave[1])
        image = self._shadows(x, z, tall, self.mood.sun * (1 - 0.5 * cloud))
        for i in np.argsort(-z):
            if -60 < u[i] < self.size_hw[1] + 60 and head_v[i] < self.size_hw[0] + 20:
                upright = (v[i] - head_v[i]) / (0.93 * tall[i])
                lean = (head_u[i] - u[i]) / (0.93 * tall[i])
                pen = Pen((u[i], v[i]), (head_scale[i], upright), lean, tall[i])
                self._person(image, pen, now, int(i))
        heads = np.stack([head_u, head_v], 1)
        inside = ((heads >= 0) & (heads < (self.size_hw[1], self.size_hw[0]))).all(axis=1)
        seen = inside & ~_hidden(heads, v, head_scale, z) & (z < self.camera.far_m - FADE_M / 2)
        return Drawn(self._exposed(image, cloud, time_s), heads[seen].astype(np.float32))

    def _shadows(self, x: Floats, z: Floats, tall: Floats, strength: float) -> Any:
        """The empty plaza with everybody's shadow on it."""
        h, w = self.size_hw
        mask = np.zeros((h // 2, w // 2), np.uint8)
        sx, sz = self.mood.shadow
        norm = np.hypot(sx, sz)
        ax, az = sz / norm, -sx / norm
        outline = [(0.0, 0.13), (0.5, 0.2), (0.8, 0.22), (0.88, 0.08), (0.95, 0.11), (1.0, 0.05)]
        outline = outline + [(a, -b) for a, b in reversed(outline)]
        at = [(x + a * tall * sx + b * ax, z + a * tall * sz + b * az) for a, b in outline]
        dots = [self.camera.project(px, 0.0, np.maximum(pz, 1.0))[:2] for px, pz in at]
        polygons = (
            np.round(np.array(dots).transpose(2, 0, 1) * 8).clip(-30000, 30000).astype(np.int32)
        )
        for polygon in polygons:
            cv2.fillPoly(mask, [polygon], int(255 * strength), cv2.LINE_AA, 4)
        u, v, scale = self.camera.project(x, 0.0, z)
        soft = np.zeros_like(mask)
        for i in range(len(x)):
            axes = (max(8, int(scale[i] * 2.4)), max(8, int(scale[i] * 0.9)))
            at_i = (int(np.clip(u[i] * 8, -30000, 30000)), int(np.clip(v[i] * 8, -30000, 30000)))
            cv2.ellipse(soft, at_i, axes, 0, 0, 360, 90, -1, cv2.LINE_AA, 4)
        light = cv2.bitwise_not(cv2.blur(cv2.max(mask, soft), (3, 3)))
        light = cv2.resize(light, (w, h), interpolation=cv2.INTER_LINEAR)
        return cv2.multiply(self.backdrop, cv2.cvtColor(light, cv2.COLOR_GRAY2RGB), scale=1 / 255)

    def _person(self, image: Any, pen: Pen, now: dict[str, Any], i: int) -> None:
        look = self.looks[int(now["look"][i])]
        z, heading = float(now["place"][i, 1]), float(now["heading"][i])
        way = (float(np.sin(heading)), float(np.cos(heading)))
        mist = 0.32 * min(1.0, z / self.camera.far_m) ** 2
        dye = (look.dye * (1 - mist) + self.haze * mist).clip(0, 255).tolist()
        swing = float(np.sin(2 * np.pi * now["stride"][i]) * now["gait"][i])
        draw_legs(pen, look, dye, swing * 0.42, way)
        draw_arm(pen, look, dye, -1, swing, way)
        draw_torso(pen, look, dye, way)
        draw_arm(pen, look, dye, 1, -swing, way)
        draw_head(pen, look, dye, way)
        rgb, alpha = pen.shaded(-float(np.sign(self.mood.azimuth)) * (0.25 + 0.7 * self.mood.sun))
        h, w = alpha.shape
        y0, x0 = max(pen.top, 0), max(pen.left, 0)
        y1, x1 = min(pen.top + h, image.shape[0]), min(pen.left + w, image.shape[1])
        if y1 <= y0 or x1 <= x0:
            return
        cut = np.s_[y0 - pen.top : y1 - pen.top, x0 - pen.left : x1 - pen.left]
        fade = float(np.clip((self.camera.far_m - z) / FADE_M, 0, 1))
        clear = cv2.cvtColor(
            cv2.convertScaleAbs(alpha[cut], alpha=-fade, beta=255), cv2.COLOR_GRAY2RGB
        )
        under = cv2.multiply(image[y0:y1, x0:x1], clear, scale=1 / 255)
        image[y0:y1, x0:x1] = cv2.addWeighted(under, 1, rgb[cut], fade, 0)

    def _exposed(self, image: Any, cloud: float, time_s: float) -> Picture:
        """Light of the moment, the lens's blur, the sensor's noise."""
        h, w = self.size_hw
        image = cv2.GaussianBlur(image, (3, 3), 0.5)
        curve = np.arange(256) * (1.08 - 0.14 * cloud)
        image = cv2.LUT(image, curve.clip(0, 255).round().astype(np.uint8))
        rng = np.random.default_rng((self.seed, round(time_s * 1000) & 0xFFFFFFFF))
        y, x = (int(n) for n in rng.integers(0, 64, 2))
        noisy = cv2.addWeighted(image, 1, self.grain[y : y + h, x : x + w], 1, -128)
        return np.asarray(noisy, np.uint8)
