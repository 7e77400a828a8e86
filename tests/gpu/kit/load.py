"""Runs `ortus-loadtest`: the load on a server, and ONNX Runtime in a loop without one."""

import json
import subprocess

from .pieces import KitError


def command_of_load(setting, server, model, sample, *, in_flight, seconds, warm_up=0.3, connections=4):
    return [
        str(setting.program("ortus-loadtest")), "load", "--grpc", server.ports["grpc"], "--model", model,
        "--sample", str(sample), "--closed", str(in_flight), "--connections", str(connections),
        "--seconds", str(seconds), "--warm-up", str(warm_up), "--pid", str(server.process.pid),
    ]  # fmt: skip


def read_load(stdout, stderr, code):
    """The figures of a load; raises where a request was lost or answered with an error."""
    lines = stdout.strip().splitlines()
    if not lines:
        raise KitError(f"ortus-loadtest load printed nothing: {stderr.strip()[-500:]}")
    figures = json.loads(lines[-1])
    lost = {key: figures[key] for key in ("wrong", "overloaded", "expired", "errors") if figures.get(key)}
    if lost:
        raise KitError(f"requests were lost: {lost}; first: {figures.get('first_fault')}")
    # A generator that was late itself spoils latencies only, which are not reported here.
    if code != 0 and not figures.get("void"):
        raise KitError(f"ortus-loadtest load failed: {stderr.strip()[-500:]}")
    return figures


def run(command, env, clock):
    """Runs a program to its end within the step's time."""
    try:
        ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=clock.left())
    except subprocess.TimeoutExpired:
        clock.left()
        raise
    return ran


def load(setting, server, model, sample, clock, **pace):
    """The figures of a load; one in which a slow machine finished no request is repeated for twice as long."""
    while True:
        ran = run(command_of_load(setting, server, model, sample, **pace), server.env, clock)
        figures = read_load(ran.stdout, ran.stderr, ran.returncode)
        if figures["right"]:
            return figures
        pace["seconds"] *= 2


def raw(setting, folder, model, rows, clock, lanes=None, *more):
    """What ONNX Runtime alone reaches, for each number of rows with each number of sessions."""
    text = lambda numbers: ",".join(map(str, numbers))
    # As long as the rows of the requests.
    sample = json.loads((setting.kit / "models" / model / "sample.json").read_text())
    length = sample["inputs"][0]["shape"][1]
    command = [
        str(setting.program("ortus-loadtest")), "raw", "--model", str(setting.kit / "models" / model / "1/model.onnx"),
        "--library", str(setting.library), "--provider", setting.provider, "--rows", text(rows),
        "--lanes", text(lanes or setting.size.raw_lanes), "--seconds", str(setting.size.raw_seconds), "--length", str(length), *more,
    ]  # fmt: skip
    ran = run(command, setting.environment(folder), clock)
    if ran.returncode != 0:
        raise KitError(f"ortus-loadtest raw failed on {model}: {ran.stderr.strip()[-500:]}")
    return [json.loads(line) for line in ran.stdout.splitlines()]
