"""What the monitor costs: server CPU per request with it on over off, alternated.

python loadtest/tax.py ORTUS LOADTEST MODELS MODEL SAMPLE [IN_FLIGHT] [ROUNDS] [SECONDS]

What else is on with the monitor stands in TAX_WITH, such as "capture.share=0.1 traces.share=0.01".

Two servers of the same models run side by side, one with `monitor.enabled=false`; rounds alternate which is asked first.
A model near the limit of 300 µs may be run in place by one server and by a lane in the other; such a pair is started anew.
Prints a line of JSON: the rounds' ratios, their median, and both medians in CPU-µs per request.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile

ortus, loadtest, models, model, sample = sys.argv[1:6]
in_flight, rounds, seconds = (sys.argv[6:] + ["64", "6", "3"][len(sys.argv) - 6 :])[:3]
env = dict(os.environ, ORT_DISABLE_TELEMETRY="1")


def start(on):
    ports = tempfile.mktemp()
    flags = [f"--{p}=127.0.0.1:0" for p in ("http", "grpc", "ops", "operator")]
    flags += ["--set", f"monitor.enabled={str(on).lower()}", "--log-level", "error", "--ports-file", ports]
    for setting in os.environ.get("TAX_WITH", "").split() if on else []:
        flags += ["--set", setting]
    server = subprocess.Popen([ortus, "serve", "--models", models, *flags], env=env, stdout=subprocess.PIPE)
    server.stdout.readline()
    with open(ports) as file:
        return server, json.load(file)


def ask(server, ports, seconds):
    run = [loadtest, "run", "--grpc", ports["grpc"], "--model", model, "--sample", sample]
    run += ["--closed", in_flight, "--seconds", seconds, "--pid", str(server.pid)]
    out = subprocess.run(run, env=env, capture_output=True, text=True, check=True).stdout
    figures = json.loads(out.strip().splitlines()[-1])
    return next(v for k, v in figures.items() if "cpu" in k.lower())


def stop(*servers):
    for server, _ in servers:
        server.terminate()
        server.wait()


for _ in range(8):
    on, off = start(True), start(False)
    a, b = ask(*on, "2"), ask(*off, "2")
    if 0.7 < a / b < 1.4:
        break
    stop(on, off)
else:
    sys.exit("no pair of servers ran the model alike")
got = []
for i in range(int(rounds)):
    pair = {}
    for name, server in ([("on", on), ("off", off)] if i % 2 else [("off", off), ("on", on)]):
        pair[name] = ask(*server, seconds)
    got.append(pair)
stop(on, off)
ratios = [p["on"] / p["off"] for p in got]
median = lambda name: round(statistics.median(p[name] for p in got), 2)
print(
    json.dumps(
        {
            "model": model,
            "in_flight": int(in_flight),
            "ratio": round(statistics.median(ratios), 3),
            "ratios": [round(r, 3) for r in ratios],
            "on_us": median("on"),
            "off_us": median("off"),
        }
    )
)
