//! LambdaRank (Burges 2010): each pair of rows of a query with other grades pulls their scores
//! apart, by as much as their exchange would change NDCG. Owns the queries of a part of the rows.

#[cfg(test)]
mod tests;

use super::TreeRows;
use crate::ndcg::{self, discount, gain};
use rayon::prelude::*;
use std::collections::HashMap;

/// The first places of the NDCG that stops a fit.
const STOP_PLACES: usize = 10;

/// The rows of each query.
pub(crate) struct Queries(pub Vec<Vec<u32>>);

/// Two rows of a query: how much the score of the better one should exceed that of the other.
struct RankedPair {
    better: u32,
    worse: u32,
    weight: f64,
}

impl Queries {
    /// Finds the rows of each query, in the order of their first rows.
    pub(crate) fn of(groups: &[u32]) -> Self {
        let (mut all, mut places): (Vec<Vec<u32>>, HashMap<u32, usize>) = Default::default();
        for (row, group) in (0..).zip(groups) {
            let place = *places.entry(*group).or_insert_with(|| {
                all.push(Vec::new());
                all.len() - 1
            });
            all[place].push(row);
        }
        Self(all)
    }
}

/// Returns the gradient and Hessian of every row.
pub(super) fn gradients(
    queries: &Queries,
    rows: &TreeRows<'_>,
    scores: &[f64],
    truncation: usize,
) -> Vec<[f32; 2]> {
    let found: Vec<Vec<[f64; 2]>> = queries
        .0
        .par_iter()
        .map(|query| {
            of_query(
                query,
                &pairs(query, rows.targets, scores, truncation),
                scores,
            )
        })
        .collect();

    let mut all = vec![[0.0; 2]; rows.targets.len()];
    for (query, found) in queries.0.iter().zip(found) {
        for (row, [gradient, hessian]) in query.iter().zip(found) {
            let row = *row as usize;
            let weight = rows.weights.map_or(1.0, |w| f64::from(w[row]));
            all[row] = [(weight * gradient) as f32, (weight * hessian) as f32];
        }
    }
    all
}

/// Returns the gradient and Hessian of each row of a query: of the logistic loss of the
/// differences of scores, pair by pair.
fn of_query(query: &[u32], pairs: &[RankedPair], scores: &[f64]) -> Vec<[f64; 2]> {
    let mut all = vec![[0.0; 2]; query.len()];
    let mut pulled = 0.0;
    for pair in pairs {
        let (better, worse) = (pair.better as usize, pair.worse as usize);
        let apart = scores[query[better] as usize] - scores[query[worse] as usize];
        let p = 1.0 / (1.0 + apart.exp());
        let (pull, curve) = (pair.weight * p, pair.weight * p * (1.0 - p));
        all[better] = [all[better][0] - pull, all[better][1] + curve];
        all[worse] = [all[worse][0] + pull, all[worse][1] + curve];
        pulled += 2.0 * pull;
    }
    if pulled > 0.0 {
        // Queries of many rows pull no more than their logarithm.
        let scale = (1.0 + pulled).log2() / pulled;
        all.iter_mut()
            .for_each(|sums| *sums = [sums[0] * scale, sums[1] * scale]);
    }
    all
}

/// Returns the pairs of a query, of which at least one row is among the first places.
fn pairs(query: &[u32], targets: &[f32], scores: &[f64], truncation: usize) -> Vec<RankedPair> {
    let score = |at: u32| scores[query[at as usize] as usize];
    let grade = |at: u32| f64::from(targets[query[at as usize] as usize]);
    let ideal = ndcg::ideal((0..query.len() as u32).map(grade).collect(), truncation);
    if ideal <= 0.0 {
        return Vec::new();
    }

    let mut order: Vec<u32> = (0..query.len() as u32).collect();
    order.sort_by(|a, b| score(*b).total_cmp(&score(*a)));
    let spread = score(order[0]) - score(order[order.len() - 1]);
    let mut all = Vec::new();
    for first in 0..truncation.min(order.len()) {
        for second in first + 1..order.len() {
            let (a, b) = (order[first], order[second]);
            if grade(a) == grade(b) {
                continue;
            }
            let (better, worse) = if grade(a) > grade(b) { (a, b) } else { (b, a) };
            let gained = (gain(grade(a)) - gain(grade(b))).abs();
            let mut weight = gained * (discount(first) - discount(second)).abs() / ideal;
            if spread > 0.0 {
                // Pairs that are far apart already matter less.
                weight /= 0.01 + (score(a) - score(b)).abs();
            }
            all.push(RankedPair {
                better,
                worse,
                weight,
            });
        }
    }
    all
}

/// Returns what the mean NDCG of the queries lacks to 1.
pub(super) fn mean_loss(queries: &Queries, rows: &TreeRows<'_>, scores: &[f64]) -> f64 {
    let of = |query: &Vec<u32>| {
        let pair = |row: &u32| {
            (
                scores[*row as usize],
                f64::from(rows.targets[*row as usize]),
            )
        };
        let found = ndcg::of(&query.iter().map(pair).collect::<Vec<_>>(), STOP_PLACES)?;
        let weight = |row: &u32| rows.weights.map_or(1.0, |w| f64::from(w[*row as usize]));
        let weight = query.iter().map(weight).sum::<f64>() / query.len() as f64;
        Some((weight * (1.0 - found), weight))
    };
    let found: Vec<(f64, f64)> = queries.0.par_iter().filter_map(of).collect();
    let (sum, whole) = found.iter().fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
    sum / whole.max(f64::MIN_POSITIVE)
}
