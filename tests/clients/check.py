"""Asks every model over the clients that people use and holds the answers
against the golden ones: tritonclient over HTTP and gRPC, curl, and a generic
gRPC client that knows nothing but what reflection tells it.

usage: check.py HTTP_ADDRESS GRPC_ADDRESS MODELS_FOLDER
"""

import json
import pathlib
import subprocess
import sys

import grpc
import numpy as np
import tritonclient.grpc as over_grpc
import tritonclient.http as over_http
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

TYPES = {"FP32": np.float32, "INT64": np.int64, "BYTES": np.object_}
# What another processor's rounding may change.
TOLERANCE = 1e-5


def arrays(entries):
    """Named arrays of the inputs or outputs of a JSON file."""
    return {
        e["name"]: (e["datatype"], np.array(e["data"], dtype=TYPES[e["datatype"]]).reshape(e["shape"]))
        for e in entries
    }


def check(model, client, answers, golden):
    for name, (datatype, expected) in golden.items():
        got = answers[name]
        assert got.shape == expected.shape, f"{model} over {client}: {name} has shape {got.shape}"
        if datatype == "FP32":
            worst = float(np.max(np.abs(got - expected) / np.maximum(1, np.abs(expected)), initial=0))
            assert worst <= TOLERANCE, f"{model} over {client}: {name} is off by {worst}"
        else:
            assert (got == expected).all(), f"{model} over {client}: {name}"


def triton(module, address, model, inputs, golden):
    client = module.InferenceServerClient(address)
    given = []
    for name, (datatype, values) in inputs.items():
        tensor = module.InferInput(name, list(values.shape), datatype)
        tensor.set_data_from_numpy(values)
        given.append(tensor)
    assert client.is_server_ready() and client.is_model_ready(model)
    result = client.infer(model, given, request_id="mine")
    answers = {name: result.as_numpy(name) for name in golden}
    client.close()
    return answers


def curl(address, folder):
    url = f"http://{address}/v2/models/{folder.name}/infer"
    done = subprocess.run(
        ["curl", "-sSf", "-d", f"@{folder / 'sample.json'}", url], check=True, capture_output=True, timeout=30
    )
    return {name: values for name, (_, values) in arrays(json.loads(done.stdout)["outputs"]).items()}


def generic(address, folder, golden):
    """Asks by names alone: the messages come from the server's reflection."""
    channel = grpc.insecure_channel(address)
    pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    service = pool.FindServiceByName("inference.GRPCInferenceService")
    method = service.FindMethodByName("ModelInfer")
    request_type = message_factory.GetMessageClass(method.input_type)
    answer_type = message_factory.GetMessageClass(method.output_type)
    request = request_type(model_name=folder.name)
    for name, (datatype, values) in arrays(json.loads((folder / "sample.json").read_text())["inputs"]).items():
        tensor = request.inputs.add(name=name, datatype=datatype, shape=values.shape)
        if datatype == "FP32":
            tensor.contents.fp32_contents.extend(values.ravel().tolist())
        else:
            tensor.contents.bytes_contents.extend(v.encode() for v in values.ravel())
    call = channel.unary_unary(
        f"/{service.full_name}/ModelInfer",
        request_serializer=request_type.SerializeToString,
        response_deserializer=answer_type.FromString,
    )
    answer = call(request, timeout=30)
    outputs = {}
    for output in answer.outputs:
        contents = output.contents.fp32_contents if output.datatype == "FP32" else output.contents.int64_contents
        outputs[output.name] = np.array(contents, dtype=TYPES[output.datatype]).reshape(output.shape)
    assert json_format.MessageToDict(answer)["modelVersion"] == "1"
    channel.close()
    return outputs


def main():
    http, rpc, models = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    folders = sorted(path.parent for path in models.glob("*/sample.json"))
    assert len(folders) >= 5, folders
    for folder in folders:
        inputs = arrays(json.loads((folder / "sample.json").read_text())["inputs"])
        golden = arrays(json.loads((folder / "answer.json").read_text())["outputs"])
        model = folder.name
        check(model, "tritonclient HTTP", triton(over_http, http, model, inputs, golden), golden)
        check(model, "tritonclient gRPC", triton(over_grpc, rpc, model, inputs, golden), golden)
        check(model, "curl", curl(http, folder), golden)
        check(model, "reflection", generic(rpc, folder, golden), golden)
        print(f"{model}: golden over 4 clients")


main()
