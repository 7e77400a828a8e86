"""A convolutional network on 8x8 digits, trained in numpy: writes every generated file beside it."""

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(FOLDER.parent))
import export  # before numpy: it fixes the number of threads

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SEED = 20
# directory -> (seed of the first weights and of the batch order, strength of the L2 penalty)
VERSIONS = {"1": (20, 1e-4), ".next": (21, 3e-3)}
CHANNELS = (16, 32)
EPOCHS = 25
BATCH = 32


# --- the network, forwards and backwards -------------------------------------


def patches(x):
    """[n, c, h, w] -> [n, h, w, c*9]: the 3x3 surroundings of each pixel, zero outside."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    n, c, h, w = x.shape
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(n, h, w, c * 9)


def unpatches(columns, shape):
    """The gradient of `patches`: adds each surrounding back to the pixels it was read from."""
    n, c, h, w = shape
    columns = columns.reshape(n, h, w, c, 3, 3)
    padded = np.zeros((n, c, h + 2, w + 2))
    for i in range(3):
        for j in range(3):
            padded[:, :, i : i + h, j : j + w] += columns[:, :, :, :, i, j].transpose(0, 3, 1, 2)
    return padded[:, :, 1:-1, 1:-1]


def convolve(x, weight, bias):
    columns = patches(x)
    y = columns @ weight.reshape(len(weight), -1).T + bias
    return y.transpose(0, 3, 1, 2), columns


def convolve_back(gradient, columns, weight, shape):
    rows = gradient.transpose(0, 2, 3, 1)
    flat = rows.reshape(-1, len(weight))
    d_weight = (flat.T @ columns.reshape(len(flat), -1)).reshape(weight.shape)
    d_x = unpatches(rows @ weight.reshape(len(weight), -1), shape)
    return d_x, d_weight, flat.sum(axis=0)


def pool(x):
    """2x2 maximum, and which of the four it was."""
    n, c, h, w = x.shape
    cells = x.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5)
    cells = cells.reshape(n, c, h // 2, w // 2, 4)
    return cells.max(axis=-1), cells.argmax(axis=-1)


def pool_back(gradient, where):
    n, c, h, w = gradient.shape
    cells = (np.arange(4) == where[..., None]) * gradient[..., None]
    cells = cells.reshape(n, c, h, w, 2, 2).transpose(0, 1, 2, 4, 3, 5)
    return cells.reshape(n, c, h * 2, w * 2)


def forward(weights, image):
    keep = {"x": image / 16}
    a, keep["columns1"] = convolve(keep["x"], weights["conv1.weight"], weights["conv1.bias"])
    keep["relu1"] = np.maximum(a, 0)
    keep["pool1"], keep["where1"] = pool(keep["relu1"])
    b, keep["columns2"] = convolve(keep["pool1"], weights["conv2.weight"], weights["conv2.bias"])
    keep["relu2"] = np.maximum(b, 0)
    pooled, keep["where2"] = pool(keep["relu2"])
    keep["pooled_shape"] = pooled.shape
    keep["flat"] = pooled.reshape(len(image), -1)
    scores = keep["flat"] @ weights["dense.weight"].T + weights["dense.bias"]
    scores = scores - scores.max(axis=1, keepdims=True)
    exponents = np.exp(scores)
    return exponents / exponents.sum(axis=1, keepdims=True), keep


def backward(weights, keep, probabilities, labels):
    gradient = probabilities.copy()
    gradient[np.arange(len(labels)), labels] -= 1
    gradient /= len(labels)
    d = {"dense.weight": gradient.T @ keep["flat"], "dense.bias": gradient.sum(axis=0)}
    g = (gradient @ weights["dense.weight"]).reshape(keep["pooled_shape"])
    g = pool_back(g, keep["where2"]) * (keep["relu2"] > 0)
    g, d["conv2.weight"], d["conv2.bias"] = convolve_back(
        g, keep["columns2"], weights["conv2.weight"], keep["pool1"].shape
    )
    g = pool_back(g, keep["where1"]) * (keep["relu1"] > 0)
    _, d["conv1.weight"], d["conv1.bias"] = convolve_back(
        g, keep["columns1"], weights["conv1.weight"], keep["x"].shape
    )
    return d


def first_weights(random):
    one, two = CHANNELS
    shapes = {
        "conv1.weight": (one, 1, 3, 3),
        "conv1.bias": (one,),
        "conv2.weight": (two, one, 3, 3),
        "conv2.bias": (two,),
        "dense.weight": (10, two * 4),
        "dense.bias": (10,),
    }
    return {
        name: random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
        if name.endswith("weight")
        else np.zeros(shape)
        for name, shape in shapes.items()
    }


def train(seed, penalty, image, labels):
    """Adam with a step size that falls linearly to nothing."""
    random = np.random.default_rng(seed)
    weights = first_weights(random)
    mean = {name: np.zeros_like(value) for name, value in weights.items()}
    square = {name: np.zeros_like(value) for name, value in weights.items()}
    batches = len(image) // BATCH
    step, steps = 0, EPOCHS * batches
    for _ in range(EPOCHS):
        order = random.permutation(len(image))
        for start in range(0, batches * BATCH, BATCH):
            chosen = order[start : start + BATCH]
            probabilities, keep = forward(weights, image[chosen])
            gradients = backward(weights, keep, probabilities, labels[chosen])
            rate = 0.003 * (1 - step / steps)
            step += 1
            for name, value in weights.items():
                gradient = gradients[name]
                if name.endswith("weight"):
                    gradient = gradient + penalty * value
                mean[name] = 0.9 * mean[name] + 0.1 * gradient
                square[name] = 0.999 * square[name] + 0.001 * gradient**2
                a = mean[name] / (1 - 0.9**step)
                b = square[name] / (1 - 0.999**step)
                weights[name] = value - rate * a / (np.sqrt(b) + 1e-8)
    return weights


# --- the graph ---------------------------------------------------------------


def check_gradients():
    """Assert that `backward` is the derivative of `forward`, by finite differences."""
    random = np.random.default_rng(0)
    weights = first_weights(random)
    image = random.uniform(0, 16, (4, 1, 8, 8))
    labels = np.array([0, 3, 5, 9])

    def loss():
        return -np.log(forward(weights, image)[0][np.arange(4), labels]).mean()

    probabilities, keep = forward(weights, image)
    gradients = backward(weights, keep, probabilities, labels)
    for name, value in weights.items():
        flat = value.reshape(-1)
        for place in random.choice(flat.size, 5):
            kept = flat[place]
            flat[place] = kept + 1e-6
            above = loss()
            flat[place] = kept - 1e-6
            below = loss()
            flat[place] = kept
            slope = (above - below) / 2e-6
            assert abs(slope - gradients[name].reshape(-1)[place]) < 1e-6, name


def graph(weights):
    constants = {name: value.astype(np.float32) for name, value in weights.items()}
    constants["scale"] = np.array(1 / 16, np.float32)
    conv = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    half = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        helper.make_node("Mul", ["image", "scale"], ["x"]),
        helper.make_node("Conv", ["x", "conv1.weight", "conv1.bias"], ["conv1"], **conv),
        helper.make_node("Relu", ["conv1"], ["relu1"]),
        helper.make_node("MaxPool", ["relu1"], ["pool1"], **half),
        helper.make_node("Conv", ["pool1", "conv2.weight", "conv2.bias"], ["conv2"], **conv),
        helper.make_node("Relu", ["conv2"], ["relu2"]),
        helper.make_node("MaxPool", ["relu2"], ["pool2"], **half),
        helper.make_node("Flatten", ["pool2"], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "dense.weight", "dense.bias"], ["scores"], transB=1),
        helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
    ]
    for node in nodes:
        node.name = node.output[0]
    outputs = [("label", TensorProto.INT64, ()), ("probabilities", TensorProto.FLOAT, (10,))]
    body = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info(name, kind, ["N", *row]) for name, kind, row in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(
        body,
        producer_name="ortus-models",
        opset_imports=[helper.make_opsetid("", export.OPSET)],
    )
    return export.finish(model, "digits", "The digit in an 8x8 grey image.", outputs)


def main():
    check_gradients()
    digits = load_digits()
    image = digits.images.astype(np.float32).reshape(-1, 1, 8, 8)
    image_train, image_test, y_train, y_test = train_test_split(
        image, digits.target, test_size=0.25, random_state=SEED, stratify=digits.target
    )
    numbers = {"train_rows": len(image_train), "test_rows": len(image_test)}
    for directory, (seed, penalty) in VERSIONS.items():
        path = FOLDER / directory / "model.onnx"
        weights = train(seed, penalty, image_train.astype(np.float64), y_train)
        export.save(graph(weights), path)
        export.check_rows(path, {"image": image_test})
        expected, _ = forward(weights, image_test.astype(np.float64))
        found = export.predict(path, {"image": image_test})["probabilities"]
        assert np.abs(expected - found).max() < 1e-4, "the graph is not the trained model"
        numbers[directory] = export.classification(path, {"image": image_test}, y_test)
        assert numbers[directory]["accuracy"] > 0.97, numbers

    export.write_sample(FOLDER, {"image": image_test[export.first_of_each(y_test)]})
    export.write_golden(FOLDER)
    export.write_golden(FOLDER, ".next", "2")
    export.check_versions_differ(FOLDER, "probabilities", least=1e-5)
    export.write_evaluation(FOLDER, numbers)
    export.write_sums(FOLDER)


if __name__ == "__main__":
    main()
