"""Our pycuda calls: held to pycuda's own sources, and run over a pycuda whose driver is a stub."""

import ast
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from deploy.engines.tensorrt import cuda
from tests.deploy.tensorrt.bindings import CACHE, ROOT, download

PYCUDA = "pycuda==2026.1"
METHODS = {
    "Device": {"count", "name", "compute_capability", "retain_primary_context"},
    "Context": {"push", "pop", "detach", "synchronize"},
    "Stream": {"synchronize", "handle"},
    "Event": {"record", "synchronize"},
    "DeviceAllocation": {"free", "__int__"},
    "PagelockedHostAllocation": {"free"},
}


@pytest.fixture(scope="module")
def binding() -> str:
    """The source of pycuda's binding, without comments."""
    archive = next(CACHE.glob("pycuda-*.tar.gz"), None)
    if archive is None:
        CACHE.mkdir(parents=True, exist_ok=True)
        archive = download(PYCUDA, CACHE, source=True)
    with tarfile.open(archive) as files:
        name = next(one for one in files.getnames() if one.endswith("/wrap_cudadrv.cpp"))
        source = files.extractfile(name)
        assert source is not None
        return re.sub(r"//.*", "", source.read().decode())


def calls_of_driver() -> dict[str, set[str]]:
    """What cuda.py asks of the driver module: name to the keywords it is called with."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(Path(cuda.__file__).read_text("utf-8"))):
        called = node.func if isinstance(node, ast.Call) else node
        if isinstance(called, ast.Attribute) and ast.unparse(called.value) in ("drv", "self._drv"):
            words = node.keywords if isinstance(node, ast.Call) else []
            found.setdefault(called.attr, set()).update(str(word.arg) for word in words)
    return found


@pytest.mark.slow  # downloads the source once
def test_every_function_that_we_call_is_in_pycudas_source_with_our_keywords(binding: str) -> None:
    asked = calls_of_driver()
    assert {"mem_alloc", "memcpy_htod_async", "pagelocked_empty", "Stream", "Event"} <= set(asked)
    for name, words in asked.items():
        exact = rf'(?:py::def\("{name}"|\("{name}", py::(?:init|no_init)|"{name}", py::no_init)'
        made = re.search(rf"{exact}[^;]*?(?:;|\n\s*\.)", binding)
        simple = re.search(rf"DEF_SIMPLE_FUNCTION\({name}\)|DECLARE_EXC\({name},", binding)
        assert made or simple, name
        given = set(re.findall(r'"(\w+)"', made[0])) if made else set()
        assert words <= given, name


@pytest.mark.slow
@pytest.mark.parametrize("kind", METHODS)
def test_every_method_that_we_call_is_in_pycudas_source(binding: str, kind: str) -> None:
    start = re.search(rf'"{kind}"', binding)
    assert start
    block = binding[start.start() :].split("class_<", 1)[0]
    for method in METHODS[kind]:
        exact = rf'DEF_SIMPLE_METHOD\({method}\)|"{method}"'
        assert re.search(exact, block), f"{kind}.{method}"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n"
         "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n", "550.54.15 (CUDA 12040)"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\n",
         "570.86.15 (CUDA 12040)"),
        ("something else", "CUDA 12040"),
        (None, "CUDA 12040"),
    ],
)  # fmt: skip
def test_the_driver_is_known_by_its_own_version_where_it_tells_it(
    tmp_path: Path, text: str | None, version: str
) -> None:
    if text is not None:
        (tmp_path / "version").write_text(text, encoding="utf-8")
    assert cuda.driver(12040, tmp_path / "version") == version


@pytest.mark.slow
def test_over_a_real_pycuda_all_that_a_lane_holds_is_freed_in_its_thread(tmp_path: Path) -> None:
    wheel = next(CACHE.glob("pycuda-*-cp3*.whl"), None)
    if wheel is None or f"cp3{sys.version_info.minor}-" not in wheel.name:
        pytest.skip(f"no built pycuda in {CACHE}: README.md here says how to build it")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    stub = compile_driver(next((tmp_path / "pycuda").glob("_driver*.so")), tmp_path)
    ran = subprocess.run(
        [sys.executable, "-m", "tests.deploy.tensorrt.over_pycuda", tmp_path, stub],
        cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    said = json.loads(ran.stdout.splitlines()[-1])
    assert said == {
        "no_gpu": [None, "it needs an NVIDIA GPU 3, and there are 1"],
        "card": ["Stub GPU", "9.0"],
        "copies": [[0, 1, 2, 3], True],
        "errors": ["OutOfMemory", "room"],
        "engine": [True, 0],
        "left": 0,
        "lost": 0,
        "sticky": ["Lost", "Lost"],
        "depth": 0,
    }
    assert "leaked" not in ran.stderr
    assert "out-of-thread" not in ran.stderr


def compile_driver(binding: Path, into: Path) -> Path:
    source = Path(__file__).with_name("driver.c").read_text("utf-8")
    listed = subprocess.run(
        ["nm", "-D", "--undefined-only", binding], check=True, capture_output=True, text=True
    ).stdout
    wanted = set(re.findall(r"\bU (cu[A-Z]\w*)$", listed, flags=re.MULTILINE))
    missing = sorted(wanted - set(re.findall(r"^int (cu\w+)\(", source, flags=re.MULTILINE)))
    source += "".join(f"int {name}() {{ return OK; }}\n" for name in missing)
    path = into / "libcuda.so.1"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-w", "-Wl,-soname,libcuda.so.1", "-x", "c", "-", "-o", path],
        input=source, text=True, check=True, timeout=60,
    )  # fmt: skip
    return path
