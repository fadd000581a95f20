"""What must be known of machine and code to compare two results."""

import math
import os
import platform
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "throng", "av", "nncf", "numpy", "onnxruntime", "openvino", "pycuda", "tensorrt-cu12",
    "tensorrt-cu13", "torch", "torchao",
)  # fmt: skip
CPU = Path("/proc/cpuinfo")
MINE, GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
EXACT = {"avx_vnni", "avx512_vnni", "amx_int8"}


def machine() -> dict[str, Any]:
    names = _cpu("model name")
    return {
        "processor": names[0] if names else platform.machine(),
        "cores": cores(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        **({"gpus": gpus} if (gpus := _gpus()) else {}),
    }


def cores() -> int:
    """That this process may use at once: by its affinity, and by the quota of its container."""
    allowed = len(os.sched_getaffinity(0))
    return max(1, min(allowed, math.ceil(min(_quotas(), default=allowed))))


def int8_is_exact() -> bool:
    """Whether products of 8 bits are added up in 32.

    Before VNNI, x86 adds pairs of them up in 16, where large ones saturate: counts then move by far
    more than parity allows, and none that was measured elsewhere says so.
    """
    flags = {flag for line in _cpu("flags")[:1] for flag in line.split()}
    return platform.machine() not in ("x86_64", "AMD64") or bool(EXACT & flags)


def versions() -> dict[str, str]:
    """Of the packages that results depend on, where they are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def commit_here() -> str:
    """The commit of the code that runs, "-dirty" where it was changed; "unknown" if installed."""
    here = Path(__file__)
    try:
        _git("ls-files", "--error-unmatch", here.name, at=here.parent)  # else: of another project
        return _git("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*", at=here.parent)
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _git(*words: str, at: Path) -> str:
    ran = subprocess.run(
        ("git", *words), cwd=at, check=True, capture_output=True, text=True, timeout=30
    )
    return ran.stdout.strip()


def _cpu(key: str) -> list[str]:
    """What Linux says of each core."""
    lines = (line.partition(":") for line in CPU.read_text(encoding="utf-8").splitlines())
    return [value.strip() for name, _, value in lines if name.strip() == key]


def _gpus() -> list[str]:
    """NVIDIA's, by name and driver."""
    ask = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    try:
        said = subprocess.run(ask, check=True, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return []
    return said.stdout.splitlines()


def _quotas() -> Iterator[float]:
    """Cores' worth of time, of the control group (version 2) of this process and those above it."""
    try:
        lines = MINE.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    inside = next((line[3:].strip("/") for line in lines if line.startswith("0::")), "")
    for group in (GROUPS / inside, *(GROUPS / inside).parents):
        try:
            most, period = (group / "cpu.max").read_text(encoding="utf-8").split()
        except (OSError, ValueError):
            continue
        if most != "max":
            yield int(most) / int(period)
