"""NVIDIA's Python bindings of several TensorRT versions, each over a native library of our own.

The wheels come from PyPI into the user's cache; nothing of them is kept in this repository. Used by
tests through subprocesses: bindings of two versions cannot live in one.
"""

import ctypes
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
CACHE = Path.home() / ".cache" / "throng" / "bindings"
WHEELS = {
    "10.0.1": "tensorrt-cu12-bindings==10.0.1",
    "10.16.1": "tensorrt-cu13-bindings==10.16.1.11",
    "11.0.0": "tensorrt-cu13-bindings==11.0.0.114",
    "11.4.0": "tensorrt-cu13-bindings==11.4.0.106",
}
LIBRARIES = ("libnvinfer", "libnvonnxparser", "libnvinfer_plugin")


def folder_of(version: str) -> Path:
    """Bindings and compiled stub of a version; skips the test where they cannot be had."""
    if shutil.which("g++") is None or shutil.which("nm") is None:
        pytest.skip("no C++ compiler (Debian: g++, binutils)")
    package, exact = WHEELS[version].split("==")
    folder = CACHE / f"{package}-{exact}"
    if not folder.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as staging:
            wheel = download(WHEELS[version], Path(staging))
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(Path(staging) / "out")
            (Path(staging) / "out").replace(folder)
    return folder


def download(what: str, to: Path, *, source: bool = False) -> Path:
    """A wheel, or a source archive, from the package index."""
    kind = "--no-binary" if source else "--only-binary"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--disable-pip-version-check",
        "--no-deps",
    ]
    extra = ["--no-build-isolation"] if source else []
    got = subprocess.run(
        [*pip, *extra, kind, ":all:", "-d", str(to), what],
        check=False, capture_output=True, text=True, timeout=90,
    )  # fmt: skip
    found = [*to.glob("*.whl"), *to.glob("*.tar.gz")]
    if got.returncode or not found:
        pytest.skip(f"{what} cannot be downloaded: {got.stderr.strip().splitlines()[-1:]}")
    return found[0]


def compile_stub(bindings: Path, into: Path, *, says: int) -> None:
    """A shared object for each that the bindings want; the answers are all in the first."""
    core = bindings / "tensorrt_bindings" / "tensorrt.so"
    listed = subprocess.run(
        ["nm", "-D", "--undefined-only", core], check=True, capture_output=True, text=True
    ).stdout
    symbols = re.findall(r"\bU ((?:create|get|init)[A-Z]\w*)$", listed, flags=re.MULTILINE)
    major = re.search(rb"libnvinfer\.so\.(\d+)", core.read_bytes())
    assert symbols
    assert major
    for library in LIBRARIES:
        name = f"{library}.so.{major[1].decode()}"
        answers = " ".join(f"ANSWER({symbol})" for symbol in symbols)
        source = Path(__file__).with_name("stub.cpp")
        text = source.read_text("utf-8") if library == LIBRARIES[0] else ""
        subprocess.run(
            ["g++", "-shared", "-fPIC", "-O0", f"-Wl,-soname,{name}", f"-DANSWERS={answers}",
             f"-DSAYS={says}",             "-x", "c++", "-", "-o", into / name],
            input=text, text=True, check=True, timeout=60,
        )  # fmt: skip


def ask(script: str, version: str, stub: Path, question: object = None, *, says: int = 1) -> Any:
    """Run a script of this folder over a version's bindings: JSON in, JSON out.

    The native library answers every call with yes and 1, with no and 0, or cannot start: -1.
    """
    bindings = folder_of(version)
    stub = stub / str(says)
    if not stub.is_dir():
        stub.mkdir()
        compile_stub(bindings, stub, says=says)
    ran = subprocess.run(
        [sys.executable, "-m", f"tests.deploy.tensorrt.{script}", str(bindings), str(stub)],
        cwd=ROOT, input=json.dumps(question), capture_output=True, text=True, timeout=100,
        check=False,
    )  # fmt: skip
    assert ran.returncode == 0, f"TensorRT {version}: {ran.stderr[-2000:]}"
    return json.loads(ran.stdout.splitlines()[-1])


def answer(work: Any) -> None:
    """The other side of `ask`: imports the bindings as `tensorrt` and ends without clean-up."""
    bindings, stub = map(Path, sys.argv[1:3])
    for library in sorted(stub.glob("*.so.*"), key=lambda path: len(path.name)):
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    sys.path.insert(0, str(bindings))
    sys.modules["tensorrt"] = importlib.import_module("tensorrt_bindings")
    code = 1
    try:
        print(json.dumps(work(json.load(sys.stdin))), flush=True)  # noqa: T201  # its answer
        code = 0
    finally:
        if code:
            traceback.print_exc()
            sys.stderr.flush()
        os._exit(code)  # the stub's objects cannot be destroyed
