//! The network while it is fitted: all weights in one vector, predictions, and the
//! gradient of the mean loss by backpropagation. Owns no schedule.

use super::super::encode::EncodedRows;
use super::super::trees::loss::Loss;
use crate::random::mix;
use rayon::prelude::*;

/// Rows of a part of a batch. Gradients of parts are added in their order, so that
/// the number of threads changes nothing.
const PART: usize = 64;

/// The sizes of layers, the input first.
#[derive(Clone)]
pub(super) struct Shape {
    pub sizes: Vec<usize>,
}

impl Shape {
    /// Returns the place of the first weight of a layer; its biases follow its weights.
    fn at(&self, layer: usize) -> usize {
        (0..layer)
            .map(|l| (self.sizes[l] + 1) * self.sizes[l + 1])
            .sum()
    }

    /// Returns the layers of weights.
    pub(super) fn layers(&self) -> usize {
        self.sizes.len() - 1
    }

    /// Returns where a layer lies among all weights.
    fn span(&self, layer: usize) -> LayerSpan {
        LayerSpan {
            from: self.at(layer),
            inputs: self.sizes[layer],
            outputs: self.sizes[layer + 1],
        }
    }
}

/// Where a layer lies among all weights.
#[derive(Clone, Copy)]
struct LayerSpan {
    from: usize,
    inputs: usize,
    outputs: usize,
}

impl LayerSpan {
    /// Returns the place of the first bias.
    fn biases(self) -> usize {
        self.from + self.inputs * self.outputs
    }

    /// Returns the place of the first weight of an input.
    fn input(self, place: usize) -> usize {
        self.from + place * self.outputs
    }
}

/// Encoded rows with their targets.
pub(super) struct Examples<'e> {
    pub rows: &'e EncodedRows,
    pub targets: &'e [f32],
    pub weights: Option<&'e [f32]>,
}

/// A network of fully connected layers, with ReLU between them.
#[derive(Clone)]
pub(super) struct Network {
    pub shape: Shape,
    pub weights: Vec<f32>,
}

impl Network {
    /// Draws weights at random, by the size of each layer (He et al. 2015).
    pub(super) fn random(shape: Shape, seed: u64) -> Self {
        let mut weights = vec![0.0; shape.at(shape.layers())];
        for layer in 0..shape.layers() {
            let span = shape.span(layer);
            let reach = (6.0 / span.inputs.max(1) as f64).sqrt();
            let places = span.from..span.biases();
            for (place, weight) in places.clone().zip(&mut weights[places]) {
                let random = (mix(seed ^ 0x5eed, place as u64) >> 11) as f64 / (1_u64 << 53) as f64;
                *weight = ((random * 2.0 - 1.0) * reach) as f32;
            }
        }

        Self { shape, weights }
    }

    /// Sets the biases of the scores.
    pub(super) fn set_score_biases(&mut self, biases: &[f64]) {
        let from = self.weights.len() - biases.len();
        for (weight, bias) in self.weights[from..].iter_mut().zip(biases) {
            *weight = *bias as f32;
        }
    }

    /// Returns the weights and the biases of a layer.
    pub(super) fn layer(&self, layer: usize) -> (&[f32], &[f32]) {
        let span = self.shape.span(layer);
        let biases = span.biases();
        (
            &self.weights[span.from..biases],
            &self.weights[biases..biases + span.outputs],
        )
    }

    /// Returns the outputs of each layer for a row, before ReLU; the last are the scores.
    fn forward(&self, input: RowFeatures<'_>) -> Vec<Vec<f32>> {
        let mut outputs: Vec<Vec<f32>> = Vec::with_capacity(self.shape.layers());
        for layer in 0..self.shape.layers() {
            let span = self.shape.span(layer);
            let mut sums = self.weights[span.biases()..][..span.outputs].to_vec();
            let add = |place: usize, x: f32| {
                let weights = &self.weights[span.input(place)..][..span.outputs];
                sums.iter_mut().zip(weights).for_each(|(s, w)| *s += x * w);
            };
            input.each(outputs.last(), add);
            outputs.push(sums);
        }

        outputs
    }

    /// Returns the gradient of the mean loss of a batch.
    pub(super) fn gradient(&self, examples: &Examples<'_>, batch: &[u32], loss: Loss) -> Vec<f32> {
        let parts: Vec<Vec<f32>> = batch
            .par_chunks(PART)
            .map(|part| {
                let mut gradient = vec![0.0; self.weights.len()];
                for row in part {
                    let row = *row as usize;
                    let weight = examples.weights.map_or(1.0, |w| w[row]) / batch.len() as f32;
                    let input = examples.input(row);
                    let outputs = self.forward(input);
                    let target = &examples.targets[row..=row];
                    let of_scores = self.of_scores(&outputs, target, weight, loss);
                    self.backward(input, &outputs, of_scores, &mut gradient);
                }
                gradient
            })
            .collect();

        let mut parts = parts.into_iter();
        let mut whole = parts.next().unwrap_or_default();
        parts.for_each(|part| whole.iter_mut().zip(part).for_each(|(w, p)| *w += p));
        whole
    }

    /// Returns the gradient of a row's loss by its scores, with the weight of the row.
    fn of_scores(&self, outputs: &[Vec<f32>], target: &[f32], weight: f32, loss: Loss) -> Vec<f32> {
        let scores = outputs[self.shape.layers() - 1].iter();
        let scores: Vec<f64> = scores.map(|s| f64::from(*s)).collect();
        let gradients = loss.gradients(target, None, &scores);
        gradients.iter().map(|g| g[0][0] * weight).collect()
    }

    /// Adds the gradient of a row, from the scores back to the features.
    fn backward(
        &self,
        input: RowFeatures<'_>,
        outputs: &[Vec<f32>],
        mut of_outputs: Vec<f32>,
        gradient: &mut [f32],
    ) {
        for layer in (0..self.shape.layers()).rev() {
            let span = self.shape.span(layer);
            gradient[span.biases()..][..span.outputs]
                .iter_mut()
                .zip(&of_outputs)
                .for_each(|(g, o)| *g += o);
            let add = |place: usize, x: f32| {
                let of_weights = &mut gradient[span.input(place)..][..span.outputs];
                let pairs = of_weights.iter_mut().zip(&of_outputs);
                pairs.for_each(|(g, o)| *g += x * o);
            };
            let before = layer.checked_sub(1).map(|before| &outputs[before]);
            input.each(before, add);

            let Some(before) = before else {
                return;
            };
            let of_input = |(place, x): (usize, &f32)| {
                if *x <= 0.0 {
                    return 0.0;
                }
                let weights = &self.weights[span.input(place)..][..span.outputs];
                weights.iter().zip(&of_outputs).map(|(w, o)| w * o).sum()
            };
            of_outputs = before.iter().enumerate().map(of_input).collect();
        }
    }

    /// Returns the mean loss of rows.
    pub(super) fn mean_loss(&self, examples: &Examples<'_>, loss: Loss) -> f64 {
        let scores: Vec<Vec<f32>> = (0..examples.rows.rows)
            .into_par_iter()
            .with_min_len(256)
            .map(|row| self.forward(examples.input(row)).pop().unwrap_or_default())
            .collect();
        let scores: Vec<f64> = scores.into_iter().flatten().map(f64::from).collect();

        loss.mean(examples.targets, examples.weights, &scores)
    }
}

impl<'e> Examples<'e> {
    fn input(&self, row: usize) -> RowFeatures<'e> {
        RowFeatures {
            rows: self.rows,
            row,
        }
    }
}

/// The features of a row.
#[derive(Clone, Copy)]
struct RowFeatures<'i> {
    rows: &'i EncodedRows,
    row: usize,
}

impl RowFeatures<'_> {
    /// Calls `add` with the place and the value of each input of a layer that is
    /// not zero: the outputs of the layer before after ReLU, or the features.
    fn each(self, before: Option<&Vec<f32>>, mut add: impl FnMut(usize, f32)) {
        let Some(outputs) = before else {
            for (place, x) in self.rows.numbers(self.row).iter().enumerate() {
                if *x != 0.0 {
                    add(place, *x);
                }
            }
            let categories = self.rows.categories(self.row);
            categories.for_each(|place| add(place, 1.0));
            return;
        };

        for (place, x) in outputs.iter().enumerate() {
            if *x > 0.0 {
                add(place, *x);
            }
        }
    }
}
