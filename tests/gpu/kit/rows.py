"""Rows of a model with their golden answers, and the comparison with what a server answers.

The golden answers were computed by ONNX Runtime's CPU provider when the kit was packed.
"""

import json
import math
from pathlib import Path

from .pieces import KitError

# The largest difference from the golden answer that is accepted, as a share of the largest value of the row's golden answer.
# Sums in another order make up to about 1e-5 of it. By default the CUDA provider multiplies with TF32, which has 10 bits.
TOLERANCE = {"cpu": 1e-4, "cuda": 1e-2, "cuda without TF32": 1e-3}


class Rows:
    """What `ortus-loadtest models` keeps beside a model: inputs `x` and answers `y`, flat."""

    def __init__(self, kit, model):
        path = Path(kit) / "models" / model / "rows.json"
        try:
            read = json.loads(path.read_text())
            self.x_width, self.x, self.y = read["x_width"], read["x"], read["y"]
        except (OSError, ValueError, KeyError) as error:
            raise KitError(f"{path} cannot be used: {error!r}") from error
        self.model = model

    def request(self, rows):
        """A request of these rows, as JSON of the Open Inference Protocol. Rows beyond the last start again."""
        values = [value for row in rows for value in self.x[row % len(self.x)]]
        tensor = {"name": "x", "datatype": "FP32", "shape": [len(rows), *self.x_width], "data": values}
        return json.dumps({"inputs": [tensor]}).encode()

    def compare(self, answer, rows, tolerance):
        """The largest difference of an answer, as a share; raises where it exceeds the tolerance."""
        outputs = {output["name"]: output for output in answer.get("outputs", [])}
        if "y" not in outputs:
            raise KitError(f"{self.model}: the answer has no output y, but {sorted(outputs)}")
        data, width = outputs["y"]["data"], len(self.y[0])
        if len(data) != width * len(rows):
            raise KitError(f"{self.model}: the answer has {len(data)} values instead of {width * len(rows)}")
        worst = 0.0
        for at, row in enumerate(rows):
            share = difference(self.y[row % len(self.y)], data[at * width : (at + 1) * width])
            if not share <= tolerance:
                raise KitError(
                    f"{self.model}: wrong answer: row {row} differs from its golden answer by {share:.2e} "
                    f"of the largest value; accepted is {tolerance:.0e}"
                )
            worst = max(worst, share)
        return worst


def difference(golden, got):
    """The largest difference as a share of the largest golden value; infinite for values that are no numbers."""
    if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in got):
        return math.inf
    scale = max(map(abs, golden)) or 1.0
    return max(abs(want - have) for want, have in zip(golden, got)) / scale
