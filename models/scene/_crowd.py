"""Who walks where, as a function of time."""

from typing import Any

import numpy as np

from models.scene._backdrop import Camera
from models.scene._world import LOOKS, STRIDE_M, Floats, Rng


class Crowd:
    """M walkers who come, cross the plaza (some stop on the way) and leave, over and over."""

    def __init__(self, rng: Rng, camera: Camera, people: int) -> None:
        self.camera = camera
        sizes = rng.choice([1, 2, 3, 4], people * 3 + 8, p=[0.5, 0.3, 0.12, 0.08])
        n = len(sizes)
        path_n = np.stack([self._path(rng) for _ in range(n)])
        length_n = np.linalg.norm(np.diff(path_n, axis=1), axis=2).sum(axis=1)
        pause_n = np.where(rng.random(n) < 0.28, rng.uniform(25, 110, n), 0.0)
        speed_n = rng.uniform(0.95, 1.6, n)
        period_n = length_n / speed_n + pause_n + 2
        self.wave = rng.uniform(0, 2 * np.pi, 2)
        row_n6 = np.stack([length_n, pause_n, speed_n, period_n, rng.random(n), rng.random(n)])
        angle_n = rng.uniform(0, 2 * np.pi, n)
        self.group_M = np.repeat(np.arange(n), sizes)
        self.member_M = np.arange(len(self.group_M)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        self.angle_M = angle_n[self.group_M] + self.member_M * 2.1
        self.rows_6M, self.path_M = row_n6[:, self.group_M], path_n[self.group_M]
        self.size = len(self.group_M)
        seen = np.zeros(self.size)
        for time_s in np.linspace(0, 1000, 50):
            now = self.at(time_s)
            x, z = now["place"].T
            seen[now["who"][np.abs(x) < camera.half_width_m(z)]] += 1 / 50
        self.size = int(np.searchsorted(np.cumsum(seen), people)) + 1

    def _path(self, rng: Rng) -> Floats:
        """33 points (X, Z), evenly spaced from one end to the other, both out of view."""
        camera = self.camera
        ends = [self._end(rng), self._end(rng)]
        z = camera.near_m * (camera.far_m / camera.near_m) ** rng.uniform(0.12, 0.92)
        turn = np.array([camera.half_width_m(z) * rng.uniform(-0.8, 0.8), z])
        t = np.linspace(0, 1, 200)[:, None]
        bend = (1 - t) ** 2 * ends[0] + 2 * t * (1 - t) * turn + t**2 * ends[1]
        along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(bend, axis=0), axis=1))])
        even = np.linspace(0, along[-1], 33)
        return np.stack([np.interp(even, along, bend[:, i]) for i in (0, 1)], axis=1)

    def _end(self, rng: Rng) -> Floats:
        camera, edge = self.camera, rng.random()
        if edge < 0.2:  # a door at the far side
            return np.array(
                [rng.uniform(-0.9, 0.9) * camera.half_width_m(camera.far_m), camera.far_m]
            )
        if edge < 0.4:  # under the camera
            return np.array(
                [rng.uniform(-1, 1) * camera.half_width_m(camera.near_m), camera.near_m * 0.45]
            )
        z = camera.near_m * (camera.far_m / camera.near_m) ** rng.uniform(-0.1, 0.9)
        return np.array([rng.choice([-1, 1]) * (camera.half_width_m(z) + 2.5), z])

    def at(self, time_s: float) -> dict[str, Any]:
        """Those on the plaza now: who, which visit, place (X, Z), heading, stride and gait 0..1."""
        length, pause, speed, period, start, rank = self.rows_6M
        visit, since = np.divmod(time_s + start * period, period)
        born = time_s - since
        demand = (
            0.57 + 0.38 * np.sin(born / 27 + self.wave[0]) + 0.1 * np.sin(born / 9 + self.wave[1])
        )
        here = demand > np.modf(rank + 0.618034 * (visit % 1000))[0]
        who = np.flatnonzero(here & (since * speed < length + pause * speed))
        who = who[who < self.size]
        half = length[who] / speed[who] / 2
        walked = np.minimum(since[who], half) + np.maximum(since[who] - half - pause[who], 0)
        idle = np.minimum(np.abs(since[who] - half), np.abs(since[who] - half - pause[who]))
        standing = (since[who] > half) & (since[who] < half + pause[who])
        gait = 1 - standing * np.minimum(idle / 0.5, 1)
        back = visit[who] % 2 == 1
        along = np.clip(walked * speed[who] / length[who], 0, 1)
        along = np.where(back, 1 - along, along) * 31.999
        i = along.astype(np.int64)
        a, b = self.path_M[who, i], self.path_M[who, i + 1]
        place = a + (b - a) * (along - i)[:, None]
        ahead = (b - a) * np.where(back, -1, 1)[:, None]
        angle = self.angle_M[who] + visit[who]
        out = np.where(self.member_M[who] == 0, 0.1, 0.62)[:, None]
        aside = np.stack([np.cos(angle), np.sin(angle)], 1)
        heading = np.arctan2(ahead[:, 0], ahead[:, 1])
        face = np.arctan2(-aside[:, 0], -aside[:, 1]) + 0.3 * np.sin(time_s / 5 + angle)
        turn = np.angle(np.exp(1j * (face - heading)))
        return {
            "who": who,
            "look": (who * 37 + visit[who].astype(np.int64) * 101) % LOOKS,
            "place": place + aside * out,
            "heading": heading + turn * (1 - gait),
            "stride": walked * speed[who] / STRIDE_M + angle,
            "gait": gait,
        }
