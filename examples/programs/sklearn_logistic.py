"""A scikit-learn pipeline, run by `ortus-trainer`: imputes, scales, one-hot encodes, and classifies.

The graph takes every column by its name, so that whoever asks has nothing to prepare.
"""

import numpy as np
import pandas
from ortus_program import FEATURES, NUMBERS, SPEC, WORDS, leave, read, target
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


def rows(columns):
    """Columns side by side, as a pipeline takes them."""
    return pandas.DataFrame({name: columns[name] for name in FEATURES})


train, stop, test = read("train"), read("stop"), read("test")
steps = []
if NUMBERS:
    steps.append(("numbers", make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS))
if WORDS:
    steps.append(("words", OneHotEncoder(handle_unknown="ignore"), WORDS))
weights = {"sample_weight": train[SPEC["weight"]]} if SPEC["weight"] else {}
pipeline = Pipeline([("prepare", ColumnTransformer(steps)), ("classify", LogisticRegression(max_iter=1000))])
classes = np.array(SPEC["classes"])
pipeline.fit(rows(train), classes[target(train)], **{f"classify__{name}": w for name, w in weights.items()})

kinds = [(name, FloatTensorType([None, 1]) if name in NUMBERS else StringTensorType([None, 1])) for name in FEATURES]
options = {id(pipeline): {"zipmap": False}}
model = to_onnx(pipeline, initial_types=kinds, options=options, target_opset={"": 18, "ai.onnx.ml": 3})

# scikit-learn sorts its classes; predictions are told in the order of the specification.
order = [list(pipeline.classes_).index(name) for name in SPEC["classes"]]
scores = pipeline.predict_proba(rows(test))[:, order]
stopped = pipeline.predict_proba(rows(stop))[:, order]
loss = log_loss(target(stop), stopped, labels=range(len(order)))
leave(model.SerializeToString(), scores.argmax(axis=1), scores, {"stop_log_loss": float(loss)})
