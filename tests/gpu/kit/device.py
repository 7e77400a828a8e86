"""What the GPU, the system and a process say of themselves: nvidia-smi, glibc, /proc."""

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from .pieces import KitError

# The oldest driver that runs CUDA 13.
DRIVER_MIN = 580
MIB = 1 << 20


def query(fields, device, timeout=20):
    """Values that nvidia-smi prints for one GPU."""
    program = shutil.which("nvidia-smi")
    if program is None:
        raise KitError("nvidia-smi is not on the PATH: is this a machine with an NVIDIA GPU and its driver?")
    command = [program, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits", "-i", device]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise KitError(f"nvidia-smi did not answer within {timeout:.0f} s") from error
    lines = ran.stdout.strip().splitlines()
    if ran.returncode != 0 or not lines:
        raise KitError(f"nvidia-smi failed: {(ran.stderr or ran.stdout).strip() or 'it prints nothing'}")
    values = [value.strip() for value in lines[0].split(",")]
    if len(values) != len(fields):
        raise KitError(f"nvidia-smi printed {lines[0]!r}, which does not have {len(fields)} values")
    return values


def describe(device):
    """Name, memory and driver of the GPU; refuses a driver that is too old."""
    name, memory, driver = query(["name", "memory.total", "driver_version"], device)
    major = re.match(r"\d+", driver)
    if major is None or int(major.group()) < DRIVER_MIN:
        raise KitError(f"the driver is {driver}; CUDA 13 needs {DRIVER_MIN} or newer")
    return {"gpu": name, "gpu_memory_mib": float(memory), "driver": driver}


def gpu_used_mib(device):
    """Memory in use on the GPU, by all processes."""
    value = query(["memory.used"], device)[0]
    try:
        return float(value)
    except ValueError as error:
        raise KitError(f"nvidia-smi gives memory.used as {value!r}") from error


def system():
    """Facts about the machine."""
    cpu = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "machine": platform.machine(),
        "cpu": cpu.group(1) if cpu else "unknown",
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "glibc": platform.libc_ver()[1],
        "python": platform.python_version(),
    }


def check_system(facts, about):
    """Refuses a machine on which the programs of the kit cannot run."""
    if facts["machine"] != about["machine"]:
        raise KitError(f"the programs are built for {about['machine']}, and this machine is {facts['machine']}")
    number = lambda text: tuple(int(part) for part in text.split(".") if part.isdigit())
    if facts["glibc"] and number(facts["glibc"]) < number(about["glibc"]):
        raise KitError(
            f"the programs need glibc {about['glibc']}, and this machine has {facts['glibc']}; "
            "pack on a machine whose glibc is as old as this one's"
        )


def resident_mib(pid):
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def mapped(pid):
    """The names of shared libraries that a process has in memory."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    paths = {line.split(maxsplit=5)[5] for line in lines if len(line.split(maxsplit=5)) == 6}
    return {Path(path).name: path for path in sorted(paths) if ".so" in path}


def slope(points):
    """The least-squares slope of (x, y) points; 0 for fewer than two."""
    if len(points) < 2:
        return 0.0
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
