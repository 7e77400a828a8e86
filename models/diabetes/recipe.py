"""Gradient boosted trees on the diabetes progression data: writes every generated file beside it."""

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
from sklearn.datasets import load_diabetes
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import train_test_split

SEED = 20
TREES = 200


def train(x, y):
    model = GradientBoostingRegressor(
        n_estimators=TREES,
        learning_rate=0.03,
        max_depth=3,
        min_samples_leaf=8,
        subsample=0.6,
        random_state=SEED,
    )
    return model.fit(x, y)


def graph(trees):
    model = to_onnx(
        trees,
        initial_types=[("x", FloatTensorType([None, 10]))],
        target_opset={"": export.OPSET, "ai.onnx.ml": export.ML_OPSET},
    )
    return export.finish(
        model,
        "diabetes",
        "Disease progression one year after ten baseline measurements.",
        [("y", TensorProto.FLOAT, (1,))],
    )


def main():
    # scaled=False: the measurements in their own units, not centred and normalised
    x, y = load_diabetes(return_X_y=True, scaled=False)
    x = x.astype(np.float32)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.25, random_state=SEED)
    numbers = {"train_rows": len(x_train), "test_rows": len(x_test), "trees": TREES}

    path = FOLDER / "1" / "model.onnx"
    trees = train(x_train, y_train)
    export.save(graph(trees), path)
    export.check_rows(path, {"x": x_test})
    found = export.predict(path, {"x": x_test})["y"][:, 0]
    assert np.abs(trees.predict(x_test) - found).max() < 1e-2, "the graph is not the trained model"
    numbers["1"] = export.regression(path, {"x": x_test}, y_test)
    assert numbers["1"]["r2"] > 0.35, numbers
    # two measures to compare with: a linear regression, and the error of always answering
    # the mean of the training rows
    linear = LinearRegression().fit(x_train, y_train)
    numbers["linear"] = {"r2": linear.score(x_test, y_test)}
    numbers["mean_only"] = {"rmse": np.sqrt(((y_test - y_train.mean()) ** 2).mean())}
    assert numbers["1"]["rmse"] < 0.85 * numbers["mean_only"]["rmse"], numbers

    export.write_sample(FOLDER, {"x": x_test[:3]})
    export.write_golden(FOLDER)
    export.write_evaluation(FOLDER, numbers)
    export.write_sums(FOLDER)


if __name__ == "__main__":
    main()
