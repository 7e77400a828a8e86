#!/usr/bin/env python3
"""Measures MLServer beside Ortus: `ortus-loadtest run P1` with both, A B B A, over gRPC and JSON.

    loadtest/rival/compare.py --bin target/release --out rival-report

MLServer and all that it needs are pinned in requirements.txt and are installed once, by pip, into the user's cache. For each model
every setting of SETTINGS is tried, and the one that answers most gRPC requests a second with 64 in flight is compared. The CPU time
and the memory are those of MLServer's whole process tree. Needs Python 3.10 or newer, and ORT_DYLIB_PATH or --library.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODELS = "m0,m3,m4,m5"
CORES = len(os.sched_getaffinity(0))
# Runs in the serving process; in as many processes as there are cores, beside it; and requests joined to batches.
SETTINGS = {
    "in the serving process": {"workers": 0},
    "a worker for each core": {"workers": CORES},
    "adaptive batching": {"workers": 0, "batch": {"max_batch_size": 32, "max_batch_time": 0.001}},
}
READY_S = 120
IN_FLIGHT = 64


def python_of_the_rival():
    """The interpreter of the environment in the cache, made first where it is absent."""
    requirements = HERE / "requirements.txt"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = cache / "ortus" / f"rival-mlserver-{digest}"
    python = folder / "bin" / "python"
    if not (folder / "whole").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements]
        subprocess.run(install, check=True)
        (folder / "whole").touch()
    return python


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Rival:
    """MLServer with one model and one setting; ended with all its processes when left."""

    def __init__(self, python, model_file, name, setting):
        self.folder = Path(tempfile.mkdtemp(prefix="rival-"))
        self.name = name
        http, grpc, metrics = free_ports(3)
        self.http, self.grpc = f"127.0.0.1:{http}", f"127.0.0.1:{grpc}"
        # Nothing that a comparison would charge it for: no access log, no compression, no metrics.
        server = {
            "host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics, "metrics_endpoint": None,
            "parallel_workers": setting["workers"], "debug": False, "gzip_enabled": False,
            "grpc_max_message_length": 64 << 20, "metrics_dir": str(self.folder / "metrics"),
            "environments_dir": str(self.folder / "environments"),
        }
        model = {
            "name": name, "implementation": "onnx_model.OnnxModel",
            "parameters": {"uri": str(model_file), "version": "1"}, **setting.get("batch", {}),
        }
        (self.folder / name).mkdir()
        (self.folder / "settings.json").write_text(json.dumps(server))
        (self.folder / name / "model-settings.json").write_text(json.dumps(model))
        self.log = self.folder / "log"
        one_process = setting["workers"] == 0
        environment = {
            **os.environ, "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1",
            "RIVAL_INTRA_OP_THREADS": str(CORES if one_process else 1),
        }
        start = [Path(python).with_name("mlserver"), "start", "."]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                start, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def __enter__(self):
        try:
            self.wait()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_):
        self.end()

    def wait(self):
        address = f"http://{self.http}/v2/models/{self.name}/ready"
        end = time.monotonic() + READY_S
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError):
                if urllib.request.urlopen(address, timeout=5).status == 200:
                    return
            time.sleep(0.1)
        sys.exit(f"MLServer did not get ready:\n{self.log.read_text()[-2000:]}")

    def end(self):
        # It leads a process group of its own, in which its workers are.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, 15)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, 9)
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Comparison:
    def __init__(self, arguments):
        self.arguments = arguments
        self.python = python_of_the_rival()
        self.loadtest = [str(arguments.bin / "ortus-loadtest")]
        self.library = ["--library", str(arguments.library)] if arguments.library else []
        self.models = Path(arguments.out) / "models"

    def write_models(self, names):
        command = [*self.loadtest, "models", str(self.models), *names, *self.library]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def rival(self, name, setting):
        return Rival(self.python, self.models.resolve() / name / "1" / "model.onnx", name, setting)

    def rate(self, name, setting):
        """Right answers a second; none where a setting fails."""
        folder = self.models / name
        with self.rival(name, setting) as rival:
            command = [
                *self.loadtest, "load", "--grpc", rival.grpc, "--model", name, "--sample", str(folder / "sample.json"),
                "--golden", str(folder / "golden.json"), "--check-every", "8", "--fresh", "--closed", str(IN_FLIGHT),
                "--connections", "4", "--seconds", str(self.arguments.seconds), "--warm-up", str(self.arguments.seconds / 2),
            ]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            print(f"  {name}, {setting}: {done.stderr.strip()}", file=sys.stderr)
            return None
        return json.loads(done.stdout)["rate"]

    def best(self, name):
        rates = {title: self.rate(name, setting) for title, setting in SETTINGS.items()}
        known = {title: rate for title, rate in rates.items() if rate is not None}
        if not known:
            sys.exit(f"MLServer answers {name} right with no setting")
        return max(known, key=known.get), rates

    def run(self, name):
        """The best setting, what each setting reached, and the findings of P1."""
        title, rates = self.best(name)
        given, out = self.arguments, Path(self.arguments.out) / name
        with self.rival(name, SETTINGS[title]) as rival:
            command = [
                *self.loadtest, "run", "P1", "--folder", str(self.models), "--models", name, "--protocols", "grpc,json",
                "--seconds", str(given.seconds), "--rounds", str(given.rounds), "--in-flight", given.in_flight,
                "--connections", "4",
                "--compare", rival.grpc, "--compare-http", rival.http, "--compare-pid", str(rival.process.pid),
                "--out", str(out), *self.library,
            ]
            if given.ortus:
                command += ["--ortus", str(given.ortus)]
            # It exits with 1 where a bar of Ortus is missed, too; the report is what counts.
            (out / "report.json").unlink(missing_ok=True)
            subprocess.run(command)
        if not (out / "report.json").exists():
            sys.exit(f"{name}: nothing was measured")
        report = json.loads((out / "report.json").read_text())
        return {"model": name, "setting": title, "rates": rates, "findings": report["scenarios"][0]["findings"]}


def table(results):
    lines = [
        "| model | MLServer's setting | case | MLServer, CPU µs | Ortus, CPU µs | times | MLServer, 1/s | Ortus, 1/s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        for found in result["findings"]:
            detail = found["detail"]
            if found["name"] == "peer's CPU over ours":
                figures = [detail["peer_us"], detail["ortus_us"], found["figure"], detail["peer_rate"], detail["ortus_rate"]]
                cells = [result["model"], result["setting"], found["case"], *(f"{figure:.1f}" for figure in figures)]
                lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| case | MLServer, MB | Ortus, MB | times |", "|---|---|---|---|"]
    for result in results:
        for found in result["findings"]:
            detail = found["detail"]
            if found["name"] == "peer's memory over ours":
                lines.append(f"| {found['case']} | {detail['peer_mb']:.0f} | {detail['ortus_mb']:.0f} | {found['figure']:.1f} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description="Measure MLServer beside Ortus.")
    parser.add_argument("--prepare", action="store_true", help="install MLServer, print its Python, and end")
    parser.add_argument("--bin", type=Path, default=Path("target/release"), help="folder of ortus-loadtest and ortus")
    parser.add_argument("--ortus", type=Path, help="the ortus program, where it is elsewhere")
    parser.add_argument("--library", type=Path, help="the ONNX Runtime library [default: $ORT_DYLIB_PATH]")
    parser.add_argument("--models", default=MODELS, help=f"models to compare [default: {MODELS}]")
    parser.add_argument("--in-flight", default="1,8,64", help="requests in flight [default: 1,8,64]")
    parser.add_argument("--seconds", type=float, default=2.0, help="the length of one measurement")
    parser.add_argument("--rounds", type=int, default=4, help="how often each side is measured")
    parser.add_argument("--out", default="rival-report", help="where reports are written, one for each model")
    arguments = parser.parse_args()
    if arguments.prepare:
        print(python_of_the_rival())
        return
    comparison = Comparison(arguments)
    names = arguments.models.split(",")
    comparison.write_models(names)
    results = [comparison.run(name) for name in names]
    out = Path(arguments.out)
    (out / "rival.json").write_text(json.dumps({"settings": SETTINGS, "results": results}, indent=1) + "\n")
    (out / "README.md").write_text(table(results))
    print(table(results))


if __name__ == "__main__":
    main()
