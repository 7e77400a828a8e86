"""Logistic regression on the Wisconsin breast cancer data: writes every generated file beside it."""

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
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SEED = 20
# directory -> inverse regularisation strength
VERSIONS = {"1": 1.0, ".next": 0.02}


def train(strength, x, y):
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=5000))
    return pipeline.fit(x, y)


def graph(pipeline):
    model = to_onnx(
        pipeline,
        initial_types=[("x", FloatTensorType([None, 30]))],
        options={"zipmap": False},
        target_opset={"": export.OPSET, "ai.onnx.ml": export.ML_OPSET},
    )
    return export.finish(
        model,
        "breast-cancer",
        "Malignant (0) or benign (1) from 30 measurements of cell nuclei.",
        [("label", TensorProto.INT64, ()), ("probabilities", TensorProto.FLOAT, (2,))],
    )


def main():
    x, y = load_breast_cancer(return_X_y=True)
    x = x.astype(np.float32)
    x_train, x_test, y_train, y_test = train_test_split(
        x, y, test_size=0.25, random_state=SEED, stratify=y
    )
    numbers = {"train_rows": len(x_train), "test_rows": len(x_test)}
    for directory, strength in VERSIONS.items():
        path = FOLDER / directory / "model.onnx"
        pipeline = train(strength, x_train, y_train)
        export.save(graph(pipeline), path)
        export.check_rows(path, {"x": x_test})
        expected = pipeline.predict_proba(x_test)
        found = export.predict(path, {"x": x_test})["probabilities"]
        assert np.abs(expected - found).max() < 1e-5, "the graph is not the trained model"
        numbers[directory] = export.classification(path, {"x": x_test}, y_test)
        assert numbers[directory]["accuracy"] > 0.95, numbers

    export.write_sample(FOLDER, {"x": x_test[export.first_of_each(y_test)]})
    export.write_golden(FOLDER)
    export.write_golden(FOLDER, ".next", "2")
    export.check_versions_differ(FOLDER, "probabilities", least=1e-4)
    export.write_evaluation(FOLDER, numbers)
    export.write_sums(FOLDER)


if __name__ == "__main__":
    main()
