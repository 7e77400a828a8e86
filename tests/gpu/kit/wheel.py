"""Fetches the GPU build of ONNX Runtime with pip, by version and hash, and takes its libraries out."""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from .pieces import KitError, sha256

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements.txt"
# The main library, the loader of providers, and the CUDA provider. The TensorRT provider is left out.
CORE = "libonnxruntime.so"
PROVIDERS = ("libonnxruntime_providers_shared.so", "libonnxruntime_providers_cuda.so")
FOLDER = "onnxruntime/capi/"


def pinned():
    """Name, version and hash of the package."""
    for line in REQUIREMENTS.read_text().splitlines():
        if "==" in line and not line.startswith("#"):
            requirement, hashed = line.split()
            name, version = requirement.split("==")
            return name, version, hashed.removeprefix("--hash=sha256:")
    raise KitError(f"{REQUIREMENTS} names no package")


def fetch(folder):
    """Downloads the wheel for x86-64 Linux; returns its path. pip checks the hash."""
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary=:all:",
        "--implementation", "cp", "--python-version", "3.12", "--abi", "cp312",
        "--platform", "manylinux_2_28_x86_64", "--platform", "manylinux_2_27_x86_64",
        "--disable-pip-version-check", "-r", str(REQUIREMENTS), "-d", str(folder),
    ]  # fmt: skip
    if subprocess.run(command).returncode != 0:
        raise KitError("pip cannot download the package; is there a network? --wheel FILE takes one that is there")
    [wheel] = Path(folder).glob("*.whl")
    return wheel


def take_libraries(wheel, target):
    """Checks the wheel against the pinned hash and writes its libraries into `target`."""
    name, version, expected = pinned()
    if (actual := sha256(wheel)) != expected:
        raise KitError(f"{wheel} has SHA-256 {actual}; {name} {version} has {expected}")
    with zipfile.ZipFile(wheel) as archive:
        for member in (f"{CORE}.{version}", *PROVIDERS):
            file = target / (CORE if member.startswith(CORE) else member)
            with archive.open(FOLDER + member) as source, open(file, "wb") as to:
                shutil.copyfileobj(source, to)
    return {"package": name, "onnxruntime": version}


def libraries(given_wheel, target):
    """Writes the libraries of the given wheel, or of a fetched one, into `target`."""
    if given_wheel is not None:
        return take_libraries(given_wheel, target)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        return take_libraries(fetch(folder), target)
