"""Times ONNX Runtime on requests of 1 to 128 random tokens, one at a time: at their own lengths, and padded to the next of
16, 32, 64 and 128. alone.py MODEL: needs numpy and onnxruntime."""

import sys
import time

import numpy as np
import onnxruntime

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
lengths = np.random.default_rng(1).integers(1, 129, 4000)


def run(length, padded):
    ids, mask = np.zeros((1, padded), np.int64), np.zeros((1, padded), np.int64)
    ids[:, :length], mask[:, :length] = 7, 1
    start = time.perf_counter()
    session.run(None, {"input_ids": ids, "attention_mask": mask})
    return time.perf_counter() - start


def bucket(length):
    return next(one for one in (16, 32, 64, 128) if one >= length)


for length in range(1, 129):
    run(length, length)
for _ in range(2):
    own = sum(run(length, length) for length in lengths) / len(lengths)
    padded = sum(run(length, bucket(length)) for length in lengths) / len(lengths)
    print(f"own length {own * 1e6:.0f} us, padded {padded * 1e6:.0f} us")
