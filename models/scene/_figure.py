"""One person: looks, and how a body is drawn."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from models.scene._world import Floats, Rng


@dataclass(frozen=True)
class Look:
    """One person's body, clothes and things; colours are rows of `dye`, see DYES."""

    dye: Floats
    tall_m: float
    broad: float
    hair: int
    hat: int
    bag: int
    coat: float

    @classmethod
    def roll(cls, rng: Rng, palette: Floats, tint: Floats) -> "Look":
        skins = np.array(
            [(238, 200, 172), (222, 174, 140), (190, 138, 104), (140, 94, 66), (92, 62, 48)]
        )
        hairs = np.array(
            [(34, 28, 26), (62, 44, 32), (98, 70, 46), (168, 132, 84), (132, 128, 124)]
        )
        lower = np.array([(44, 52, 72), (38, 38, 42), (70, 84, 112), (118, 104, 84), (86, 86, 88)])
        shoe = np.array([(40, 36, 34), (210, 208, 204), (96, 70, 50)])
        dye = np.stack(
            [
                rows[int(rng.integers(len(rows)))] * rng.uniform(0.8, 1.12)
                for rows in (skins, hairs, palette, lower, shoe, palette, palette)
            ]
        )
        child = rng.random() < 0.07
        tall = rng.uniform(1.05, 1.4) if child else np.clip(rng.normal(1.70, 0.09), 1.5, 1.95)
        coat = float(rng.choice([0.0, 0.16, 0.30], p=[0.66, 0.2, 0.14]))
        hat, bag = rng.choice(3, p=[0.8, 0.12, 0.08]), rng.choice(4, p=[0.52, 0.2, 0.18, 0.1])
        broad = rng.uniform(0.88, 1.14) * tall / 1.7
        return cls(
            dye * tint, float(tall), float(broad), int(rng.integers(3)), int(hat), int(bag), coat
        )


class Pen:
    """Draws one person, metres about the feet, into a premultiplied RGBA tile."""

    def __init__(
        self, foot: tuple[float, float], scale: tuple[float, float], lean: float, tall_m: float
    ) -> None:
        """`foot` in pixels; `scale` across and upright, `lean` aside, in pixels per metre."""
        self.zoom, self.edge = (1, cv2.LINE_AA) if scale[0] > 52 else (2, cv2.LINE_8)
        wide, high = int(1.5 * scale[0]) + 4, int((tall_m + 0.2) * scale[1] + 0.25 * scale[0]) + 4
        lean_px = lean * tall_m
        wide += int(abs(lean_px))
        self.left, self.top = (
            int(np.floor(foot[0] + lean_px / 2)) - wide // 2,
            int(np.floor(foot[1])) - high + 3 + int(0.2 * scale[0]),
        )
        self.tile = np.zeros((high * self.zoom, wide * self.zoom, 4), np.uint8)
        self.x0, self.y0 = foot[0] - self.left, foot[1] - self.top
        self.sx, self.sy, self.lean = *scale, lean
        self.fine = scale[0] > 24  # smaller ones go without shoes, hands and noses

    def at(self, x: float, y: float) -> tuple[int, int]:
        k = self.zoom * 16
        across = self.x0 + x * self.sx + y * self.lean
        return int(across * k), int((self.y0 - y * self.sy) * k)

    def limb(self, points: list[tuple[float, float]], wide_m: float, colour: Any) -> None:
        thick = max(1, round(wide_m * self.sx * self.zoom))
        dots = np.array([self.at(*p) for p in points], np.int32)
        cv2.polylines(self.tile, [dots], False, (*colour, 255), thick, self.edge, 4)

    def shape(self, points: list[tuple[float, float]], colour: Any) -> None:
        dots = np.array([self.at(*p) for p in points], np.int32)
        cv2.fillPoly(self.tile, [dots], (*colour, 255), self.edge, 4)

    def oval(
        self,
        at: tuple[float, float],
        half_m: tuple[float, float],
        colour: Any,
        span: tuple[int, int] = (0, 360),
    ) -> None:
        k = self.zoom * 16 * self.sx
        axes = (max(8, int(half_m[0] * k)), max(8, int(half_m[1] * k)))
        cv2.ellipse(self.tile, self.at(*at), axes, 0, *span, (*colour, 255), -1, self.edge, 4)

    def shaded(self, light: float) -> Any:
        """The tile at the picture's own size, rounded by light from `light` (-1 left, 1 right)."""
        h, w = self.tile.shape[0] // self.zoom, self.tile.shape[1] // self.zoom
        tile = cv2.resize(self.tile, (w, h), interpolation=cv2.INTER_AREA)
        size = max(3, int(self.sx * 0.16) | 1)
        soft = cv2.blur(tile[..., 3], (size, size))
        slope = cv2.Sobel(soft, cv2.CV_8U, 1, 0, scale=-light * size / 23, delta=128)
        slope = cv2.cvtColor(slope, cv2.COLOR_GRAY2RGB)
        alpha = np.ascontiguousarray(tile[..., 3])
        rgb = cv2.multiply(cv2.cvtColor(tile, cv2.COLOR_RGBA2RGB), slope, scale=1 / 128)
        return cv2.min(rgb, cv2.cvtColor(alpha, cv2.COLOR_GRAY2RGB)), alpha


def draw_legs(pen: Pen, look: Look, dye: list[Any], swing: float, way: tuple[float, float]) -> None:
    hip = 0.52 * look.tall_m
    for side in (-1, 1):
        step = side * swing
        lift = max(0.0, -step) * 0.12
        apart = side * 0.085 * look.broad * abs(way[1])
        knee = (
            apart + way[0] * (step * 0.45 + 0.05 * abs(swing) * 2) * hip * 0.5,
            hip * 0.5 + way[1] * step * 0.06,
        )
        foot = (apart + way[0] * step * hip * 0.9, 0.04 + lift + way[1] * step * hip * 0.25)
        shade = 0.74 if side < 0 else 0.92
        if pen.fine:
            pen.limb(
                [foot, (foot[0] + way[0] * 0.13, foot[1] - 0.01 - way[1] * 0.05)],
                0.085,
                [c * shade for c in dye[4]],
            )
        pen.limb([(apart * 0.9, hip), knee, foot], 0.135 * look.broad, [c * shade for c in dye[3]])


def draw_arm(
    pen: Pen, look: Look, dye: list[Any], side: int, step: float, way: tuple[float, float]
) -> None:
    tall, broad = look.tall_m, look.broad
    across = side * (0.2 * abs(way[1]) + 0.03) * broad
    shoulder = (across, 0.80 * tall)
    elbow = (across * 1.18 + way[0] * step * 0.16, 0.63 * tall)
    hand = (
        across * 1.15 + way[0] * (step * 0.36 + 0.05),
        (0.49 + 0.05 * abs(step)) * tall + way[1] * step * 0.05,
    )
    if pen.sx > 30:  # an edge that shows against the body
        pen.limb([shoulder, elbow, hand], 0.115 * broad, [c * 0.62 for c in dye[2]])
    pen.limb(
        [shoulder, elbow, hand], 0.09 * broad, [c * (0.86 if side < 0 else 1.0) for c in dye[2]]
    )
    if pen.fine:
        pen.oval(hand, (0.045, 0.055), dye[0])
    if look.bag == 3 and side > 0:
        pen.shape(
            [
                (hand[0] + x, hand[1] + y)
                for x, y in ((-0.13, -0.34), (0.13, -0.34), (0.11, -0.06), (-0.11, -0.06))
            ],
            dye[5],
        )


def draw_torso(pen: Pen, look: Look, dye: list[Any], way: tuple[float, float]) -> None:
    tall, broad = look.tall_m, look.broad
    wide = (0.13 + 0.085 * abs(way[1])) * broad
    low = 0.5 - look.coat
    hem = wide * (0.86 + look.coat * 0.9)
    pen.shape(
        [
            (-wide * 0.45, 0.855 * tall),
            (wide * 0.45, 0.855 * tall),
            (wide, 0.81 * tall),
            (wide * 0.9, 0.66 * tall),
            (hem, low * tall),
            (-hem, low * tall),
            (-wide * 0.9, 0.66 * tall),
            (-wide, 0.81 * tall),
        ],
        dye[2],
    )
    if pen.fine:
        pen.limb([(0, 0.83 * tall), (0.01, low * tall + 0.05)], 0.02, [c * 0.82 for c in dye[2]])
    if look.bag == 1 and way[1] > -0.3:  # a rucksack, unless seen from the front
        pen.oval((-way[0] * 0.16, 0.70 * tall), (0.14, 0.21), [c * 0.55 for c in dye[5]])
        pen.oval((-way[0] * 0.16, 0.70 * tall), (0.12, 0.19), [c * 0.8 for c in dye[5]])
    elif look.bag == 2:
        pen.limb([(-wide * 0.6, 0.84 * tall), (wide, 0.52 * tall)], 0.03, [c * 0.5 for c in dye[5]])
        pen.oval((wide, 0.5 * tall), (0.12, 0.1), [c * 0.75 for c in dye[5]])


def draw_head(pen: Pen, look: Look, dye: list[Any], way: tuple[float, float]) -> None:
    tall, y = look.tall_m, 0.93 * look.tall_m
    if pen.fine:
        pen.limb([(0, 0.83 * tall), (0, 0.89 * tall)], 0.1, [c * 0.78 for c in dye[0]])
    if look.hair == 2:
        pen.oval((-way[0] * 0.05, y - 0.06), (0.115, 0.17), [c * 0.8 for c in dye[1]])
    pen.oval((0, y), (0.092, 0.122), dye[0])
    if pen.fine:
        pen.oval((way[0] * 0.05, y - 0.05), (0.05, 0.05), [c * 0.93 for c in dye[0]])
    if way[1] > 0.25:
        pen.oval((0, y + 0.015), (0.102, 0.12), dye[1])
    else:
        pen.oval((-way[0] * 0.035, y + 0.03), (0.104, 0.105), dye[1], (180, 360))
        if abs(way[0]) > 0.35:
            pen.oval((-way[0] * 0.06, y + 0.02), (0.03 + 0.04 * abs(way[0]), 0.09), dye[1])
        pen.oval((way[0] * 0.05, y - 0.02), (0.06, 0.07), dye[0])
    if look.hat:
        brim = 0.11 if look.hat == 1 else 0.19
        pen.oval(
            (way[0] * 0.06 * (look.hat == 1), y + 0.045), (brim, 0.03), [c * 0.7 for c in dye[6]]
        )
        pen.oval((0, y + 0.05), (0.105, 0.1), dye[6], (180, 360))
