"""Asks two servers for the same ragged requests in turns, one that pads and one that does not.

measure.py ORTUS SECONDS: needs the packages onnx and numpy. The servers share core 0, this program runs on core 1.
Prints one line for each model, number of requests in flight, and server: the median of the rounds.
"""

import asyncio
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ORTUS, SECONDS = sys.argv[1], float(sys.argv[2])
HERE = os.path.dirname(os.path.abspath(__file__))
ROUNDS = 4
# Layers, width, longest request, lengths of the padding.
MODELS = {
    "m5": (4, 128, 128, [16, 32, 48, 64, 96, 128]),
    "small": (2, 32, 32, [8, 16, 24, 32]),
    "tiny": (1, 16, 16, [16]),
}


class Server:
    def __init__(self, folder, name, padding):
        self.padding, self.name = padding, name
        ports = os.path.join(folder, f"{name}-{padding}.json")
        lengths = MODELS[name][3]
        declared = f'model.{name}.padding={{ lengths = {lengths}, inputs = {{ input_ids = 0 }}, mask = "attention_mask" }}'
        command = ["taskset", "-c", "0", ORTUS, "serve", "--models", os.path.join(folder, "models"), "--ports-file", ports]
        for listener in ("http", "grpc", "ops", "operator"):
            command += [f"--{listener}", "127.0.0.1:0"]
        command += ["--set", declared] if padding else []
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout.readline().startswith("ready")
        listeners = json.load(open(ports))
        self.http, self.ops = listeners["http"], listeners["ops"]
        while padding and not self.metric("ortus_padding_active{"):
            time.sleep(0.1)

    def metric(self, prefix):
        text = urllib.request.urlopen(f"http://{self.ops}/metrics").read().decode()
        found = re.search("^" + re.escape(prefix) + r".* (\S+)$", text, re.MULTILINE)
        return float(found.group(1)) if found else 0.0

    def state(self):
        ticks = open(f"/proc/{self.process.pid}/stat").read().rsplit(") ", 1)[1].split()
        return {
            "cpu": (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK"),
            "batches": self.metric("ortus_batch_rows_count{"),
            "rows": self.metric("ortus_batch_rows_sum{"),
            "real": self.metric('ortus_padding_tokens_total{kind="real"'),
            "padded": self.metric('ortus_padding_tokens_total{kind="padded"'),
        }


def request(name, length):
    ids = [1 + (7 * at + length) % 999 for at in range(length)]
    tensor = lambda key, values: {"name": key, "datatype": "INT64", "shape": [1, length], "data": values}
    body = json.dumps({"inputs": [tensor("input_ids", ids), tensor("attention_mask", [1] * length)]}).encode()
    head = f"POST /v2/models/{name}/infer HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def ask(reader, writer, message):
    writer.write(message)
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 200 " in head.split(b"\r\n")[0], head
    length = int(re.search(rb"content-length: (\d+)", head).group(1))
    return await reader.readexactly(length)


async def client(server, requests, seed, until, times):
    reader, writer = await asyncio.open_connection(*server.http.split(":"))
    choice = random.Random(seed)
    while time.perf_counter() < until:
        start = time.perf_counter()
        await ask(reader, writer, choice.choice(requests))
        times.append(time.perf_counter() - start)
    writer.close()


async def load(server, requests, in_flight, seconds):
    times, until = [], time.perf_counter() + seconds
    await asyncio.gather(*(client(server, requests, seed, until, times) for seed in range(in_flight)))
    return times


def measured(server, requests, in_flight):
    before, start = server.state(), time.perf_counter()
    times = sorted(asyncio.run(load(server, requests, in_flight, SECONDS)))
    took, after = time.perf_counter() - start, server.state()
    change = {key: after[key] - before[key] for key in before}
    tokens = change["real"] + change["padded"]
    return {
        "requests/s": len(times) / took,
        "CPU ms": 1e3 * change["cpu"] / len(times),
        "p50 ms": 1e3 * times[len(times) // 2],
        "p99 ms": 1e3 * times[len(times) * 99 // 100],
        "rows a batch": change["rows"] / change["batches"],
        "padded %": 100 * change["padded"] / tokens if tokens else 0.0,
    }


async def answers(server, requests):
    """The answers to all requests, asked together."""

    async def one(message):
        reader, writer = await asyncio.open_connection(*server.http.split(":"))
        answer = json.loads(await ask(reader, writer, message))
        writer.close()
        return answer["outputs"][0]["data"]

    return await asyncio.gather(*map(one, requests))


def largest_difference(plain, padded, requests):
    pairs = zip(asyncio.run(answers(plain, requests)), asyncio.run(answers(padded, requests)))
    return max(max(abs(a - b) for a, b in zip(x, y)) / max(map(abs, x)) for x, y in pairs)


def main():
    os.sched_setaffinity(0, {1})
    print("model in_flight server " + " ".join(["requests/s", "CPU_ms", "p50_ms", "p99_ms", "rows_a_batch", "padded_%"]))
    for name, (layers, width, longest, _) in MODELS.items():
        with tempfile.TemporaryDirectory() as folder:
            version = os.path.join(folder, "models", name, "1")
            os.makedirs(version)
            file = os.path.join(version, "model.onnx")
            subprocess.run([sys.executable, os.path.join(HERE, "model.py"), file, str(layers), str(width)], check=True)
            servers = [Server(folder, name, padding) for padding in (False, True)]
            requests = [request(name, length) for length in range(1, longest + 1)]
            for in_flight in (1, 8, 32):
                found = {server: [] for server in servers}
                for server in servers:
                    asyncio.run(load(server, requests, in_flight, 2))
                for turn in range(ROUNDS):
                    for server in servers if turn % 2 == 0 else reversed(servers):
                        found[server].append(measured(server, requests, in_flight))
                for server in servers:
                    medians = [statistics.median(one[key] for one in found[server]) for key in found[server][0]]
                    word = "padded" if server.padding else "plain"
                    print(name, in_flight, word, " ".join(f"{median:.4g}" for median in medians), flush=True)
            print(f"{name}: largest difference of an answer, as a share of its largest value: {largest_difference(*servers, requests):.2g}", flush=True)
            for server in servers:
                server.process.terminate()
                server.process.wait()


main()
