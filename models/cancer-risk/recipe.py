"""Logistic regression on six binned, textual features: writes every generated file beside it."""

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(FOLDER.parent))
import export  # before numpy: it fixes the number of threads

import numpy as np
from onnx import TensorProto
from skl2onnx import to_onnx
from skl2onnx.common.data_types import StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

SEED = 20
# input name -> column name in the data set
FEATURES = {
    "mean_radius": "mean radius",
    "mean_texture": "mean texture",
    "mean_smoothness": "mean smoothness",
    "mean_concavity": "mean concavity",
    "mean_symmetry": "mean symmetry",
    "worst_area": "worst area",
}
CATEGORIES = np.array(["low", "mid", "high"], dtype=object)


def bins(values, limits):
    """Up to the first limit "low", above the second "high", between them "mid"."""
    return CATEGORIES[np.searchsorted(limits, values, side="left")]


def train(table, y):
    encoder = OneHotEncoder(categories=[list(CATEGORIES)] * len(FEATURES), handle_unknown="ignore")
    columns = ColumnTransformer([("categories", encoder, list(range(len(FEATURES))))])
    return make_pipeline(columns, LogisticRegression(max_iter=5000)).fit(table, y)


def graph(pipeline):
    model = to_onnx(
        pipeline,
        initial_types=[(name, StringTensorType([None, 1])) for name in FEATURES],
        options={"zipmap": False},
        target_opset={"": export.OPSET, "ai.onnx.ml": export.ML_OPSET},
    )
    return export.finish(
        model,
        "cancer-risk",
        "Benign (0) or malignant (1) from six measurements said as low, mid or high.",
        [("label", TensorProto.INT64, ()), ("probabilities", TensorProto.FLOAT, (2,))],
    )


def inputs_of(table):
    return {name: table[:, [i]] for i, name in enumerate(FEATURES)}


def main():
    data = load_breast_cancer()
    places = [list(data.feature_names).index(column) for column in FEATURES.values()]
    values = data.data[:, places]
    y = (data.target_names[data.target] == "malignant").astype(np.int64)
    train_values, test_values, y_train, y_test = train_test_split(
        values, y, test_size=0.25, random_state=SEED, stratify=y
    )
    # the terciles of the training rows, rounded so that README.md can state them in full
    limits = np.quantile(train_values, [1 / 3, 2 / 3], axis=0).T.round(4)
    table_train, table_test = (
        np.stack([bins(part[:, i], limits[i]) for i in range(len(FEATURES))], axis=1)
        for part in (train_values, test_values)
    )
    numbers = {
        "train_rows": len(table_train),
        "test_rows": len(table_test),
        "low_up_to": dict(zip(FEATURES, limits[:, 0])),
        "high_above": dict(zip(FEATURES, limits[:, 1])),
    }

    path = FOLDER / "1" / "model.onnx"
    pipeline = train(table_train, y_train)
    export.save(graph(pipeline), path)
    # an unknown word counts as none of the three
    odd = table_test.copy()
    odd[::2, 0] = "unheard-of"
    odd[::3, 3] = ""
    for table in (table_test, odd):
        export.check_rows(path, inputs_of(table))
        found = export.predict(path, inputs_of(table))["probabilities"]
        expected = pipeline.predict_proba(table)
        assert np.abs(expected - found).max() < 1e-5, "the graph is not the trained model"
    numbers["1"] = export.classification(path, inputs_of(table_test), y_test)
    assert numbers["1"]["accuracy"] > 0.90, numbers

    export.write_sample(FOLDER, inputs_of(table_test[export.first_of_each(y_test)]))
    export.write_golden(FOLDER)
    export.write_evaluation(FOLDER, numbers)
    export.write_sums(FOLDER)


if __name__ == "__main__":
    main()
