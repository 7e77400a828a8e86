"""What converters write by default, served as it is and compared with the library's own predictions.

usage: converters.py make FOLDER           exports the models, one folder each, and the expected answers
       converters.py check FOLDER HTTP     asks a server that serves the folder
       converters.py tables FOLDER HTTP    asks one that serves only the model of a table, `columns`, as tables
       converters.py matrix FOLDER HTTP    the same of `logistic`, whose one input has named columns
"""

import json
import os
import pathlib
import pickle
import sys
import urllib.error
import urllib.request
import warnings

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnx
import onnxruntime
import tritonclient.http as triton
from onnx import TensorProto, helper

ROWS = 40
# The converters compute in FP32 what the libraries compute in FP64.
TOLERANCE = 2e-4


def estimators():
    """Scikit-learn: name, model, and whether its target has words."""
    from sklearn import calibration, cluster, decomposition, discriminant_analysis, ensemble, linear_model
    from sklearn import multiclass, naive_bayes, neighbors, neural_network, pipeline, preprocessing, svm, tree

    few = {"n_estimators": 12, "random_state": 0}
    logistic = linear_model.LogisticRegression(max_iter=500)
    scaled = lambda model: pipeline.make_pipeline(preprocessing.StandardScaler(), model)
    classifiers = {
        "logistic": logistic,
        "random-forest": ensemble.RandomForestClassifier(**few),
        "extra-trees": ensemble.ExtraTreesClassifier(**few),
        "gradient-boosting": ensemble.GradientBoostingClassifier(**few),
        "hist-gradient-boosting": ensemble.HistGradientBoostingClassifier(max_iter=10),
        "ada-boost": ensemble.AdaBoostClassifier(**few),
        "bagging": ensemble.BaggingClassifier(n_estimators=5, random_state=0),
        "voting": ensemble.VotingClassifier([("a", logistic), ("b", tree.DecisionTreeClassifier(max_depth=4))], voting="soft", flatten_transform=False),
        "decision-tree": tree.DecisionTreeClassifier(max_depth=5),
        "nearest": neighbors.KNeighborsClassifier(),
        "gaussian-bayes": naive_bayes.GaussianNB(),
        "perceptron": scaled(neural_network.MLPClassifier(hidden_layer_sizes=(16,), max_iter=80, random_state=0)),
        "svc": scaled(svm.SVC(probability=True, random_state=0)),
        "sgd": scaled(linear_model.SGDClassifier(loss="log_loss", random_state=0)),
        "discriminant": discriminant_analysis.LinearDiscriminantAnalysis(),
        "calibrated": calibration.CalibratedClassifierCV(logistic, cv=2),
        "one-vs-rest": multiclass.OneVsRestClassifier(logistic),
        "components": pipeline.make_pipeline(preprocessing.MinMaxScaler(), decomposition.PCA(4), logistic),
    }
    regressors = {
        "linear": linear_model.LinearRegression(),
        "ridge": scaled(linear_model.Ridge()),
        "lasso": linear_model.Lasso(alpha=0.1),
        "forest-regressor": ensemble.RandomForestRegressor(**few),
        "boosting-regressor": ensemble.GradientBoostingRegressor(**few),
        "nearest-regressor": neighbors.KNeighborsRegressor(),
        "svr": scaled(svm.SVR()),
        "perceptron-regressor": scaled(neural_network.MLPRegressor(hidden_layer_sizes=(16,), max_iter=80, random_state=0)),
    }
    clusters = {"k-means": cluster.KMeans(3, n_init=1, random_state=0)}
    return classifiers, regressors, clusters


class Maker:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.expected = {}

    def add(self, name, model, inputs, expected, classes=None):
        """Keeps a model file with the inputs and outputs of some rows."""
        place = self.folder / name / "1" / "model.onnx"
        place.parent.mkdir(parents=True)
        content = model if isinstance(model, bytes) else model.SerializeToString()
        place.write_bytes(content)
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        own = dict(zip((o.name for o in session.get_outputs()), session.run(None, inputs), strict=True))
        classes = None if classes is None else list(classes)
        self.expected[name] = {"inputs": inputs, "expected": expected, "own": own, "classes": classes}

    def classifier(self, name, model, content, inputs, given):
        outputs = [o.name for o in onnx.load_model_from_string(content).graph.output]
        label, scores = outputs[:2]
        expected = {label: model.predict(given), scores: model.predict_proba(given)}
        self.add(name, content, inputs, expected, model.classes_)


def scikit_learn(maker):
    from skl2onnx import to_onnx
    from sklearn.datasets import load_diabetes, load_iris

    rows, target = load_iris(return_X_y=True)
    rows = rows.astype(np.float32)
    words = np.array(["setosa", "versi color", "virginica, too"])[target]
    chosen = np.random.default_rng(0).permutation(len(rows))[:ROWS]
    classifiers, regressors, clusters = estimators()
    for name, model in classifiers.items():
        # Every second one has words as classes.
        model.fit(rows, words if len(maker.expected) % 2 else target)
        content = to_onnx(model, rows[:1]).SerializeToString()
        maker.classifier(name, model, content, {"X": rows[chosen]}, rows[chosen])
    for name, model in clusters.items():
        model.fit(rows)
        content = to_onnx(model, rows[:1])
        maker.add(name, content, {"X": rows[chosen]}, {"label": model.predict(rows[chosen])})

    rows, target = load_diabetes(return_X_y=True)
    rows = rows.astype(np.float32)
    chosen = np.random.default_rng(0).permutation(len(rows))[:ROWS]
    for name, model in regressors.items():
        model.fit(rows, target)
        expected = {"variable": model.predict(rows[chosen])[:, None]}
        maker.add(name, to_onnx(model, rows[:1]), {"X": rows[chosen]}, expected)


def tables_and_texts(maker):
    import pandas
    from skl2onnx import convert_sklearn, to_onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    random = np.random.default_rng(3)
    count = 300
    table = pandas.DataFrame(
        {
            "age": random.uniform(18, 90, count).astype(np.float32),
            "income": random.lognormal(8, 1, count).astype(np.float32),
            "city": random.choice(["Bern", "Zürich", "Genf"], count),
        }
    )
    bought = (table["age"] > 50) ^ (table["city"] == "Bern")
    columns = ColumnTransformer([("n", StandardScaler(), ["age", "income"]), ("c", OneHotEncoder(handle_unknown="ignore"), ["city"])])
    model = make_pipeline(columns, LogisticRegression(max_iter=500)).fit(table, np.where(bought, "yes", "no"))
    kinds = [("age", FloatTensorType([None, 1])), ("income", FloatTensorType([None, 1])), ("city", StringTensorType([None, 1]))]
    content = convert_sklearn(model, initial_types=kinds).SerializeToString()
    asked = table[:ROWS]
    inputs = {name: asked[[name]].to_numpy() for name in asked.columns}
    inputs["city"] = inputs["city"].astype(object)
    maker.classifier("columns", model, content, inputs, asked)

    words = ["good", "bad", "fine", "awful", "film", "plot", "actor", "scene"]
    texts = np.array([" ".join(random.choice(words, 6)) for _ in range(count)])
    liked = np.array([text.count("good") + text.count("fine") > text.count("bad") + text.count("awful") for text in texts])
    # In lower case they would need a locale of the machine.
    for name, steps in {
        "tfidf": (TfidfVectorizer(lowercase=False), LogisticRegression()),
        "counts": (CountVectorizer(lowercase=False), MultinomialNB()),
    }.items():
        model = make_pipeline(*steps).fit(texts, liked.astype(np.int64))
        content = to_onnx(model, texts[:1], target_opset=17).SerializeToString()
        asked = texts[:ROWS]
        feed = onnx.load_model_from_string(content).graph.input[0]
        rank = len(feed.type.tensor_type.shape.dim)
        given = asked.astype(object) if rank == 1 else asked.astype(object)[:, None]
        maker.classifier(name, model, content, {feed.name: given}, asked)


def boosting(maker):
    import catboost
    import lightgbm
    import onnxmltools
    import xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType
    from sklearn.datasets import load_diabetes, load_iris

    rows, target = load_iris(return_X_y=True)
    rows = rows.astype(np.float32)
    chosen = np.random.default_rng(0).permutation(len(rows))[:ROWS]
    kind = [("input", FloatTensorType([None, 4]))]
    two = target != 0
    for name, wanted in {"multi": target, "binary": two.astype(np.int64)}.items():
        model = lightgbm.LGBMClassifier(n_estimators=8, verbose=-1).fit(rows, wanted)
        content = onnxmltools.convert_lightgbm(model, initial_types=kind).SerializeToString()
        maker.classifier(f"lightgbm-{name}", model, content, {"input": rows[chosen]}, rows[chosen])
        model = xgboost.XGBClassifier(n_estimators=8).fit(rows, wanted)
        content = onnxmltools.convert_xgboost(model, initial_types=kind).SerializeToString()
        maker.classifier(f"xgboost-{name}", model, content, {"input": rows[chosen]}, rows[chosen])
        model = catboost.CatBoostClassifier(iterations=8, verbose=False, allow_writing_files=False)
        model.fit(rows, wanted)
        file = str(maker.folder / "catboost.onnx")
        model.save_model(file, format="onnx")
        content = pathlib.Path(file).read_bytes()
        os.remove(file)
        feed = onnx.load_model_from_string(content).graph.input[0].name
        predicted = model.predict(rows[chosen]).reshape(-1)
        scores = model.predict_proba(rows[chosen])
        maker.add(
            f"catboost-{name}", content, {feed: rows[chosen]}, {"label": predicted, "probabilities": scores}, model.classes_
        )

    rows, target = load_diabetes(return_X_y=True)
    rows = rows.astype(np.float32)
    chosen = np.random.default_rng(0).permutation(len(rows))[:ROWS]
    kind = [("input", FloatTensorType([None, 10]))]
    model = lightgbm.LGBMRegressor(n_estimators=8, verbose=-1).fit(rows, target)
    content = onnxmltools.convert_lightgbm(model, initial_types=kind)
    maker.add("lightgbm-regressor", content, {"input": rows[chosen]}, {"variable": model.predict(rows[chosen])[:, None]})
    model = xgboost.XGBRegressor(n_estimators=8).fit(rows, target)
    content = onnxmltools.convert_xgboost(model, initial_types=kind)
    maker.add("xgboost-regressor", content, {"input": rows[chosen]}, {"variable": model.predict(rows[chosen])[:, None]})


def exporters_names(maker):
    """Names as exporters of neural nets write them."""
    inner, weights, out = "/features/0/Gemm_output_0", "onnx::Gemm_7", "output.1"
    values = np.random.default_rng(5).normal(size=(6, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["input.1", weights], [inner]), helper.make_node("Relu", [inner], [out])],
        "main_graph",
        [helper.make_tensor_value_info("input.1", TensorProto.FLOAT, ["s0", 6])],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)],
        [helper.make_tensor(weights, TensorProto.FLOAT, [6, 3], values.tobytes(), raw=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    rows = np.random.default_rng(6).normal(size=(ROWS, 6)).astype(np.float32)
    maker.add("torch-names", model, {"input.1": rows}, {out: np.maximum(rows @ values, 0)})


def make(folder):
    warnings.filterwarnings("ignore")
    maker = Maker(folder)
    scikit_learn(maker)
    tables_and_texts(maker)
    boosting(maker)
    exporters_names(maker)
    with open(pathlib.Path(folder) / ".expected", "wb") as file:
        pickle.dump(maker.expected, file)
    print(f"{len(maker.expected)} models made")


DATATYPES = {"f": "FP32", "i": "INT64", "O": "BYTES"}


def asked(client, name, inputs):
    given = []
    for key, values in inputs.items():
        values = values.astype(np.int64) if values.dtype.kind == "i" else values
        tensor = triton.InferInput(key, list(values.shape), DATATYPES[values.dtype.kind])
        tensor.set_data_from_numpy(values)
        given.append(tensor)
    return client.infer(name, given)


def column_form(own, classes):
    """ONNX Runtime's answer as columns: its own maps by their keys."""
    if not isinstance(own, list):
        return np.asarray(own)
    return np.array([[row[key] for key in row] for row in own], np.float32)


def same_labels(got, expected, scores):
    """Equal, apart from rows whose two best classes are as good as each other."""
    got = np.array([g.decode() if isinstance(g, bytes) else g for g in got.reshape(-1)])
    differ = got.astype(str) != np.asarray(expected).reshape(-1).astype(str)
    if scores is not None and differ.any():
        best = np.sort(scores[differ], axis=1)
        return bool((best[:, -1] - best[:, -2] < 1e-4).all())
    return not differ.any()


def check(folder, http):
    with open(pathlib.Path(folder) / ".expected", "rb") as file:
        expected = pickle.load(file)
    client = triton.InferenceServerClient(http)
    failed = []
    for name, of in expected.items():
        try:
            check_model(client, http, name, of)
        except Exception as error:
            failed.append(f"{name}: {type(error).__name__} {error}"[:400])
    print("\n".join(failed))
    print(f"{len(expected) - len(failed)} of {len(expected)} models answer as their library")
    sys.exit(bool(failed))


def check_model(client, http, name, of):
    answer = asked(client, name, of["inputs"])
    scores = next((v for v in of["expected"].values() if v.ndim == 2 and v.shape[1] > 1), None)
    for output, values in of["expected"].items():
        got = answer.as_numpy(output)
        own = column_form(of["own"][output], of["classes"])
        assert got.shape == own.shape, (output, got.shape, own.shape)
        if values.dtype.kind == "f":
            assert np.allclose(got, own, rtol=1e-6, atol=1e-7), (output, "differs from ONNX Runtime's own answer")
            scale = max(1, float(np.abs(values).max()))
            worst = float(np.abs(got.reshape(values.shape) - values).max()) / scale
            assert worst < TOLERANCE, (output, worst)
        else:
            assert same_labels(got, values, scores), output
        metadata = json.loads(urllib.request.urlopen(f"http://{http}/v2/models/{name}", timeout=30).read())
        declared = next(o for o in metadata["outputs"] if o["name"] == output)
        fits = [d in (-1, n) for d, n in zip(declared["shape"], got.shape, strict=True)]
        assert all(fits) and declared["shape"][0] == -1, (output, declared, got.shape)
        if values is scores and of["classes"] is not None:
            classes = json.loads(metadata["properties"][f"ortus.classes.{output}"])
            assert classes == [str(c) for c in of["classes"]], (classes, of["classes"])


def expected_of(folder, name):
    with open(pathlib.Path(folder) / ".expected", "rb") as file:
        return pickle.load(file)[name]


def post(http, path, body, kind="application/json"):
    """The status and the JSON of an answer."""
    body = body if isinstance(body, str) else json.dumps(body)
    request = urllib.request.Request(f"http://{http}{path}", body.encode(), {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def same_predictions(predictions, of):
    """Records with each output, against the library's own predictions."""
    for output, values in of["expected"].items():
        got = np.array([row[output] for row in predictions])
        if values.dtype.kind == "f":
            assert np.allclose(got, values, atol=TOLERANCE), output
        else:
            assert list(got) == list(values), output


def tables(folder, http):
    import pandas
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    of = expected_of(folder, "columns")
    table = pandas.DataFrame({name: values[:, 0] for name, values in of["inputs"].items()})
    host, port = http.split(":")
    client = ScoringServerClient(host, port)
    client.wait_server_ready()
    assert client.get_version()
    same_predictions(client.invoke(table).get_predictions().to_dict("records"), of)
    same_predictions(client.invoke(table[["city", "income", "age"]]).get_predictions().to_dict("records"), of)
    # MLflow's client cannot send several arrays itself.
    arrays = {name: values.tolist() for name, values in of["inputs"].items()}
    status, answer = post(http, "/invocations", {"inputs": arrays})
    assert status == 200, answer
    same_predictions(answer["predictions"], of)

    records = json.loads(table.to_json(orient="records"))
    for path, body in (("/invocations", {"dataframe_records": records}), ("/invocations", {"instances": records}),
                       ("/invocations?model=columns", {"dataframe_records": records}),
                       ("/v1/models/columns:predict", {"instances": records})):
        status, answer = post(http, path, body)
        assert status == 200, (path, answer)
        same_predictions([flat(row) for row in answer["predictions"]], of)
    columns = {name: values[:, 0].tolist() for name, values in of["inputs"].items()}
    for given in (columns, records):
        status, answer = post(http, "/invocations", {"inputs": given})
        assert status == 200, answer
        same_predictions(answer["predictions"], of)
    for kind, text in (("text/csv", table.to_csv(index=False)), ("TEXT/CSV; charset=utf-8", table.to_csv()),
                       ("text/csv", table.assign(colour="red").to_csv(index=False))):
        status, answer = post(http, "/invocations", text, kind)
        assert status == 200, answer
        same_predictions(answer["predictions"], of)

    # Missing values are NaN in numbers, and empty in words.
    for cells in ({"age": None}, {"income": float("nan")}, {"city": None}):
        status, answer = post(http, "/invocations", {"dataframe_records": [{**records[0], **cells}]})
        assert status == 200, answer
    lame = [{"age": 30, "city": "Bern"}]
    for path, key in (("/invocations", "dataframe_records"), ("/v1/models/columns:predict", "instances")):
        status, answer = post(http, path, {key: lame})
        assert status == 400 and "income" in answer["error"], answer
    # Columns that the model does not take are ignored as in MLflow, and refused in TensorFlow Serving's protocol.
    wide = [{**record, "colour": 1} for record in records]
    status, answer = post(http, "/invocations", {"dataframe_records": wide})
    assert status == 200, answer
    same_predictions(answer["predictions"], of)
    status, answer = post(http, "/v1/models/columns:predict", {"instances": wide})
    assert status == 400 and "'colour'" in answer["error"] and "income" in answer["error"], answer
    status, answer = post(http, "/invocations", {"dataframe_records": [{**lame[0], "incom": 1}]})
    assert status == 400 and "income" in answer["error"] and "'incom'" in answer["error"], answer
    status, answer = post(http, "/invocations", {"dataframe_records": [{**records[0], "age": "old"}]})
    assert status == 400 and "column 'age'" in answer["error"], answer
    print("tables answer")


def flat(row):
    """A prediction of TensorFlow Serving's form, whose columns are lists."""
    return {name: value[0] if isinstance(value, list) and len(value) == 1 else value for name, value in row.items()}


def matrix(folder, http):
    import pandas
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    of = expected_of(folder, "logistic")
    names = ["sepal length", "sepal width", "petal length", "petal width"]
    table = pandas.DataFrame(of["inputs"]["X"], columns=names)
    host, port = http.split(":")
    client = ScoringServerClient(host, port)
    same_predictions(client.invoke(table[names[::-1]]).get_predictions().to_dict("records"), of)
    same_predictions(client.invoke(of["inputs"]["X"]).get_predictions().to_dict("records"), of)
    rows = json.loads(table.to_json(orient="records", double_precision=15))
    status, answer = post(http, "/v1/models/logistic:predict", {"instances": rows})
    assert status == 200, answer
    same_predictions(answer["predictions"], of)
    status, answer = post(http, "/v1/models/logistic:predict", {"instances": [{**rows[0], "petal": 1}]})
    assert status == 400 and "petal" in answer["error"], answer
    print("a matrix answers by the names of its columns")


{"make": make, "check": check, "tables": tables, "matrix": matrix}[sys.argv[1]](*sys.argv[2:])
