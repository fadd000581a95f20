"""The most that one core of this machine can multiply, measured: the yardstick of `bench`."""

import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("peak.c")


def peaks() -> dict[str, float]:
    """Multiply-adds a second of one core, by precision; empty where it cannot be measured.

    It is built with the machine's own C compiler. AVX-512 for fp32, AMX for bf16 and int8: a
    processor without them has no such row.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder) / "peak"
        try:
            _run(compiler, "-O2", "-o", str(probe), str(SOURCE))
            said = _run(str(probe))
        except (OSError, subprocess.SubprocessError):  # no headers, another processor: no yardstick
            return {}
    rows = (line.split() for line in said.splitlines())
    return {precision: float(macs) for precision, macs in rows}


def _run(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout
