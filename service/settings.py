"""Settings: one YAML file, one frozen tree. Unknown keys are refused by name, secrets not shown."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from deploy.engines import Precision
from models.errors import ConfigError
from service.ingest import SCHEMES, Ask, Decode
from service.strict_yaml import read_tree

CAMERA_ID = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
MAX_FRAME_PX = 4096
MAX_ADDRESS = 2048


def _printable(text: str) -> str:
    """What is shown and sent on must have a form in UTF-8, and no line breaks."""
    if not text or not text.isprintable():
        raise ValueError("must be printable text")
    return text


def _address(secret: SecretStr) -> SecretStr:
    scheme, mark, _ = _printable(secret.get_secret_value()).partition("://")
    if mark and scheme.lower() not in SCHEMES:
        raise ValueError(
            f"must begin with {', '.join(f'{one}://' for one in SCHEMES)}, or be a file"
        )
    return secret


Priority = Literal["low", "normal", "high"]
Pixels = Annotated[int, Field(gt=0, le=MAX_FRAME_PX)]
Patience = Annotated[float, Field(ge=0.1, le=60)]
"""Seconds that others may wait, too: eight openings are under way at most."""
Address = Annotated[SecretStr, Field(max_length=MAX_ADDRESS), AfterValidator(_address)]
ZoneName = Annotated[str, Field(max_length=64), AfterValidator(_printable)]


class Section(BaseModel):
    """Every number has bounds: what is written here ends in sleeps, time-outs and JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Server(Section):
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    max_picture_bytes: int = Field(20_000_000, gt=0, le=1_000_000_000)
    max_picture_pixels: int = Field(40_000_000, gt=0, le=1_000_000_000)
    max_picture_side: int = Field(2048, gt=0, le=16_384)
    """Posted pictures with a longer side are scaled down to it before counting."""
    waiting_pictures: int = Field(8, gt=0, le=1000)
    """Posted pictures in work or waiting; beyond that the answer is 503 with Retry-After."""
    max_cameras: int = Field(256, gt=0, le=10_000)
    cameras_per_reader: int = Field(8, gt=0, le=1000)
    """Cameras that share one reader process: what a crash of it costs. A process takes 48 MB, and
    3 MB for each of its cameras; 15 MB more for one whose 1080p is decoded in full."""


class Model(Section):
    bundle: str = "throng-m"
    """The name of a shipped bundle, or a folder."""
    engine: str = "auto"
    precision: Precision = "auto"


class Batching(Section):
    wait_ms: float = Field(5.0, gt=0, le=60_000)
    """The oldest frame of a batch waits at most this long for company."""
    max_age_s: float = Field(2.0, gt=0, le=3600)
    """Frames older than this are dropped before inference, and counted as dropped."""


LEAST_AREA = 1e-4  # of the picture: a hundredth of each side


class Zone(Section):
    polygon: tuple[tuple[float, float], ...] = Field(min_length=3, max_length=256)
    """Corners as (x, y) in 0..1 of the picture, from its top left."""

    @field_validator("polygon")
    @classmethod
    def inside(cls, polygon: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        if any(not 0 <= value <= 1 for corner in polygon for value in corner):
            raise ValueError("corners must lie in 0..1")
        if abs(_area(polygon)) < LEAST_AREA:
            raise ValueError("the polygon has no area: wanted corners around a part of the picture")
        return polygon


def _area(polygon: Sequence[tuple[float, float]]) -> float:
    """By the shoelace formula; with a sign."""
    following = (*polygon[1:], polygon[0])
    return sum(x * v - u * y for (x, y), (u, v) in zip(polygon, following, strict=True)) / 2


class Defaults(Section):
    """What a camera does unless its own entry says otherwise."""

    rate: float = Field(2.0, ge=0.001, le=60)
    """Counts a second."""
    size: tuple[Pixels, Pixels] = (768, 432)
    """Width and height of the box that frames are scaled into, their shape kept."""
    preview: Literal["none", "blur", "clear"] = "blur"
    """What pictures of a camera show under the density: nothing, unrecognisable people, all."""
    stale_after_s: float = Field(5.0, gt=0, le=3600)
    """A count older than this, and than three of the periods asked for, is marked stale and leaves
    the metrics."""
    transport: Literal["tcp", "udp"] = "tcp"
    open_timeout_s: Patience = 5.0
    read_timeout_s: Patience = 2.5
    """A silent stream is given up after twice this: the library hands out one old frame first."""
    decode: Decode = "auto"
    """Decode key frames only, or all: `auto` takes the cheaper one that meets the rate."""
    priority: Priority = "normal"
    """Who comes first where the engine is short of time."""
    check_picture: bool = True
    """Mark counts of black, covered, overexposed and frozen pictures as invalid."""
    frozen_after_s: float = Field(60.0, gt=0, le=86_400)
    """Pictures without any change for so long, noise included, are called frozen."""


class Camera(Defaults):
    source: Address
    """What is counted, best a small stream: rtsp(s)://, http(s)://, a file path, or `demo`.

    May carry a password: never shown.
    """
    view: Address | None = None
    """A larger stream of the same camera, opened only when /v1/cameras/NAME/view.jpg is asked."""
    loop: bool = False
    """Files only: start again at the end."""
    zones: dict[ZoneName, Zone] = Field(default_factory=dict, max_length=32)

    def ask(self, *, max_age_s: float) -> Ask:
        """What its reader is told."""
        return Ask(
            source=self.source.get_secret_value(),
            size=self.size,
            rate=self.rate,
            transport=self.transport,
            open_timeout_s=self.open_timeout_s,
            read_timeout_s=self.read_timeout_s,
            max_age_s=max_age_s,
            loop=self.loop,
            decode=self.decode,
        )


class History(Section):
    keep_hours: float = Field(24.0, gt=0, le=100_000)


class Settings(Section):
    server: Server = Server()
    model: Model = Model()
    batching: Batching = Batching()
    defaults: Defaults = Defaults()
    cameras: dict[str, Camera] = Field(default_factory=dict)
    history: History = History()

    @model_validator(mode="before")
    @classmethod
    def _cameras_take_the_defaults(cls, tree: Any) -> Any:
        if not isinstance(tree, dict) or not isinstance(tree.get("cameras"), dict):
            return tree
        defaults = tree.get("defaults") or {}
        if not isinstance(defaults, dict):
            return tree
        cameras = {
            name: {**defaults, **entry} if isinstance(entry, dict) else entry
            for name, entry in tree["cameras"].items()
        }
        return {**tree, "cameras": cameras}

    @field_validator("cameras")
    @classmethod
    def _camera_names(cls, cameras: dict[str, Camera]) -> dict[str, Camera]:
        for name in cameras:
            if not re.fullmatch(CAMERA_ID, name):
                raise ValueError(f"camera name {name!r} must match {CAMERA_ID}")
        return cameras

    @model_validator(mode="after")
    def _all_cameras_fit(self) -> "Settings":
        if len(self.cameras) > self.server.max_cameras:
            most = self.server.max_cameras
            raise ValueError(f"{len(self.cameras)} cameras, and server.max_cameras is {most}")
        return self


DEMO = Settings(cameras={"demo": Camera(source=SecretStr("demo"), preview="clear", rate=2.0)})
"""What runs without a file: the drawn plaza as one camera."""


def load_settings(path: Path | None) -> Settings:
    """Settings from a YAML file, or the demo's without one.

    Raises ConfigError in one line that names the key; values are never in it.
    """
    if path is None:
        return DEMO
    return settings_of(read_tree(path), str(path))


def settings_of(tree: Any, origin: str) -> Settings:
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {first_problem(error)}") from error


def first_problem(error: ValidationError) -> str:
    """The key and what is wrong with it, without its value: it may be a secret."""
    first = error.errors(include_input=False, include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    says = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
    return f"{key}: {says}" if key else says
