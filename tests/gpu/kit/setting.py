"""What one run is asked to do, and where its files are."""

import dataclasses
import os
from pathlib import Path

MODELS = ("m0", "m3", "m4", "m5")


@dataclasses.dataclass
class Size:
    """How much is measured."""

    swaps: int
    load_seconds: float
    cell_seconds: float
    raw_seconds: float
    # Sessions of ONNX Runtime alone; the best number counts.
    raw_lanes: tuple
    reloads: int


SIZES = {
    "full": Size(swaps=3, load_seconds=6, cell_seconds=1.2, raw_seconds=0.5, raw_lanes=(1, 2), reloads=50),
    "small": Size(swaps=2, load_seconds=1, cell_seconds=0.2, raw_seconds=0.05, raw_lanes=(1,), reloads=6),
}
BATCHES = (1, 8, 32)


@dataclasses.dataclass
class Setting:
    """One run."""

    kit: Path
    work: Path
    # What the manifest says of the programs and the library.
    about: dict
    provider: str
    device: str
    size: Size
    # The value of LD_LIBRARY_PATH; empty with the CPU provider.
    search_path: str = ""
    chosen_device: bool = False

    @property
    def library(self):
        return self.kit / "lib/libonnxruntime.so"

    def program(self, name):
        return self.kit / "bin" / name

    def environment(self, folder):
        """Variables for the programs; their state and caches stay below `folder`."""
        env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        env |= {"ORT_DISABLE_TELEMETRY": "1", "XDG_STATE_HOME": str(folder / "state")}
        env |= {"XDG_CACHE_HOME": str(folder / "cache"), "CUDA_CACHE_PATH": str(self.work / "cuda-cache")}
        inherited = os.environ.get("LD_LIBRARY_PATH", "")
        if path := ":".join(part for part in (self.search_path, inherited) if part):
            env["LD_LIBRARY_PATH"] = path
        if self.provider == "cuda" and self.chosen_device:
            env["CUDA_VISIBLE_DEVICES"] = self.device
        elif "CUDA_VISIBLE_DEVICES" in os.environ:
            env["CUDA_VISIBLE_DEVICES"] = os.environ["CUDA_VISIBLE_DEVICES"]
        return env

    def defaults(self, lanes, batch_rows_max=64):
        """Lines of `[models.defaults]`."""
        return [f'providers = ["{self.provider}"]', f"lanes = {lanes}", f"batch_rows_max = {batch_rows_max}"]
