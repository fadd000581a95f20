"""Following the settings file: cameras come, go and change while the others run.

An edit that cannot be used is refused as a whole, in one line, and what runs goes on.
"""

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

from watchfiles import awatch

from models.errors import ConfigError, Overloaded
from service.cameras import Cameras
from service.settings import Settings, load_settings

LOG = logging.getLogger(__name__)

LOOK_MS = 1000
RETRY_S = 2.0  # before a folder that cannot be watched is tried again
AT_START = ("server", "model", "batching", "history")  # sections that are read only then


class SettingsFile:
    """The file that the service was started with. `settings`: its last edit that was taken."""

    def __init__(self, path: Path, settings: Settings, cameras: Cameras) -> None:
        self._path, self._cameras = path, cameras
        self._started = self.settings = settings
        self._unseen = ""  # why edits are not seen
        self._refused = ""  # why the last edit was not taken
        self._waiting: dict[str, str] = {}  # cameras without room, and why

    @property
    def problems(self) -> str:
        """What of the file does not run, in one line; empty where all does."""
        return "; ".join(filter(None, (self._unseen, self._refused, *self._left_out())))

    async def follow(self) -> None:
        """Apply every edit. Until cancelled."""
        while True:
            why = "another folder took its place"
            try:
                await self._follow()
            except (OSError, RuntimeError) as error:  # RuntimeError: watchfiles' own
                why = (isinstance(error, OSError) and error.strerror) or str(error)
            unseen = f"{self._path.parent} cannot be watched for edits: {why}"
            if unseen != self._unseen:
                LOG.warning("%s; tried again", unseen)
            self._unseen = unseen
            await asyncio.sleep(RETRY_S)

    async def _follow(self) -> None:
        """The folder is watched, not the file: editors and Kubernetes put another in its place.

        Returns when another folder is at its place. Raises OSError or RuntimeError where none can
        be watched.
        """
        folder, unread = self._path.parent, True
        looks = awatch(folder, recursive=False, rust_timeout=LOOK_MS, yield_on_timeout=True)
        with _held(folder) as held:
            async with aclosing(looks):
                async for changes in looks:
                    if not os.path.samestat(held, await asyncio.to_thread(folder.stat)):
                        return
                    if changes or unread:
                        await self._read()
                    self._unseen, unread = "", False
                    self._admit()

    async def _read(self) -> None:
        try:
            wanted = await asyncio.to_thread(load_settings, self._path)
        except ConfigError as error:
            if str(error) != self._refused:
                LOG.warning("%s; the edit is refused, what ran goes on", error)
            self._refused = str(error)
            return
        self._refused = ""
        if wanted != self.settings:
            self._apply(wanted)

    def _apply(self, wanted: Settings) -> None:
        """Only cameras whose entries changed are touched; those put by the API stay."""
        before, after = self.settings.cameras, wanted.cameras
        gone = [name for name in before if name not in after]
        changed = [name for name, camera in after.items() if camera != before.get(name)]
        self.settings = wanted
        for name in gone:
            self._waiting.pop(name, None)
            if name in self._cameras:
                self._cameras.remove(name)
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
        return True

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
        if self._waiting:
            why = next(iter(self._waiting.values()))
            yield f"cameras {', '.join(self._waiting)} wait for room: {why}"


@contextmanager
def _held(folder: Path) -> Iterator[os.stat_result]:
    """What the folder is, kept open: no other folder can get its number meanwhile."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield os.fstat(opened)
    finally:
        os.close(opened)
