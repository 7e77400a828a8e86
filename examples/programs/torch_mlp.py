"""A PyTorch perceptron for values, run by `ortus-trainer`: numbers only, stopped by the rows to stop by.

The graph takes all numbers as one tensor `x`, in the order of the features.
"""

import io

import numpy as np
import torch
from ortus_program import FEATURES, SPEC, WORDS, leave, read, target

if WORDS or SPEC["task"] != "regression":
    raise SystemExit("this program learns values from numbers")

torch.manual_seed(SPEC["seed"])
torch.set_num_threads(SPEC["threads"])


def tensors(part):
    columns = read(part)
    x = np.stack([columns[name] for name in FEATURES], axis=1).astype(np.float32)
    return torch.from_numpy(np.nan_to_num(x)), columns


(x, train), (stop_x, stop), (test_x, _) = tensors("train"), tensors("stop"), tensors("test")
y = torch.tensor(target(train), dtype=torch.float32)[:, None]
stop_y = torch.tensor(target(stop), dtype=torch.float32)[:, None]
mean, scale = x.mean(0), x.std(0).clamp(min=1e-6)
middle, spread = y.mean(), y.std().clamp(min=1e-6)


class Perceptron(torch.nn.Module):
    """Scales, two hidden layers, and back to the target's scale; what is missing counts as nought."""

    def __init__(self):
        super().__init__()
        wide = 32
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(x.shape[1], wide), torch.nn.ReLU(), torch.nn.Linear(wide, wide), torch.nn.ReLU(), torch.nn.Linear(wide, 1)
        )

    def forward(self, x):
        x = torch.where(torch.isnan(x), torch.zeros_like(x), x)
        return self.layers((x - mean) / scale) * spread + middle


model = Perceptron()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-3)
best, kept, waited = float("inf"), None, 0
for epoch in range(500):
    for batch in torch.randperm(len(x)).split(64):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(x[batch]), y[batch]).backward()
        optimizer.step()
    with torch.no_grad():
        loss = torch.nn.functional.mse_loss(model(stop_x), stop_y).item()
    if loss < best:
        best, kept, waited = loss, {name: value.clone() for name, value in model.state_dict().items()}, 0
    elif (waited := waited + 1) >= 20:
        break

model.load_state_dict(kept)
model.eval()
buffer = io.BytesIO()
names = {"input_names": ["x"], "output_names": ["value"], "dynamic_axes": {"x": {0: "N"}, "value": {0: "N"}}}
torch.onnx.export(model, (test_x[:2],), buffer, opset_version=17, dynamo=False, **names)
with torch.no_grad():
    predicted = model(test_x)[:, 0].numpy()
leave(buffer.getvalue(), predicted, metrics={"stop_mse": best, "epochs": epoch + 1.0})
