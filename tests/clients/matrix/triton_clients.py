"""Every public method of tritonclient's four clients.

usage: triton_clients.py HTTP_ADDRESS GRPC_ADDRESS

The server has explicit model control, shared memory, client settings and traces on.
"""

import asyncio
import queue
import sys

import numpy as np
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
import tritonclient.utils.shared_memory as shm
from record import Matrix, Reference, finished

NO_CUDA = "UNIMPLEMENTED: CUDA shared memory"


def arrays(result, reference):
    return {name: result.as_numpy(name) for name in reference.outputs}


def given(module, reference):
    tensors = []
    for name, values in reference.inputs.items():
        tensor = module.InferInput(name, list(values.shape), "FP32")
        tensor.set_data_from_numpy(values)
        tensors.append(tensor)
    return tensors


def get(answer, key):
    """A field of an answer, which is a dictionary over HTTP."""
    return answer[key] if isinstance(answer, dict) else getattr(answer, key)


def calls(label, module, classes, address, reference, loop):
    end = finished(loop)
    client = end(made(module, address))
    matrix = Matrix(label, module.InferenceServerClient, ["plugin", "register_plugin", "unregister_plugin"])
    name = reference.name
    same = lambda value, wanted: assert_equal(value, wanted)

    matrix.works("is_server_live", lambda: same(end(client.is_server_live()), True))
    matrix.works("is_server_ready", lambda: same(end(client.is_server_ready()), True))
    matrix.works("get_server_metadata", lambda: same("classification" in get(end(client.get_server_metadata()), "extensions"), True))
    matrix.works("load_model", lambda: end(client.load_model(name)))
    matrix.works("is_model_ready", lambda: same(end(client.is_model_ready(name)), True))
    matrix.works("get_model_metadata", lambda: same(
        {get(tensor, "name") for tensor in get(end(client.get_model_metadata(name)), "inputs")}, set(reference.inputs)))
    matrix.works("get_model_config", lambda: same(config_name(end(client.get_model_config(name))), name))
    matrix.works("get_model_repository_index", lambda: same(
        [get(m, "state") for m in models_of(end(client.get_model_repository_index())) if get(m, "name") == name], ["READY"]))

    matrix.works("infer", lambda: reference.check(arrays(end(client.infer(name, given(classes, reference))), reference)))
    if "async_infer" in matrix.left:
        matrix.works("async_infer", lambda: reference.check(arrays(later(client, classes, reference), reference)))
    if "start_stream" in matrix.left:
        stream(matrix, client, classes, reference)
    if "stream_infer" in matrix.left:
        matrix.works("stream_infer", lambda: end(streamed(client, classes, reference)))
    if "generate_request_body" in matrix.left:
        body = lambda: classes.InferenceServerClient.generate_request_body(given(classes, reference))
        matrix.works("generate_request_body", lambda: same(len(body()[0]) > 0, True))
        matrix.works("parse_response_body", lambda: reference.check(parsed(address, classes, body(), reference)))
    matrix.works("get_inference_statistics", lambda: same(
        int(get(get(get(get(end(client.get_inference_statistics(name)), "model_stats")[0], "inference_stats"), "success"), "count")) > 0, True))

    matrix.works("get_log_settings", lambda: same(bool(end(client.get_log_settings())), True))
    matrix.works("update_log_settings", lambda: end(client.update_log_settings({"log_verbose_level": 0})))
    matrix.works("get_trace_settings", lambda: same(bool(end(client.get_trace_settings(name))), True))
    matrix.works("update_trace_settings", lambda: same("10" in str(end(client.update_trace_settings(settings={"trace_rate": "10"}))), True))
    matrix.refused("update_trace_settings", lambda: end(client.update_trace_settings(name, {"trace_rate": "10"})),
                   "same for all models", "UNIMPLEMENTED: all models have the same", "for one model")

    region = shm.create_shared_memory_region("sums", "/ortus-matrix", 64)
    try:
        matrix.works("register_system_shared_memory", lambda: end(client.register_system_shared_memory("sums", "/ortus-matrix", 64)))
        matrix.works("get_system_shared_memory_status", lambda: same("sums" in str(end(client.get_system_shared_memory_status())), True))
        matrix.works("unregister_system_shared_memory", lambda: end(client.unregister_system_shared_memory("sums")))
    finally:
        shm.destroy_shared_memory_region(region)
    matrix.works("get_cuda_shared_memory_status", lambda: end(client.get_cuda_shared_memory_status()))
    matrix.refused("register_cuda_shared_memory", lambda: end(client.register_cuda_shared_memory("gpu", b"aGFuZGxl", 0, 64)), "CUDA", NO_CUDA)
    matrix.works("unregister_cuda_shared_memory", lambda: end(client.unregister_cuda_shared_memory()))

    matrix.works("unload_model", lambda: end(client.unload_model(name)))
    matrix.works("close", lambda: end(client.close()))
    matrix.end()


async def made(module, address):
    """Asynchronous clients must be made inside the loop."""
    return module.InferenceServerClient(address)


def assert_equal(value, wanted):
    assert value == wanted, (value, wanted)


def models_of(index):
    return index if isinstance(index, list) else index.models


def config_name(config):
    return config["name"] if isinstance(config, dict) else config.config.name


def later(client, classes, reference):
    """The result of an asynchronous call of a synchronous client."""
    if classes is tritonclient.http:
        return client.async_infer(reference.name, given(classes, reference)).get_result()
    answers = queue.Queue()
    client.async_infer(reference.name, given(classes, reference), lambda result, error: answers.put((result, error)))
    result, error = answers.get(timeout=30)
    assert error is None, error
    return result


def stream(matrix, client, classes, reference):
    answers = queue.Queue()

    def ask():
        client.async_stream_infer(reference.name, given(classes, reference))
        result, error = answers.get(timeout=30)
        assert error is None, error
        reference.check(arrays(result, reference))

    matrix.works("start_stream", lambda: client.start_stream(lambda result, error: answers.put((result, error))))
    matrix.works("async_stream_infer", ask)
    matrix.works("stop_stream", client.stop_stream)


async def streamed(client, classes, reference):
    async def requests():
        for _ in range(3):
            yield {"model_name": reference.name, "inputs": given(classes, reference)}

    seen = 0
    async for result, error in client.stream_infer(requests()):
        assert error is None, error
        reference.check(arrays(result, reference))
        seen += 1
    assert seen == 3, seen


def parsed(address, classes, body, reference):
    """Sends the body that the client made and has the client read the answer."""
    import urllib.request

    content, length = body
    headers = {"Inference-Header-Content-Length": str(length)} if length else {}
    request = urllib.request.Request(f"http://{address}/v2/models/{reference.name}/infer", content, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        header = answer.headers.get("Inference-Header-Content-Length")
        result = classes.InferenceServerClient.parse_response_body(answer.read(), header_length=header and int(header))
    return arrays(result, reference)


def main():
    http, rpc = sys.argv[1:]
    reference = Reference("digits")
    loop = asyncio.new_event_loop()
    for label, module, classes, address in (
        ("tritonclient.grpc", tritonclient.grpc, tritonclient.grpc, rpc),
        ("tritonclient.grpc.aio", tritonclient.grpc.aio, tritonclient.grpc, rpc),
        ("tritonclient.http", tritonclient.http, tritonclient.http, http),
        ("tritonclient.http.aio", tritonclient.http.aio, tritonclient.http, http),
    ):
        calls(label, module, classes, address, reference, loop)


main()
