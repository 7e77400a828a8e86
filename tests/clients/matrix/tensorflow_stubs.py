"""Every method of tensorflow-serving-api's two stubs.

usage: tensorflow_stubs.py GRPC_ADDRESS LIST

The server was started with the list of models in the file `LIST`, which names `digits` and `diabetes`.
"""

import os
import pathlib
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from record import Matrix, Reference
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)


def predict(stub, reference, name=None, label=""):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name or reference.name
    if label:
        request.model_spec.version_label = label
    for key, values in reference.inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(values))
    answer = stub.Predict(request, timeout=30)
    reference.check({key: tf.make_ndarray(value) for key, value in answer.outputs.items()})
    assert answer.model_spec.version.value == 1, answer.model_spec


def examples(request, reference):
    """The rows of the reference as tf.Examples with one feature."""
    ((name, rows),) = reference.inputs.items()
    for row in rows:
        feature = tf.train.Feature(float_list=tf.train.FloatList(value=row.ravel()))
        request.input.example_list.examples.add().features.feature[name].CopyFrom(feature)
    return request


def classify(stub, reference):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = reference.name
    answer = stub.Classify(examples(request, reference), timeout=30)
    check_classes(answer.result, reference)


def check_classes(result, reference):
    scores = reference.outputs["probabilities"]
    assert len(result.classifications) == len(scores)
    for row, of in zip(result.classifications, scores, strict=True):
        got = {c.label: c.score for c in row.classes}
        assert sorted(got) == sorted(str(n) for n in range(len(of))), got
        assert np.allclose([got[str(n)] for n in range(len(of))], of, atol=1e-5)


def regress(stub, reference):
    request = regression_pb2.RegressionRequest()
    request.model_spec.name = reference.name
    answer = stub.Regress(examples(request, reference), timeout=30)
    check_values(answer.result, reference)


def check_values(result, reference):
    (values,) = reference.outputs.values()
    got = [regression.value for regression in result.regressions]
    assert np.allclose(got, values.ravel(), rtol=1e-5), got


def multi_inference(stub, reference):
    request = inference_pb2.MultiInferenceRequest()
    task = request.tasks.add(method_name="tensorflow/serving/classify")
    task.model_spec.name = reference.name
    answer = stub.MultiInference(examples(request, reference), timeout=30)
    check_classes(answer.results[0].classification_result, reference)


def metadata(stub, reference):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = reference.name
    answer = stub.GetModelMetadata(request, timeout=30)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    answer.metadata["signature_def"].Unpack(signatures)
    signature = signatures.signature_def["serving_default"]
    assert set(signature.inputs) == set(reference.inputs) and set(signature.outputs) == set(reference.outputs)


def status(stub, reference):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = reference.name
    answer = stub.GetModelStatus(request, timeout=30)
    states = [(v.version, v.state, v.status.error_code) for v in answer.model_version_status]
    available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
    assert states == [(1, available, 0)], states


def reload(models, predictions, reference, text):
    """Another name and a label, without the other model."""
    request = model_management_pb2.ReloadConfigRequest()
    text_format.Parse(text, request.config)
    configs = request.config.model_config_list.config
    del configs[1:]
    configs[0].name = "renamed"
    configs[0].version_labels["stable"] = 1
    answer = models.HandleReloadConfigRequest(request, timeout=30)
    assert answer.status.error_code == 0, answer
    predict(predictions, reference, "renamed", "stable")
    for gone in ("digits", "diabetes"):
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = gone
        try:
            models.GetModelStatus(request, timeout=30)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.NOT_FOUND, error
        else:
            raise AssertionError(f"{gone} is still there")


def main():
    address, config = sys.argv[1:]
    digits, diabetes = Reference("digits"), Reference("diabetes")
    channel = grpc.insecure_channel(address)
    predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    matrix = Matrix("tensorflow_serving PredictionService", predictions)
    matrix.works("Predict", lambda: predict(predictions, digits))
    matrix.works("Classify", lambda: classify(predictions, digits))
    matrix.works("Regress", lambda: regress(predictions, diabetes))
    matrix.works("MultiInference", lambda: multi_inference(predictions, digits))
    matrix.works("GetModelMetadata", lambda: metadata(predictions, digits))
    matrix.end()

    models = model_service_pb2_grpc.ModelServiceStub(channel)
    matrix = Matrix("tensorflow_serving ModelService", models)
    matrix.works("GetModelStatus", lambda: status(models, digits))
    matrix.works("HandleReloadConfigRequest", lambda: reload(models, predictions, digits, pathlib.Path(config).read_text()))
    matrix.end()
    channel.close()


main()
