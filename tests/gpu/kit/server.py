"""Starts `ortus serve` on ports of 127.0.0.1 that the system chose, asks it over HTTP, and stops it."""

import http.client
import json
import os
import select
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from .pieces import DATE, KitError

PORTS = ("http", "grpc", "ops", "operator")


class Refused(KitError):
    """An HTTP answer other than 200."""


def copy_model(kit, name, target, version=1, note=""):
    """Puts a version of a model of the kit into a model directory: written aside, then renamed.

    `note` makes the file another one with the same graph: it is appended as a property of the model's metadata.
    """
    staging = target.parent / f".{target.name}-{version}"
    staging.mkdir(parents=True)
    file = staging / "model.onnx"
    file.write_bytes((kit / "models" / name / "1/model.onnx").read_bytes() + property_bytes(note))
    os.utime(file, (DATE, DATE))
    target.mkdir(exist_ok=True)
    os.replace(staging, target / str(version))


def property_bytes(note):
    """An entry of ModelProto's metadata_props (field 14) in the protobuf encoding."""
    if not note:
        return b""
    field = lambda number, payload: bytes([number << 3 | 2, len(payload)]) + payload
    return field(14, field(1, b"gpu-kit") + field(2, note.encode()))


class Server:
    """A running server. `with Server(...)` stops it in the end, whatever happened."""

    def __init__(self, setting, clock, models, *, defaults=(), tables=(), control="poll", env=()):
        self.setting, self.clock, self.models = setting, clock, models
        self.folder = models.parent
        lines = ["[models.defaults]", *defaults, *tables]
        (self.folder / "ortus.toml").write_text("\n".join(lines) + "\n")
        self.command = [
            str(setting.program("ortus")), "serve", "--models", str(models), "--config", str(self.folder / "ortus.toml"),
            "--ort-lib", str(setting.library), "--offline", "--model-control", control,
            "--ports-file", str(self.folder / "ports.json"), "--set", "server.drain_delay=0s",
            "--set", "models.poll=50ms", "--set", "models.settle=50ms",
        ]  # fmt: skip
        for port in PORTS:
            self.command += [f"--{port}", "127.0.0.1:0"]
        self.env = setting.environment(self.folder) | dict(env)
        self.process = None

    def __enter__(self):
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                self.command, env=self.env, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, text=True
            )
        try:
            self.start_line = self.wait_until_started()
            self.ports = json.loads((self.folder / "ports.json").read_text())
        except BaseException:
            self.__exit__()
            raise
        return self

    def wait_until_started(self):
        ready, _, _ = select.select([self.process.stdout], [], [], self.clock.left())
        self.clock.left()
        line = self.process.stdout.readline().strip() if ready else ""
        if not line.startswith(("ready: ", "not ready: ")):
            raise KitError(f"the server did not start: {line or self.last_log()}")
        return line

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()

    def log(self):
        return (self.folder / "server.log").read_text(errors="replace")

    def last_log(self, lines=3):
        return " | ".join(self.log().splitlines()[-lines:])

    def ask(self, method, path, body=None):
        """Asks over HTTP and returns the JSON of the answer."""
        host, port = self.ports["http"].rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=self.clock.left())
        try:
            connection.request(method, path, body=body)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise KitError(f"{method} {path}: {describe(error)}; the server's log ends: {self.last_log()}") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise Refused(f"{method} {path}: {answer.status} {text[:500].decode(errors='replace')}")
        return json.loads(text) if text.strip() else {}

    def infer(self, model, body):
        return self.ask("POST", f"/v2/models/{model}/infer", body)

    def explain(self, model):
        """What the scheduler says of the newest version, as `ortus explain` prints it."""
        command = [self.command[0], "explain", model, "--server", self.ports["operator"], "--json"]
        ran = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=self.clock.left())
        if ran.returncode != 0:
            raise KitError(f"ortus explain failed: {ran.stderr.strip()[-500:]}")
        return json.loads(ran.stdout)

    def properties(self, model):
        return self.ask("GET", f"/v2/models/{model}").get("properties", {})

    def reasons(self):
        """Why versions are not served, by model."""
        index = self.ask("POST", "/v2/repository/index", b"{}")
        return {entry["name"]: entry.get("reason", "") for entry in index if entry.get("state") != "READY"}

    def require_ready(self):
        if not self.start_line.startswith("ready: "):
            raise KitError(f"the server refused models: {self.reasons()}; its log ends: {self.last_log()}")


def describe(error):
    return "no answer in time" if isinstance(error, socket.timeout) else str(error) or type(error).__name__


def fresh_folder(work, name):
    """An empty folder with an empty model directory in it; returns the latter."""
    folder = Path(work) / name
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "models").mkdir(parents=True)
    return folder / "models"
