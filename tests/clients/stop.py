"""Clients that ask without a pause while a server stops. Prints `busy` once each has answers or
failed, then the failure that ended each.

usage: stop.py HTTP_ADDRESS GRPC_ADDRESS MODEL_FOLDER
"""

import http.client
import json
import pathlib
import sys
import threading

import numpy as np
import tritonclient.grpc as over_grpc
import tritonclient.http as over_http

TYPES = {"FP32": np.float32, "INT64": np.int64, "BYTES": np.object_}
# Answers of each client before the server is stopped.
ANSWERS = 20


def triton(module, address, folder, body):
    client = module.InferenceServerClient(address)
    tensors = []
    for entry in json.loads(body)["inputs"]:
        values = np.array(entry["data"], dtype=TYPES[entry["datatype"]]).reshape(entry["shape"])
        tensors.append(module.InferInput(entry["name"], entry["shape"], entry["datatype"]))
        tensors[-1].set_data_from_numpy(values)
    return lambda: client.infer(folder.name, tensors)


def standard(address, folder, body):
    connection = http.client.HTTPConnection(address)

    def ask():
        # The connection opens itself again where the server closed it.
        connection.request("POST", f"/v2/models/{folder.name}/infer", body)
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {text}")

    return ask


def ask_until_refused(name, ask, busy, fates):
    for count in range(sys.maxsize):
        try:
            ask()
        except Exception as failure:
            fates.append(f"{name}: {type(failure).__name__}: {failure}")
            busy.release()
            return
        if count == ANSWERS:
            busy.release()


def main(http_address, grpc_address, folder):
    folder = pathlib.Path(folder)
    body = (folder / "sample.json").read_text()
    makers = {
        "tritonclient over gRPC": lambda: triton(over_grpc, grpc_address, folder, body),
        "tritonclient over HTTP": lambda: triton(over_http, http_address, folder, body),
        "http.client": lambda: standard(http_address, folder, body),
    }
    busy, fates, threads = threading.Semaphore(0), [], []

    def client(name):
        ask_until_refused(name, makers[name](), busy, fates)

    for name in makers:
        threads += [threading.Thread(target=client, args=(name,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in threads:
        busy.acquire()
    print("busy", flush=True)

    for thread in threads:
        thread.join()
    for fate in fates:
        print(" ".join(fate.split()))


main(*sys.argv[1:])
