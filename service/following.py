"""Following the settings file: cameras come, go and change while the others run.

An edit that cannot be used is refused as a whole, in one line, and what runs goes on.
"""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

from models.errors import ConfigError, Overloaded
from service.cameras import Cameras
from service.settings import Settings, load_settings

LOG = logging.getLogger(__name__)

LOOK_S = 1.0
AT_START = ("server", "model", "batching", "history")  # sections that are read only then


class SettingsFile:
    """The file that the service was started with. `settings`: its last edit that was taken."""

    def __init__(self, path: Path, settings: Settings, cameras: Cameras) -> None:
        self._path, self._cameras = path, cameras
        self._started = self.settings = settings
        self._unseen = ""  # why edits are not seen
        self._refused = ""  # why the last edit was not taken
        self._waiting: dict[str, str] = {}  # cameras without room, and why
        self._ours = {name: cameras.settings(name) for name in settings.cameras if name in cameras}

    @property
    def problems(self) -> str:
        """What of the file does not run, in one line; empty where all does."""
        return "; ".join(filter(None, (self._unseen, self._refused, *self._left_out())))

    async def follow(self) -> None:
        """Apply every edit. Until cancelled.

        The file is looked at once a second: notices of the system do not tell of edits behind a
        link, on a network, or in what a container mounts.
        """
        seen: Edition | None = None
        while True:
            try:
                edition = await asyncio.to_thread(_edition, self._path)
            except OSError as error:
                self._cannot_see(error.strerror or str(error))
            else:
                self._unseen = ""
                if edition != seen:  # what is refused is tried again: a secret may be missing yet
                    seen = edition if await self._read() else None
            self._admit()
            await asyncio.sleep(LOOK_S)

    def _cannot_see(self, why: str) -> None:
        unseen = f"{self._path} cannot be followed: {why}"
        if unseen != self._unseen:
            LOG.warning("%s; what ran goes on", unseen)
        self._unseen = unseen

    async def _read(self) -> bool:
        """Whether the file could be used."""
        try:
            wanted = await asyncio.to_thread(load_settings, self._path)
        except ConfigError as error:
            if str(error) != self._refused:
                LOG.warning("%s; the edit is refused, what ran goes on", error)
            self._refused = str(error)
            return False
        self._refused = ""
        if wanted != self.settings:
            self._apply(wanted)
        return True

    def _apply(self, wanted: Settings) -> None:
        """Only cameras whose entries changed are touched; what the API put or removed stays so."""
        before, after = self.settings.cameras, wanted.cameras
        gone = [name for name in before if name not in after]
        changed = [
            name
            for name, camera in after.items()
            if camera != before.get(name) and not self._is_foreign(name)
        ]
        self.settings = wanted
        for name in gone:
            self._waiting.pop(name, None)
            if name in self._cameras and not self._is_foreign(name):
                self._cameras.remove(name)
            self._ours.pop(name, None)
        added = [name for name in changed if self._add(name)]
        LOG.warning(
            "%s", "; ".join(
                (
                    f"{self._path}: applied, {len(added)} cameras added or changed, "
                    f"{len(gone)} removed",
                    *self._left_out(),
                )
            )
        )  # fmt: skip

    def _add(self, name: str) -> bool:
        try:
            self._cameras.add(name, self.settings.cameras[name])
        except Overloaded as error:
            self._waiting[name] = str(error)
            return False
        self._waiting.pop(name, None)
        self._ours[name] = self._cameras.settings(name)
        return True

    def _is_foreign(self, name: str) -> bool:
        """The API has put, replaced or removed a camera of that name."""
        runs = self._cameras.settings(name) if name in self._cameras else None
        return runs is not self._ours.get(name)

    def _admit(self) -> None:
        """Cameras that wait come in where there is room by now."""
        for name in list(self._waiting):
            if name in self._cameras:  # the API was faster
                del self._waiting[name]
            elif self._add(name):
                LOG.warning("%s: there is room, camera %s is added", self._path, name)

    def _left_out(self) -> Iterator[str]:
        """What of the last edit does not run, and what to do about it."""
        edited = [
            name
            for name in AT_START
            if getattr(self.settings, name) != getattr(self._started, name)
        ]
        if edited:
            yield f"{', '.join(edited)}: edits need a restart of the service"
        if others := ", ".join(filter(self._is_foreign, self.settings.cameras)):
            yield f"cameras {others}: the API has put or removed them, until a restart"
        if self._waiting:
            why = next(iter(self._waiting.values()))
            yield f"cameras {', '.join(self._waiting)} wait for room: {why}"


Edition = tuple[int, int, int, int]


def _edition(path: Path) -> Edition:
    """Another one after every edit. Raises OSError where there is no file."""
    at = path.stat()
    return at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns
