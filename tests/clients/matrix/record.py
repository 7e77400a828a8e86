"""Calls every public method of a client and notes what came of it, for the table in docs/serving/clients.md."""

import inspect
import json
import os
import pathlib

import numpy as np
import onnxruntime

# Two correct kernels may differ in the last bits.
TOLERANCE = 1e-5


class Matrix:
    """The methods of one client, each with what became of it."""

    def __init__(self, client, of, without=()):
        """`of`: the class or stub with the methods. `without`: those that call no server."""
        names = {name for name in dir(of) if not name.startswith("_") and callable(getattr(of, name))}
        unknown = set(without) - names
        assert not unknown, f"{client} has no {unknown}"
        self.client = client
        self.left = names - set(without)
        self.rows = []

    def works(self, name, call, under="", result="works"):
        """The call must return; the checks of its answer are in `call`."""
        self.note(name, under)
        call()
        self.rows.append((self.client, shown(name, under), result))

    def refused(self, name, call, wanted, reason, under=""):
        """The call must be refused with `wanted` in its error: the server has not what it asks for."""
        self.note(name, under)
        try:
            call()
        except AssertionError:
            raise
        except Exception as error:
            text = f"{error} {getattr(error, 'details', str)()}"
            assert wanted in text, f"{self.client} {name}: {text}"
        else:
            raise AssertionError(f"{self.client} {name}: not refused")
        self.rows.append((self.client, shown(name, under), reason))

    def note(self, name, under):
        assert under or name in self.left, f"{self.client}: {name} is called twice or is not a method"
        self.left.discard(name)

    def end(self):
        assert not self.left, f"{self.client}: {sorted(self.left)} are not called"
        for client, call, result in self.rows:
            print(client, call, result, sep="\t")


def shown(name, under):
    return f"`{name}`, {under}" if under else f"`{name}`"


class Reference:
    """An example model of the folder `ORTUS_MODELS` with its sample, run by ONNX Runtime in this process."""

    def __init__(self, name):
        folder = pathlib.Path(os.environ["ORTUS_MODELS"]) / name
        sample = json.loads((folder / "sample.json").read_text())
        self.name = name
        self.inputs = {
            tensor["name"]: np.array(tensor["data"], np.float32).reshape(tensor["shape"]) for tensor in sample["inputs"]
        }
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(folder / "1" / "model.onnx"), options, ["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        self.outputs = dict(zip(names, session.run(names, self.inputs), strict=True))

    def check(self, answers):
        """Holds named arrays against those of ONNX Runtime."""
        assert set(answers) == set(self.outputs), (set(answers), set(self.outputs))
        for name, expected in self.outputs.items():
            got = np.asarray(answers[name])
            assert got.shape == expected.shape, (name, got.shape, expected.shape)
            assert np.allclose(got, expected, rtol=TOLERANCE, atol=TOLERANCE), (name, got, expected)


def finished(loop):
    """A function that returns the value of a call, also of an asynchronous one."""
    return lambda value: loop.run_until_complete(value) if inspect.isawaitable(value) else value
