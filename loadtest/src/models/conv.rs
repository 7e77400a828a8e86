//! Conv nets: one of a millisecond, and one of the shape and size of ResNet-50
//! (25.5 million weights, normalisation folded into the convolutions).

use super::graph::{Given, Graph};

/// A convolution of square kernels.
#[derive(Clone, Copy)]
struct Kernel {
    from: i64,
    to: i64,
    size: i64,
    stride: i64,
}

/// Weights get smaller by this much where branches are added, so that values stay near 1.
const BRANCH_SHRINK: i64 = 16;

fn convolve(g: &mut Graph, at: &str, kernel: Kernel, shrink: i64) -> String {
    let Kernel {
        from,
        to,
        size,
        stride,
    } = kernel;
    // Half of the inputs are cut off by the activation before.
    let fan_in = from * size * size * shrink / 2;
    let weights = g.random(&[to, from, size, size], fan_in.max(1));
    let bias = g.floats(&[to], &vec![0.0; to as usize]);
    let attributes = [
        ("pads", Given::Ints(vec![size / 2; 4])),
        ("strides", Given::Ints(vec![stride; 2])),
        ("kernel_shape", Given::Ints(vec![size; 2])),
    ];
    g.add_with("Conv", &[at, &weights, &bias], &attributes)
}

fn classify(g: &mut Graph, at: &str, from: i64, to: i64) {
    let pooled = g.add("GlobalAveragePool", &[at]);
    let flat = g.add("Flatten", &[&pooled]);
    let (weights, bias) = (g.random(&[from, to], from), g.random(&[to], to));
    g.add("Gemm", &[&flat, &weights, &bias]);
    g.output(&[to]);
}

pub(super) fn small(g: &mut Graph) {
    g.input(&[3, 64, 64]);
    let mut at = "x".to_owned();
    for (from, to) in [(3, 16), (16, 32), (32, 64)] {
        let kernel = Kernel {
            from,
            to,
            size: 3,
            stride: 2,
        };
        at = convolve(g, &at, kernel, 1);
        at = g.add("Relu", &[&at]);
    }
    classify(g, &at, 64, 10);
}

/// Blocks of each stage.
const STAGES: [usize; 4] = [3, 4, 6, 3];

pub(super) fn resnet50(g: &mut Graph) {
    g.input(&[3, 224, 224]);
    let stem = Kernel {
        from: 3,
        to: 64,
        size: 7,
        stride: 2,
    };
    let mut at = convolve(g, "x", stem, 1);
    at = g.add("Relu", &[&at]);
    let pool = [
        ("kernel_shape", Given::Ints(vec![3; 2])),
        ("strides", Given::Ints(vec![2; 2])),
        ("pads", Given::Ints(vec![1; 4])),
    ];
    at = g.add_with("MaxPool", &[&at], &pool);
    let mut from = 64;
    for (stage, blocks) in STAGES.into_iter().enumerate() {
        let inner = 64 << stage;
        for block in 0..blocks {
            let stride = if block == 0 && stage > 0 { 2 } else { 1 };
            at = bottleneck(
                g,
                &at,
                Kernel {
                    from,
                    to: inner,
                    size: 3,
                    stride,
                },
            );
            from = 4 * inner;
        }
    }
    classify(g, &at, from, 1000);
}

/// 1×1, 3×3 and 1×1, around which the input is led past.
fn bottleneck(g: &mut Graph, at: &str, middle: Kernel) -> String {
    let Kernel {
        from, to, stride, ..
    } = middle;
    let one = |from, to, stride| Kernel {
        from,
        to,
        size: 1,
        stride,
    };
    let mut branch = convolve(g, at, one(from, to, 1), 1);
    branch = g.add("Relu", &[&branch]);
    branch = convolve(g, &branch, Kernel { from: to, ..middle }, 1);
    branch = g.add("Relu", &[&branch]);
    branch = convolve(g, &branch, one(to, 4 * to, 1), BRANCH_SHRINK);
    let past = match from == 4 * to {
        true => at.to_owned(),
        false => convolve(g, at, one(from, 4 * to, stride), 1),
    };
    let sum = g.add("Add", &[&branch, &past]);
    g.add("Relu", &[&sum])
}
