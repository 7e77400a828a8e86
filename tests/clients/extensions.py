"""Calls the extensions of Triton with its own client and compares with plain requests: classification,
streams, shared memory, statistics, strings of any bytes.

usage: extensions.py HTTP_ADDRESS GRPC_ADDRESS

The server serves the example models, `echo` (BYTES, the identity) and has shared memory on.
"""

import json
import queue
import sys
import urllib.request

import numpy as np
import tritonclient.grpc as over_grpc
import tritonclient.http as over_http
import tritonclient.utils.shared_memory as shm
from tritonclient.utils import InferenceServerException

IMAGES = np.random.default_rng(1).uniform(0, 16, (5, 1, 8, 8)).astype(np.float32)
STREAMED = 200


def digits(module, images=IMAGES):
    tensor = module.InferInput("image", list(images.shape), "FP32")
    tensor.set_data_from_numpy(images)
    return tensor


def classification(module, client, scores):
    wanted = module.InferRequestedOutput("probabilities", class_count=3)
    rows = client.infer("digits", [digits(module)], outputs=[wanted]).as_numpy("probabilities")
    assert rows.shape == (5, 3), rows.shape
    for row, of in zip(rows, scores, strict=True):
        order = np.argsort(-of, kind="stable")[:3]
        assert [int(text.split(b":")[1]) for text in row] == list(order)
        assert all(abs(float(text.split(b":")[0]) - of[at]) < 1e-6 for text, at in zip(row, order, strict=True))
    # Names come where the model has them.
    given = module.InferInput("x", [1, 30], "FP32")
    given.set_data_from_numpy(np.ones((1, 30), np.float32))
    wanted = module.InferRequestedOutput("probabilities", class_count=9)
    rows = client.infer("breast-cancer", [given], outputs=[wanted]).as_numpy("probabilities")
    assert sorted(text.split(b":")[1:] for text in rows[0]) == [[b"0", b"0"], [b"1", b"1"]], rows


def stream(client, scores):
    answers = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for n in range(STREAMED):
        client.async_stream_infer("digits", [digits(over_grpc, IMAGES[n % 5 : n % 5 + 1])], request_id=str(n))
    client.async_stream_infer("nobody", [digits(over_grpc)], request_id="bad")
    client.async_stream_infer("digits", [digits(over_grpc)], request_id="last", enable_empty_final_response=True)
    seen = set()
    for n in range(STREAMED):
        result, error = answers.get(timeout=30)
        assert error is None, error
        response = result.get_response()
        assert response.id == str(n), (response.id, n)
        assert np.allclose(result.as_numpy("probabilities"), scores[n % 5 : n % 5 + 1], atol=1e-6)
        seen.add(response.parameters["ortus-prediction-id"].string_param)
    assert len(seen) == STREAMED
    result, error = answers.get(timeout=30)
    assert "nobody" in str(error), error
    result, error = answers.get(timeout=30)
    assert result.get_response().id == "last" and error is None
    assert result.get_response().parameters["triton_final_response"].bool_param
    client.stop_stream()


def strict_stream(address):
    """The first refused request ends a stream that was opened so."""
    client = over_grpc.InferenceServerClient(address)
    answers = queue.Queue()
    client.start_stream(lambda result, error: answers.put(error), headers={"triton_grpc_error": "true"})
    client.async_stream_infer("nobody", [digits(over_grpc)])
    error = answers.get(timeout=30)
    assert error.status() == "StatusCode.NOT_FOUND", error
    client.stop_stream()


def shared_memory(module, client, scores):
    inputs = shm.create_shared_memory_region("images", "/ortus-images", IMAGES.nbytes)
    outputs = shm.create_shared_memory_region("scores", "/ortus-scores", scores.nbytes + 64)
    try:
        shm.set_shared_memory_region(inputs, [IMAGES])
        client.register_system_shared_memory("images", "/ortus-images", IMAGES.nbytes)
        client.register_system_shared_memory("scores", "/ortus-scores", scores.nbytes + 64)
        given = module.InferInput("image", list(IMAGES.shape), "FP32")
        given.set_shared_memory("images", IMAGES.nbytes)
        wanted = module.InferRequestedOutput("probabilities")
        wanted.set_shared_memory("scores", scores.nbytes, offset=64)
        result = client.infer("digits", [given], outputs=[wanted])
        output = result.get_output("probabilities")
        shape = output["shape"] if isinstance(output, dict) else output.shape
        assert list(shape) == [5, 10], shape
        written = shm.get_contents_as_numpy(outputs, np.float32, [5, 10], offset=64)
        assert np.allclose(written, scores, atol=1e-6)

        status = client.get_system_shared_memory_status()
        named = {region["name"] for region in status} if isinstance(status, list) else set(status.regions)
        assert named == {"images", "scores"}, named
        wanted.set_shared_memory("scores", 7)
        refused(client, module, [given], [wanted], "has 7")
        given.set_shared_memory("images", IMAGES.nbytes, offset=4)
        refused(client, module, [given], None, "are not in shared memory region")
        client.unregister_system_shared_memory("images")
        refused(client, module, [given], None, "unable to find")
        client.unregister_system_shared_memory()
    finally:
        shm.destroy_shared_memory_region(inputs)
        shm.destroy_shared_memory_region(outputs)


def refused(client, module, inputs, outputs, why):
    try:
        client.infer("digits", inputs, outputs=outputs)
    except InferenceServerException as error:
        assert why in str(error), error
        return
    raise AssertionError(f"not refused: {why}")


def statistics(http, rpc):
    of = rpc.get_inference_statistics("digits").model_stats[0]
    stats = of.inference_stats
    counts = {stats.compute_input.count, stats.compute_infer.count, stats.compute_output.count, stats.queue.count}
    assert counts == {stats.success.count} and stats.success.count > STREAMED, stats
    assert stats.compute_infer.ns > 0 and of.inference_count >= of.execution_count > 0
    assert sum(b.batch_size * b.compute_infer.count for b in of.batch_stats) == of.inference_count
    told = http.get_inference_statistics("digits")["model_stats"][0]
    assert told["inference_stats"]["success"]["count"] == stats.success.count


def strings(module, client):
    words = np.array([b"a\0b", b"\xff\xfe", b"", "ü".encode()], dtype=np.object_)
    given = module.InferInput("text", [4], "BYTES")
    given.set_data_from_numpy(words)
    assert list(client.infer("echo", [given]).as_numpy("same")) == list(words)


def json_numbers(address):
    """What Python writes comes back: NaN and infinite numbers, and null for a missing one."""
    image = IMAGES[:1].tolist()
    image[0][0][0][:3] = [float("nan"), float("inf"), None]
    body = {"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": image}]}
    request = urllib.request.Request(f"http://{address}/v2/models/digits/infer", json.dumps(body).encode())
    answer = json.loads(urllib.request.urlopen(request, timeout=30).read())
    scores = next(o["data"] for o in answer["outputs"] if o["name"] == "probabilities")
    assert any(np.isnan(scores)), scores


def settings(http, rpc):
    """Settings of the log are read and changed. Traces are off on this server, which says so."""
    before = http.get_log_settings()
    assert before["log_warning"] is True and before["log_info"] is False, before
    changed = http.update_log_settings({"log_verbose_level": 1, "log_info": True})
    assert changed["log_verbose_level"] == 1 and changed["log_info"] is True, changed
    told = rpc.get_log_settings(as_json=True)["settings"]
    assert told["log_verbose_level"]["uint32_param"] == 1, told
    rpc.update_log_settings({"log_verbose_level": 0, "log_info": False})
    assert http.get_log_settings() == before
    for update in (http.update_log_settings, rpc.update_log_settings):
        unchanged(update, {"log_file": "/tmp/log"}, "cannot be changed")

    assert http.get_trace_settings()["trace_level"] == ["OFF"]
    assert http.get_trace_settings("digits")["trace_mode"] == "opentelemetry"
    assert rpc.get_trace_settings().settings["trace_level"].value == ["OFF"]
    for client in (http, rpc):
        for settings in ({"trace_level": ["TIMESTAMPS"]}, {"trace_rate": "10"}):
            unchanged(lambda settings: client.update_trace_settings(settings=settings), settings, "traces.endpoint")
        unchanged(client.get_trace_settings, "nobody", "nobody")


def unchanged(update, settings, why):
    try:
        update(settings)
    except InferenceServerException as error:
        assert why in str(error), error
        return
    raise AssertionError(f"not refused: {settings}")


def main():
    http = over_http.InferenceServerClient(sys.argv[1])
    rpc = over_grpc.InferenceServerClient(sys.argv[2])
    scores = rpc.infer("digits", [digits(over_grpc)]).as_numpy("probabilities")
    for module, client in ((over_http, http), (over_grpc, rpc)):
        classification(module, client, scores)
        shared_memory(module, client, scores)
        strings(module, client)
    stream(rpc, scores)
    strict_stream(sys.argv[2])
    statistics(http, rpc)
    json_numbers(sys.argv[1])
    settings(http, rpc)
    for name in ("classification", "logging", "model_repository", "statistics", "system_shared_memory"):
        assert name in rpc.get_server_metadata().extensions
        assert name in http.get_server_metadata()["extensions"]
    print("every extension answers")


main()
