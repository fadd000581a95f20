"""Following the settings file: cameras come, go and change while the others run.

An edit that cannot be used is refused as a whole, in one line, and what runs goes on.
"""

import asyncio
import logging
from pathlib import Path

from watchfiles import awatch

from models.errors import ConfigError, Overloaded
from service.cameras import Cameras
from service.settings import Settings, load_settings

LOG = logging.getLogger(__name__)


class SettingsFile:
    """The file that the service was started with, and what of it runs."""

    def __init__(self, path: Path, settings: Settings, cameras: Cameras) -> None:
        self._path, self._running, self._cameras = path, settings, cameras
        self.refused = ""  # why the last edit was not taken

    async def follow(self) -> None:
        """Apply every edit. Until cancelled.

        The folder is watched, not the file: editors and Kubernetes put another file in its place.
        """
        async for _ in awatch(self._path.parent, recursive=False, rust_timeout=1000):
            try:
                wanted = await asyncio.to_thread(load_settings, self._path)
            except ConfigError as error:
                self._refuse(str(error))
                continue
            if wanted != self._running:
                self._apply(wanted)
            self.refused = ""

    def _apply(self, wanted: Settings) -> None:
        """Only cameras whose entries changed are touched; those put by the API stay."""
        before, after = self._running.cameras, wanted.cameras
        gone = [name for name in before if name not in after and name in self._cameras]
        changed = [name for name, camera in after.items() if camera != before.get(name)]
        for name in gone:
            self._cameras.remove(name)
        for name in changed:
            try:
                self._cameras.add(name, after[name])
            except Overloaded as error:
                LOG.warning("%s: camera %s is not added: %s", self._path, name, error)
        self._running = wanted
        LOG.warning(
            "%s: applied, %d cameras added or changed, %d removed",
            self._path, len(changed), len(gone),
        )  # fmt: skip

    def _refuse(self, why: str) -> None:
        if why != self.refused:
            LOG.warning("%s; the edit is refused, what ran goes on", why)
        self.refused = why
