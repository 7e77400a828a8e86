//! Gradients against differences of the loss, and the same weights on any threads.

use super::*;
use crate::frame::{Frame, FrameColumn, FrameValues};

fn world(rows: usize) -> (Frame, Vec<f32>, Vec<Feature>) {
    let dice =
        |row: usize, of: u64| (mix(of, row as u64) >> 40) as f32 / (1 << 24) as f32 * 2.0 - 1.0;
    let column = |of: u64| FrameColumn {
        name: format!("x{of}"),
        values: FrameValues::Numbers((0..rows).map(|row| dice(row, of)).collect()),
    };

    let y = (0..rows)
        .map(|row| 10.0 + 5.0 * dice(row, 1) * dice(row, 2))
        .collect();
    let frame = Frame {
        columns: vec![column(1), column(2)],
        rows,
        ..Frame::default()
    };

    let all: Vec<u32> = (0..rows as u32).collect();
    let features = (0..2).map(|c| Feature::learn(&frame, c, &all)).collect();
    (frame, y, features)
}

fn options() -> MlpOptions {
    MlpOptions {
        loss: Loss::Squared,
        hidden: 16,
        rate: 0.005,
        decay: 1e-4,
        epochs_max: 60,
        patience: 10,
        seed: 7,
    }
}

#[test]
fn a_product_of_columns_is_fitted_and_the_same_on_any_threads() {
    let (frame, y, features) = world(3_000);
    let (train, stop) = (
        frame.take(&(0..2_000).collect::<Vec<_>>()),
        frame.take(&(2_000..3_000).collect::<Vec<_>>()),
    );
    let fit_on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("threads");
        let train = Labelled {
            frame: &train,
            targets: &y[..2_000],
            weights: None,
        };
        let stop = Labelled {
            frame: &stop,
            targets: &y[2_000..],
            weights: None,
        };
        pool.install(|| fit(&train, &stop, &features, &options(), &mut |_| {}))
    };

    let found = fit_on(1);
    assert!(found == fit_on(3), "to the last bit");
    let numbers = crate::fit::trees::rows(&stop, &features);
    let error = |row: usize| found.scores(&numbers[row * 2..][..2])[0] - f64::from(y[2_000 + row]);
    let mse = (0..1_000).map(|row| error(row).powi(2)).sum::<f64>() / 1_000.0;
    assert!(mse < 0.1, "{mse}; the values' own spread is 2.8");
}

#[test]
fn the_gradient_is_that_of_the_mean_loss() {
    let (frame, _, features) = world(64);
    let targets: Vec<f32> = (0..64).map(|row| (row % 3) as f32).collect();
    let scales = encode::scales(&frame);
    let rows = EncodedRows::of(&frame, &features, &scales);
    let loss = Loss::Softmax(3);
    let shape = Shape {
        sizes: vec![rows.size, 5, 5, 3],
    };
    let network = Network::random(shape, 3);
    let examples = Examples {
        rows: &rows,
        targets: &targets,
        weights: None,
    };

    let batch: Vec<u32> = (0..64).collect();
    let gradient = network.gradient(&examples, &batch, loss);

    for place in (0..network.weights.len()).step_by(7) {
        let at = |by: f32| {
            let mut moved = network.clone();
            moved.weights[place] += by;
            moved.mean_loss(&examples, loss)
        };
        let expected = (at(1e-3) - at(-1e-3)) / 2e-3;
        let found = f64::from(gradient[place]);
        assert!(
            (expected - found).abs() < 2e-3,
            "{place}: {expected} {found}"
        );
    }
}
