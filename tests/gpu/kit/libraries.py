"""Finds the NVIDIA libraries that the CUDA provider of ONNX Runtime needs.

ONNX Runtime 1.28 links those of `LINKED` and opens cuDNN only when an operator needs it. Without cuDNN the provider still
loads, and slower kernels or errors take its place. So the kit insists on all of `NEEDED`.
"""

import ctypes
import os
import re
import subprocess
import sys
from pathlib import Path

DRIVER = "libcuda.so.1"
LINKED = ("libcudart.so.13", "libcublas.so.13", "libcublasLt.so.13", "libcurand.so.10")
CUDNN = (
    "libcudnn.so.9",
    "libcudnn_graph.so.9",
    "libcudnn_ops.so.9",
    "libcudnn_cnn.so.9",
    "libcudnn_heuristic.so.9",
    "libcudnn_engines_precompiled.so.9",
    "libcudnn_engines_runtime_compiled.so.9",
)
COMPILER = ("libnvrtc.so.13",)
NEEDED = (DRIVER, *LINKED, *CUDNN, *COMPILER)
# Only the operators of Fourier transforms open it.
OPTIONAL = ("libcufft.so.12",)
# The order in which `load` opens them: what others need comes first.
ORDER = (DRIVER, "libcudart.so.13", "libcublasLt.so.13", "libcublas.so.13", "libcurand.so.10", *COMPILER, *CUDNN)
# The packages that hold them, for the error text.
PACKAGES = "nvidia-cuda-runtime, nvidia-cublas, nvidia-curand, nvidia-cuda-nvrtc (13.x) and nvidia-cudnn-cu13 (9.x)"


def places(given=(), environ=os.environ, path=sys.path):
    """Folders to look in, in order: given ones, LD_LIBRARY_PATH, the toolkit's, packages of this Python, the system's."""
    found = [Path(folder) for folder in given]
    found += [Path(folder) for folder in environ.get("LD_LIBRARY_PATH", "").split(":") if folder]
    homes = [environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if environ.get(name)]
    toolkits = [Path(home) for home in homes] + sorted(Path("/usr/local").glob("cuda*"), reverse=True)
    for toolkit in toolkits:
        found += [toolkit / "lib64", toolkit / "targets/x86_64-linux/lib", toolkit / "lib"]
    for packages in path:
        found += sorted(Path(packages or ".").glob("nvidia/*/lib"))
    found += [Path("/usr/local/nvidia/lib64"), Path("/usr/lib/x86_64-linux-gnu"), Path("/usr/lib64"), Path("/usr/lib/wsl/lib")]
    return list(dict.fromkeys(folder for folder in found if folder.is_dir()))


def known_to_loader():
    """Libraries in the cache of the dynamic loader, by name."""
    try:
        text = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return {}
    lines = re.findall(r"^\s*(\S+) \(.*x86-64.*\) => (\S+)$", text, re.MULTILINE)
    return {name: Path(path) for name, path in reversed(lines)}


def find(folders, cached):
    """Where each library lies: the first folder that has it, else the loader's cache. None where it is missing."""
    found = {}
    for name in (*NEEDED, *OPTIONAL):
        here = [folder / name for folder in folders if (folder / name).exists()]
        found[name] = here[0] if here else cached.get(name)
    return found


def missing(found):
    return [name for name in NEEDED if found[name] is None]


def search_path(found):
    """The value of LD_LIBRARY_PATH with which the server finds them."""
    folders = [str(path.parent) for name, path in found.items() if path is not None and name != DRIVER]
    if found[DRIVER] is not None:
        folders.append(str(found[DRIVER].parent))
    return ":".join(dict.fromkeys(folders))


def complaint(absent, folders):
    """The error about missing libraries: what, where it was looked for, what to do."""
    shown = ", ".join(map(str, folders)) or "no folder"
    said = [f"missing libraries: {', '.join(absent)}; looked in {shown} and in the loader's cache (ldconfig -p)"]
    if DRIVER in absent:
        said.append(f"{DRIVER} comes with the driver of the GPU")
    if absent != [DRIVER]:
        said.append(f"install CUDA 13 and cuDNN 9, or the Python packages {PACKAGES}, or name their folders with --libraries DIR")
    return "; ".join(said)


def load(found):
    """Opens the libraries in this process, without a GPU being used; returns the faults."""
    faults = []
    for name in ORDER:
        try:
            ctypes.CDLL(str(found[name]), mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            faults.append(f"{found[name]} cannot be opened: {error}")
    return faults
