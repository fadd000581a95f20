"""The plaza without people: camera, light, paving, buildings, trees."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.scene._world import HEAD_M, Floats, Picture, Rng


@dataclass(frozen=True)
class Camera:
    """A pinhole above the plaza, looking down. `far_m` is where the buildings stand."""

    size_hw: tuple[int, int]
    focal_px: float
    pitch: float
    height_m: float
    near_m: float
    far_m: float

    @classmethod
    def roll(cls, rng: Rng, size_hw: tuple[int, int]) -> "Camera":
        h, w = size_hw
        focal = rng.uniform(0.85, 1.15) * max(w, h * 1.4)
        pitch = np.radians(rng.uniform(7, 23))
        deep = HEAD_M * focal / (rng.uniform(15, 17.5) * h / 720)
        height = deep * (h / 2 / focal * np.cos(pitch) + np.sin(pitch))
        near = deep * (np.cos(pitch) - h / 2 / focal * np.sin(pitch))
        far = HEAD_M * focal / (rng.uniform(4, 5) * h / 720)
        return cls(size_hw, float(focal), float(pitch), float(height), float(near), float(far))

    def project(self, x: Any, y: Any, z: Any) -> tuple[Any, Any, Any]:
        """Metres to pixels: (u, v) and the scale there in pixels per metre."""
        h, w = self.size_hw
        sin, cos = np.sin(self.pitch), np.cos(self.pitch)
        scale = self.focal_px / np.maximum(z * cos + (self.height_m - y) * sin, 0.5)
        return w / 2 + scale * x, h / 2 + scale * ((self.height_m - y) * cos - z * sin), scale

    def ground(self) -> tuple[Floats, Floats, Floats]:
        """(X, Z) of the ground under every pixel, and the pixel's length along Z, all H x W."""
        h, w = self.size_hw
        sin, cos = np.sin(self.pitch), np.cos(self.pitch)
        v, u = np.mgrid[0:h, 0:w].astype(np.float64)
        a = (v - h / 2) / self.focal_px
        reach = self.height_m / np.maximum(a * cos + sin, 0.01)
        footprint = reach**2 / (self.height_m * self.focal_px)
        return (u - w / 2) / self.focal_px * reach, reach * (cos - a * sin), footprint

    def half_width_m(self, z: Any) -> Any:
        """Half of what the picture shows at depth z."""
        sin, cos = np.sin(self.pitch), np.cos(self.pitch)
        return self.size_hw[1] / 2 * (z * cos + self.height_m * sin) / self.focal_px


@dataclass(frozen=True)
class Mood:
    """Time of day: colours of the light, and where it comes from."""

    tint: tuple[float, float, float]
    sky: tuple[tuple[int, int, int], tuple[int, int, int]]
    sun: float
    slope: float
    azimuth: float
    lamps: bool = False

    @classmethod
    def roll(cls, rng: Rng) -> "Mood":
        side = rng.choice([-1, 1])
        azimuth = side * rng.uniform(0.5, 1.3)
        moods = [
            ((1.0, 0.98, 0.94), ((88, 142, 205), (196, 216, 230)), 0.52, rng.uniform(0.5, 1.0)),
            ((1.04, 0.93, 0.80), ((106, 146, 190), (244, 214, 172)), 0.5, rng.uniform(1.3, 2.0)),
            ((0.90, 0.92, 0.95), ((150, 160, 172), (206, 210, 214)), 0.16, rng.uniform(0.4, 0.8)),
            ((0.97, 0.97, 0.96), ((112, 158, 212), (220, 226, 228)), 0.45, rng.uniform(0.8, 1.4)),
            ((0.60, 0.62, 0.80), ((44, 58, 104), (198, 142, 128)), 0.10, rng.uniform(0.5, 0.8)),
        ]
        kind = int(rng.choice(5, p=[0.28, 0.22, 0.2, 0.2, 0.1]))
        tint, sky, sun, slope = moods[kind]
        return cls(tint, sky, sun, float(slope), float(azimuth), kind == 4)

    @property
    def shadow(self) -> tuple[float, float]:
        """Where the shadow of one metre of height ends, (X, Z) from its foot."""
        return self.slope * float(np.sin(self.azimuth)), self.slope * float(np.cos(self.azimuth))


def _hash(i: Floats, j: Floats) -> Floats:
    return np.modf(np.abs(np.sin(i * 12.9898 + j * 78.233) * 43758.5453))[0]


def _joint(a: Floats, width: float, foot: Floats) -> Floats:
    """How much of a pixel `foot` long is covered by joints `width` wide, one per unit of `a`."""
    d = np.abs(a - np.round(a))
    foot = np.clip(foot, 1e-4, 1.0)
    low, high = np.maximum(d - foot / 2, -width / 2), np.minimum(d + foot / 2, width / 2)
    return np.clip((high - low) / foot, 0, 1)


def _clouds(rng: Rng, hw: tuple[int, int], octaves: tuple[int, ...]) -> NDArray[np.float32]:
    """Smooth noise about 0, of spread 1; octaves are cells across the width."""
    h, w = hw
    total = np.zeros(hw, np.float32)
    for cells in octaves:
        grid = rng.standard_normal((max(2, cells * h // w + 2), cells + 2)).astype(np.float32)
        total += cv2.resize(grid, (w, h), interpolation=cv2.INTER_CUBIC) / np.sqrt(cells)
    return np.asarray(total / (total.std() + 1e-6), np.float32)


def paving(rng: Rng, camera: Camera, mood: Mood) -> NDArray[np.float32]:
    x, z, foot = camera.ground()
    pick = int(rng.choice(4, p=[0.3, 0.28, 0.27, 0.15]))
    around = 44 if pick == 3 else 10**6
    turn = rng.choice([0.0, np.pi / 4, rng.uniform(-0.3, 0.3)])
    if pick == 3:  # rings about a point of the plaza
        mid = camera.near_m + 0.35 * (camera.far_m - camera.near_m)
        dx, dz = x - rng.uniform(-4, 4), z - mid
        b = np.hypot(dx, dz)
        a = np.arctan2(dx, dz) * around / (2 * np.pi)
    else:
        a, b = x * np.cos(turn) + z * np.sin(turn), z * np.cos(turn) - x * np.sin(turn)
    size_a, size_b = rng.uniform(0.7, 1.7), rng.uniform(0.6, 1.5)
    a, b = a / (1 if pick == 3 else size_a), b / size_b
    row = np.round(b)
    a = a + (row % 2) * rng.choice([0.0, 0.5])
    joint = np.maximum(_joint(a + 0.5, 0.05, foot / size_a), _joint(b + 0.5, 0.05, foot / size_b))
    seen = np.clip(1.4 - foot / size_b, 0, 1)
    tone = (_hash(np.round(a) % around, row) - 0.5) * seen * rng.uniform(0.06, 0.22)
    if pick in (1, 3):  # bands
        tone = tone - rng.uniform(0.12, 0.26) * _joint(row / 6, 0.16, foot / size_b / 6)
    elif pick == 2:  # chequers
        tone = tone + (((np.round(a) // 3 + row // 3) % 2) - 0.5) * seen * rng.uniform(0.1, 0.2)
    stains = _clouds(rng, (512, 512), (6, 14, 40, 120))
    u, v = (np.abs((a * 6 + 300) % 1022 - 511).astype(np.float32) for a in (x, z))
    stain = cv2.remap(stains, u, v, cv2.INTER_LINEAR)
    grain = rng.standard_normal(x.shape) * 0.025
    stones = [(168, 160, 148), (150, 150, 152), (178, 158, 136), (158, 128, 110), (138, 142, 140)]
    colour = np.array(stones[int(rng.integers(5))]) * rng.uniform(0.85, 1.1) * np.array(mood.tint)
    level = 1 + tone - joint * 0.28 * (1 - 0.5 * (foot > size_b)) + stain * 0.045 + grain
    level *= 0.93 + 0.12 * mood.sun * np.clip(z / camera.far_m, 0, 1)
    return np.asarray(level[..., None] * colour, np.float32)


def _shift(*points: tuple[Any, Any]) -> NDArray[np.int32]:
    return np.round(np.array(points, np.float64) * 16).astype(np.int32)


def _fill(image: Any, points: NDArray[np.int32], colour: Any) -> None:
    cv2.fillPoly(image, [points], colour, cv2.LINE_AA, 4)


def _tree(rng: Rng, image: Any, foot: tuple[float, float], px_m: float, mood: Mood) -> None:
    u, v = foot
    high = rng.uniform(5, 9) * px_m
    side = -np.sign(mood.shadow[0])
    bark = np.array((74, 60, 48)) * mood.tint
    _fill(image, _shift((u - 0.16 * px_m, v), (u + 0.16 * px_m, v), (u, v - high * 0.7)), bark)
    leaf = np.array((rng.uniform(64, 104), rng.uniform(88, 112), rng.uniform(48, 66))) * mood.tint
    for i in range(420):
        r, a = np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        dx, dy = r * np.cos(a) * high * 0.36, r * np.sin(a) * high * 0.34
        lit = 0.62 + 0.34 * (side * dx - dy) / (high * 0.4) + rng.uniform(-0.14, 0.14) + i / 1700
        at = _shift((u + dx, v - high * 0.66 + dy))[0]
        size = round(rng.uniform(0.14, 0.42) * px_m * 16)
        cv2.circle(image, at.tolist(), size, (leaf * max(lit, 0.3)).tolist(), -1, cv2.LINE_AA, 4)


def _building(
    rng: Rng, image: Any, box: tuple[float, float, float, float], px_m: float, mood: Mood
) -> None:
    """`box` is left, right, base and top in pixels."""
    left, right, base, top = box
    walls = [(188, 170, 146), (166, 150, 140), (198, 190, 176), (150, 108, 90), (136, 142, 150)]
    wall = np.array(walls[int(rng.integers(5))]) * rng.uniform(0.8, 1.05) * mood.tint
    _fill(image, _shift((left, base), (left, top), (right, top), (right, base)), wall.tolist())
    roof = _shift((left, top), (right, top), (right, top + 0.5 * px_m), (left, top + 0.5 * px_m))
    _fill(image, roof, (wall * 0.72).tolist())
    floor, bay = rng.uniform(3.0, 3.8) * px_m, rng.uniform(2.0, 3.4) * px_m
    bays = max(1, int((right - left) / bay))
    bay = (right - left) / bays
    glass = np.array((64, 76, 92)) * mood.tint
    for level in range(1, max(2, int((base - top) / floor))):
        for i in range(bays):
            x, y = left + (i + 0.5) * bay, base - (level + 0.45) * floor
            if y - 0.4 * floor < top + 0.4 * px_m:
                continue
            lit = mood.lamps and rng.random() < 0.4
            pane = (244, 208, 140) if lit else (glass * rng.uniform(0.7, 1.5)).tolist()
            dx, dy = bay * 0.24, floor * 0.28
            _fill(
                image,
                _shift((x - dx, y - dy), (x + dx, y - dy), (x + dx, y + dy), (x - dx, y + dy)),
                pane,
            )
    awning = (
        np.array(rng.choice([(150, 60, 52), (58, 92, 84), (196, 176, 140), (60, 72, 104)]))
    ) * mood.tint
    for i in range(bays):
        x, dx = left + (i + 0.5) * bay, bay * 0.36
        y = base - 2.6 * px_m
        inside = (236, 200, 140) if mood.lamps else (glass * rng.uniform(0.5, 0.9)).tolist()
        _fill(image, _shift((x - dx, base), (x - dx, y), (x + dx, y), (x + dx, base)), inside)
        if rng.random() < 0.6:
            y2 = y + 0.7 * px_m
            _fill(
                image,
                _shift((x - dx, y), (x + dx, y), (x + dx * 1.15, y2), (x - dx * 1.15, y2)),
                awning.tolist(),
            )


def _lamp(image: Any, foot: tuple[float, float], px_m: float, mood: Mood) -> None:
    u, v = foot
    iron = (np.array((46, 48, 50)) * mood.tint).tolist()
    pole = [(-0.14, 0), (-0.06, 0.8), (-0.05, 4.2), (0.05, 4.2), (0.06, 0.8), (0.14, 0)]
    _fill(image, _shift(*((u + x * px_m, v - y * px_m) for x, y in pole)), iron)
    lantern = [(-0.13, 4.2), (-0.22, 4.75), (0.22, 4.75), (0.13, 4.2)]
    glow = (255, 232, 176) if mood.lamps else (206, 204, 190)
    _fill(image, _shift(*((u + x * px_m, v - y * px_m) for x, y in lantern)), glow)
    if mood.lamps:
        halo = image.copy()
        cv2.circle(
            halo, (round(u), round(v - 4.5 * px_m)), round(1.1 * px_m), glow, -1, cv2.LINE_AA
        )
        cv2.addWeighted(halo, 0.25, image, 0.75, 0, image)


def _fountain(image: Any, foot: tuple[float, float], px_m: float, mood: Mood) -> None:
    u, v = foot
    for wide, low, high, tone in ((3.2, 0, 0.55, 150), (0.4, 0.5, 2.0, 132), (1.5, 1.9, 2.2, 158)):
        box = [(-wide, low), (-wide * 1.06, high), (wide * 1.06, high), (wide, low)]
        stone = (np.array((tone, tone - 4, tone - 12)) * mood.tint).tolist()
        _fill(image, _shift(*((u + x * px_m, v - y * px_m) for x, y in box)), stone)
    water = (np.array((214, 228, 236)) * mood.tint).tolist()
    for i in range(-6, 7):
        arc = [(i * 0.23 * t, 2.2 + 3.2 * t * (1 - t) - 1.6 * t * t) for t in np.linspace(0, 1, 9)]
        dots = _shift(*((u + x * px_m, v - y * px_m) for x, y in arc))
        cv2.polylines(image, [dots], False, water, 1, cv2.LINE_AA, 4)


def backdrop(rng: Rng, image_HW3: NDArray[np.float32], camera: Camera, mood: Mood) -> Picture:
    """Sky, buildings, trees on top of the paving."""
    h, w = camera.size_hw
    _, base, px_m = camera.project(0.0, 0.0, camera.far_m)
    sky = np.linspace(0, 1, h)[:, None, None] * h / max(base, 1)
    high, low = (np.array(c, np.float64) for c in mood.sky)
    sky_HW3 = high + (low - high) * np.clip(sky, 0, 1)
    veil = np.clip(_clouds(rng, (h, w), (4, 9, 22))[..., None] * 0.3 + 0.15, 0, 0.8)
    sky_HW3 = sky_HW3 * (1 - veil) + (low * 0.5 + 120) * veil
    rows = np.arange(h)[:, None, None]
    image = np.clip(np.where(rows < base, sky_HW3, image_HW3), 0, 255).astype(np.uint8)
    hedge = (np.array((58, 76, 46)) * mood.tint).tolist()
    _fill(image, _shift((0, base - 3 * px_m), (w, base - 3 * px_m), (w, base), (0, base)), hedge)
    x = -rng.uniform(0, 10) * px_m
    while x < w:
        wide, tall = rng.uniform(11, 26) * px_m, rng.uniform(8, 21) * px_m
        _building(rng, image, (x, x + wide, base, base - tall), px_m, mood)
        x += wide + rng.choice([0.0, 0.0, 5.0]) * px_m
    foot = np.exp(-np.abs(rows[:, 0, 0] - base) / (0.8 * px_m))[
        :, None, None
    ]  # where walls meet stone
    image = np.asarray(image * (1 - 0.35 * foot), np.uint8)
    _fountain(image, (rng.uniform(0.15, 0.85) * w, base), px_m, mood)
    for u in np.arange(rng.uniform(0, 9), w / px_m, 9.0) * px_m:
        _lamp(image, (float(u), base), px_m, mood)
    for _ in range(int(rng.integers(3, 12))):
        foot = (rng.uniform(0, w), base + rng.uniform(-0.02, 0.3) * px_m)
        _tree(rng, image, foot, px_m, mood)
    return image
