"""The ONNX project's own cases of single operators, served and compared with ONNX Runtime in this process.

usage: nodes.py make FOLDER               writes the models, and beside them inputs and expected outputs
       nodes.py check FOLDER HTTP GRPC    asks a server that serves FOLDER/models, over gRPC, in binary and in JSON

The first step needs `onnx` and `onnxruntime`, the second `tritonclient`.
"""

import base64
import json
import os
import pathlib
import sys
import urllib.error
import urllib.request

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np

# Their outputs differ from run to run.
RANDOM = ("Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
DATATYPES = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "int8": "INT8",
    "int16": "INT16", "int32": "INT32", "int64": "INT64", "float16": "FP16", "bfloat16": "BF16", "float32": "FP32",
    "float64": "FP64", "object": "BYTES",
}
RTOL, ATOL = 1e-5, 1e-6


def raw(array):
    """The bytes of a tensor on the wire."""
    if array.dtype != object:
        return np.ascontiguousarray(array).tobytes()
    texts = [t if isinstance(t, bytes) else str(t).encode() for t in array.reshape(-1)]
    return b"".join(len(t).to_bytes(4, "little") + t for t in texts)


def described(name, array):
    return {"name": name, "datatype": DATATYPES[str(array.dtype)], "shape": list(array.shape), "raw": base64.b64encode(raw(array)).decode()}


def array_of(value):
    """An input as an array; none if it is a sequence, or left out."""
    import onnx
    from onnx import numpy_helper

    if isinstance(value, onnx.TensorProto):
        value = numpy_helper.to_array(value)
    if isinstance(value, (list, type(None))) or not hasattr(value, "dtype"):
        return None
    array = np.asarray(value)
    return array.astype(object) if array.dtype.kind in "SU" else array


def make(folder):
    import onnx
    import onnxruntime
    from onnx.backend.test.case.node import collect_testcases

    onnxruntime.set_default_logger_severity(4)
    counts = {"made": 0, "not run by ONNX Runtime": 0, "random": 0, "not tensors of the wire": 0}
    cases = {}
    for case in collect_testcases(None):
        model = case.model.SerializeToString()
        if any(node.op_type in RANDOM for node in case.model.graph.node):
            counts["random"] += 1
            continue
        given, _ = case.data_sets[0]
        names = [end.name for end in case.model.graph.input]
        inputs = {name: array_of(value) for name, value in zip(names, given)}
        types = [end.type.WhichOneof("value") for end in (*case.model.graph.input, *case.model.graph.output)]
        if any(array is None for array in inputs.values()) or set(types) - {"tensor_type"}:
            counts["not tensors of the wire"] += 1
            continue
        try:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            feed = {name: onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(array, end.type.tensor_type.elem_type) if str(array.dtype) == "bfloat16" else array for (name, array), end in zip(inputs.items(), case.model.graph.input)}
            if any(str(array.dtype) == "bfloat16" for array in inputs.values()):
                feed = {name: value if hasattr(value, "data_type") else onnxruntime.OrtValue.ortvalue_from_numpy(value) for name, value in feed.items()}
                outputs = [value.numpy() for value in session.run_with_ort_values(None, feed)]
            else:
                outputs = session.run(None, feed)
        except Exception:
            counts["not run by ONNX Runtime"] += 1
            continue
        outputs = dict(zip([end.name for end in session.get_outputs()], outputs))
        arrays = [*inputs.values(), *outputs.values()]
        if any(str(getattr(array, "dtype", "")) not in DATATYPES for array in arrays):
            counts["not tensors of the wire"] += 1
            continue
        place = pathlib.Path(folder, "models", case.name, "1")
        place.mkdir(parents=True)
        (place / "model.onnx").write_bytes(model)
        cases[case.name] = {
            "inputs": [described(name, array) for name, array in inputs.items()],
            "outputs": [described(name, array) for name, array in outputs.items()],
        }
        counts["made"] += 1
    pathlib.Path(folder, "cases.json").write_text(json.dumps(cases))
    print("; ".join(f"{count} {what}" for what, count in counts.items()))


def elements(tensor, data):
    """The elements of bytes of the wire, comparable."""
    kind = tensor["datatype"]
    if kind == "BYTES":
        texts = []
        while data:
            length = int.from_bytes(data[:4], "little")
            texts.append(data[4 : 4 + length])
            data = data[4 + length :]
        return texts
    if kind == "BF16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    dtype = next(name for name, known in DATATYPES.items() if known == kind)
    return np.frombuffer(data, np.dtype(dtype).newbyteorder("<"))


def differs(expected, datatype, shape, data):
    """Says how an output differs from the expected one."""
    if (datatype, list(shape)) != (expected["datatype"], expected["shape"]):
        return f"{expected['name']}: {datatype} {list(shape)}, not {expected['datatype']} {expected['shape']}"
    wanted, found = (elements(expected, part) for part in (base64.b64decode(expected["raw"]), data))
    if isinstance(wanted, list):
        same = wanted == found
    elif wanted.dtype.kind == "f":
        same = wanted.shape == found.shape and np.allclose(found.astype("f8"), wanted.astype("f8"), RTOL, ATOL, equal_nan=True)
    else:
        same = np.array_equal(found, wanted)
    return None if same else f"{expected['name']}: {found[:4]}, not {wanted[:4]}"


def post(address, name, body, headers=None):
    request = urllib.request.Request(f"http://{address}/v2/models/{name}/infer", body, headers or {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        raise RuntimeError(error.read().decode()) from None


def over_grpc(stub, messages, name, case):
    """One request with raw contents."""
    request = messages.ModelInferRequest(model_name=name)
    for tensor in case["inputs"]:
        request.inputs.add(name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"])
        request.raw_input_contents.append(base64.b64decode(tensor["raw"]))
    # Without inputs there are no raw contents, which ask for raw ones.
    answer = stub.ModelInfer(request, timeout=60)
    return {o.name: (o.datatype, o.shape, data) for o, data in zip(answer.outputs, answer.raw_output_contents, strict=True)}


def in_binary(address, name, case):
    parts = [base64.b64decode(tensor["raw"]) for tensor in case["inputs"]]
    inputs = [
        {key: tensor[key] for key in ("name", "datatype", "shape")} | {"parameters": {"binary_data_size": len(part)}}
        for tensor, part in zip(case["inputs"], parts)
    ]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    headers, body = post(address, name, head + b"".join(parts), {"Inference-Header-Content-Length": str(len(head))})
    length = int(headers["Inference-Header-Content-Length"])
    rest, found = body[length:], {}
    for output in json.loads(body[:length])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        found[output["name"]] = (output["datatype"], output["shape"], rest[:size])
        rest = rest[size:]
    assert not rest
    return found


def in_json(address, name, case):
    """One request in JSON; none if a datatype has no form there."""
    tensors = [*case["inputs"], *case["outputs"]]
    if any(tensor["datatype"] in ("FP16", "BF16") for tensor in tensors):
        return None
    inputs = []
    for tensor in case["inputs"]:
        values = elements(tensor, base64.b64decode(tensor["raw"]))
        values = [text.decode() for text in values] if isinstance(values, list) else values.tolist()
        inputs.append({key: tensor[key] for key in ("name", "datatype", "shape")} | {"data": values})
    _, body = post(address, name, json.dumps({"inputs": inputs}).encode())
    found = {}
    for output in json.loads(body)["outputs"]:
        kind, values = output["datatype"], output["data"]
        dtype = next(name for name, known in DATATYPES.items() if known == kind)
        array = np.array(values, dtype=object if kind == "BYTES" else dtype)
        found[output["name"]] = (kind, output["shape"], raw(array))
    return found


def check(folder, http, grpc_address):
    import grpc
    from tritonclient.grpc import service_pb2 as messages
    from tritonclient.grpc import service_pb2_grpc as services

    stub = services.GRPCInferenceServiceStub(grpc.insecure_channel(grpc_address))
    cases = json.loads(pathlib.Path(folder, "cases.json").read_text())
    ways = {
        "gRPC": lambda name, case: over_grpc(stub, messages, name, case),
        "binary": lambda name, case: in_binary(http, name, case),
        "JSON": lambda name, case: in_json(http, name, case),
    }
    for way, ask in ways.items():
        asked, wrong = 0, {}
        for name, case in cases.items():
            try:
                found = ask(name, case)
                if found is None:
                    continue
                asked += 1
                assert set(found) == {output["name"] for output in case["outputs"]}, f"outputs {list(found)}"
                told = [differs(output, *found[output["name"]]) for output in case["outputs"]]
                told = next((difference for difference in told if difference), None)
                assert told is None, told
            except Exception as error:
                wrong[name] = str(error).splitlines()[0][:300] if str(error) else repr(error)
        right = asked - len(wrong)
        print(f"{way}: {right} of {asked} cases")
        for name, reason in wrong.items():
            print(f"  {name}: {reason}")


if __name__ == "__main__":
    {"make": make, "check": check}[sys.argv[1]](*sys.argv[2:])
