"""A multi-layer perceptron on the wine data: writes every generated file beside it."""

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(FOLDER.parent))
import export  # before numpy: it fixes the number of threads

import numpy as np
from onnx import TensorProto
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SEED = 20
# directory -> (seed of the first weights, strength of the L2 penalty)
VERSIONS = {"1": (20, 0.1), ".next": (21, 3.0)}


def train(seed, penalty, x, y):
    network = MLPClassifier(
        hidden_layer_sizes=(24, 12), solver="lbfgs", alpha=penalty, max_iter=2000, random_state=seed
    )
    return make_pipeline(StandardScaler(), network).fit(x, y)


def graph(pipeline):
    model = to_onnx(
        pipeline,
        initial_types=[("x", FloatTensorType([None, 13]))],
        options={"zipmap": False},
        target_opset={"": export.OPSET, "ai.onnx.ml": export.ML_OPSET},
    )
    return export.finish(
        model,
        "wine",
        "The grape cultivar (0, 1 or 2) of a wine from 13 chemical measurements.",
        [("label", TensorProto.INT64, ()), ("probabilities", TensorProto.FLOAT, (3,))],
    )


def main():
    x, y = load_wine(return_X_y=True)
    x = x.astype(np.float32)
    x_train, x_test, y_train, y_test = train_test_split(
        x, y, test_size=0.3, random_state=SEED, stratify=y
    )
    numbers = {"train_rows": len(x_train), "test_rows": len(x_test)}
    for directory, (seed, penalty) in VERSIONS.items():
        path = FOLDER / directory / "model.onnx"
        pipeline = train(seed, penalty, x_train, y_train)
        export.save(graph(pipeline), path)
        export.check_rows(path, {"x": x_test})
        expected = pipeline.predict_proba(x_test)
        found = export.predict(path, {"x": x_test})["probabilities"]
        assert np.abs(expected - found).max() < 1e-4, "the graph is not the trained model"
        numbers[directory] = export.classification(path, {"x": x_test}, y_test)
        assert numbers[directory]["accuracy"] > 0.94, numbers

    export.write_sample(FOLDER, {"x": x_test[export.first_of_each(y_test)]})
    export.write_golden(FOLDER)
    export.write_golden(FOLDER, ".next", "2")
    export.check_versions_differ(FOLDER, "probabilities")
    export.write_evaluation(FOLDER, numbers)
    export.write_sums(FOLDER)


if __name__ == "__main__":
    main()
