"""Every public method of KServe's two clients, over V2 and, where they speak it, V1.

usage: kserve_clients.py HTTP_ADDRESS GRPC_ADDRESS
"""

import asyncio
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from record import Matrix, Reference


def request(reference, binary):
    inputs = []
    for name, values in reference.inputs.items():
        tensor = InferInput(name, list(values.shape), "FP32")
        tensor.set_data_from_numpy(values, binary_data=binary)
        inputs.append(tensor)
    return InferRequest(reference.name, inputs)


def arrays(response):
    return {output.name: output.as_numpy() for output in response.outputs}


def over_grpc(address, reference, loop):
    end = loop.run_until_complete
    client = end(made(lambda: InferenceGRPCClient(address)))
    matrix = Matrix("kserve.InferenceGRPCClient", InferenceGRPCClient)
    matrix.works("is_server_live", lambda: true(end(client.is_server_live())))
    matrix.works("is_server_ready", lambda: true(end(client.is_server_ready())))
    matrix.works("is_model_ready", lambda: true(end(client.is_model_ready(reference.name))))
    matrix.works("infer", lambda: reference.check(arrays(end(client.infer(request(reference, True))))))
    matrix.works("infer", lambda: reference.check(arrays(end(client.infer(request(reference, False))))), "typed contents")
    matrix.works("close", lambda: end(client.close()))
    matrix.end()


def over_rest(address, reference, loop):
    end = loop.run_until_complete
    url = f"http://{address}"
    made_with = lambda protocol: end(made(lambda: InferenceRESTClient(RESTConfig(protocol=protocol))))
    matrix = Matrix("kserve.InferenceRESTClient", InferenceRESTClient)
    v2, v1 = made_with("v2"), made_with("v1")
    name = reference.name
    matrix.works("is_server_live", lambda: true(end(v2.is_server_live(url))))
    matrix.works("is_server_live", lambda: true(end(v1.is_server_live(url))), "V1")
    matrix.works("is_server_ready", lambda: true(end(v2.is_server_ready(url))))
    matrix.works("is_model_ready", lambda: true(end(v2.is_model_ready(url, name))))
    matrix.works("is_model_ready", lambda: none(end(v1.is_model_ready(url, name))), "V1",
                 "none: the path answers as TensorFlow Serving does, whose clients take no `ready`")
    for binary in (False, True):
        under = "binary tensors" if binary else ""
        matrix.works("infer", lambda: reference.check(arrays(end(v2.infer(url, request(reference, binary), name)))), under)
    matrix.works("infer", lambda: reference.check(predicted(end(v1.infer(url, instances(reference), name)))), "V1")
    matrix.refused("explain", lambda: end(v1.explain(url, name, instances(reference))), "explanations", "UNIMPLEMENTED: explanations")
    end(v1.close())
    matrix.works("close", lambda: end(v2.close()))
    matrix.end()


async def made(how):
    """Clients must be made inside the loop."""
    return how()


def true(value):
    assert value is True, value


def none(value):
    assert value is None, value


def instances(reference):
    """The rows of a model with one input."""
    (values,) = reference.inputs.values()
    return {"instances": values.tolist()}


def predicted(answer):
    rows = answer["predictions"]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def main():
    http, rpc = sys.argv[1:]
    reference = Reference("digits")
    loop = asyncio.new_event_loop()
    over_grpc(rpc, reference, loop)
    over_rest(http, reference, loop)


main()
