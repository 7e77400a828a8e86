//! Tests of `rank`.

use super::super::super::bins::Binned;
use super::super::super::large_bytes::LargeBytes;
use super::*;
use crate::random::mix;

fn nothing() -> Binned {
    Binned::by_feature(Vec::new(), 0, LargeBytes::zeros(0))
}

fn random(row: usize, salt: u64) -> f64 {
    (mix(salt, row as u64) >> 11) as f64 / (1_u64 << 53) as f64
}

/// The loss whose gradient the pairs give, with their weights of the moment.
fn pair_loss(pairs: &[RankedPair], query: &[u32], scores: &[f64]) -> f64 {
    let of = |pair: &RankedPair| {
        let score = |at: u32| scores[query[at as usize] as usize];
        pair.weight * (score(pair.worse) - score(pair.better)).exp().ln_1p()
    };
    pairs.iter().map(of).sum()
}

#[test]
fn gradients_are_those_of_the_pairs() {
    let query: Vec<u32> = vec![3, 0, 4, 1, 2];
    let targets = [2.0_f32, 0.0, 1.0, 0.0, 3.0];
    let scores = [0.3, -0.2, 1.1, 0.4, -0.9];
    let pairs = pairs(&query, &targets, &scores, 3);
    // Of the pairs of other grades, those within the first three places of 2, 3, 0, 1, 4.
    assert_eq!(pairs.len(), 8);
    let found = of_query(&query, &pairs, &scores);
    let pulled: f64 = pairs
        .iter()
        .map(|pair| {
            let apart = scores[query[pair.better as usize] as usize]
                - scores[query[pair.worse as usize] as usize];
            2.0 * pair.weight / (1.0 + apart.exp())
        })
        .sum();
    let scale = (1.0 + pulled).log2() / pulled;
    for (at, row) in query.iter().enumerate() {
        let moved = |by: f64| {
            let mut moved = scores;
            moved[*row as usize] += by;
            moved
        };
        let loss = |by: f64| scale * pair_loss(&pairs, &query, &moved(by));
        let gradient = (loss(1e-4) - loss(-1e-4)) / 2e-4;
        let hessian = (loss(1e-4) - 2.0 * loss(0.0) + loss(-1e-4)) / 1e-8;
        assert!(
            (gradient - found[at][0]).abs() < 1e-6,
            "{gradient} {found:?}"
        );
        assert!((hessian - found[at][1]).abs() < 1e-4, "{hessian} {found:?}");
    }
}

#[test]
fn a_pair_counts_by_how_much_its_exchange_changes_ndcg() {
    let (query, targets) = (vec![0, 1, 2], [0.0_f32, 0.0, 2.0]);
    // The best row is last: its exchange with the first one changes most.
    let scores = [3.0, 2.0, 1.0];
    let found = pairs(&query, &targets, &scores, 10);
    let weight = |worse: u32| {
        let pair = found.iter().find(|p| p.worse == worse).expect("a pair");
        let apart = 0.01 + (scores[2] - scores[worse as usize]).abs();
        pair.weight * apart
    };
    assert!((weight(0) - 0.5).abs() < 1e-12);
    assert!((weight(1) - (1.0 / 3_f64.log2() - 0.5)).abs() < 1e-12);
    assert!(pairs(&query, &[0.0; 3], &scores, 10).is_empty());
}

#[test]
fn rows_of_a_query_are_found_wherever_they_stand() {
    let queries = Queries::of(&[7, 3, 7, 3, 9]);
    assert_eq!(queries.0, [vec![0, 2], vec![1, 3], vec![4]]);
}

#[test]
fn weights_of_rows_weigh_their_gradients_and_queries() {
    let groups: Vec<u32> = (0..40).map(|row| row / 4).collect();
    let queries = Queries::of(&groups);
    let targets: Vec<f32> = (0..40).map(|row| (row % 4) as f32).collect();
    let scores: Vec<f64> = (0..40).map(|row| random(row, 1)).collect();
    let weights: Vec<f32> = (0..40)
        .map(|row| if row < 20 { 1.0 } else { 3.0 })
        .collect();
    let data = nothing();
    let rows = |weights| TreeRows {
        data: &data,
        targets: &targets,
        weights,
        queries: Some(&queries),
    };
    let (plain, weighed) = (
        gradients(&queries, &rows(None), &scores, 30),
        gradients(&queries, &rows(Some(&weights)), &scores, 30),
    );
    for row in 0..40 {
        let by = weights[row];
        assert!((plain[row][0] * by - weighed[row][0]).abs() < 1e-5, "{row}");
    }

    let half = |from: usize| {
        let queries = Queries::of(&groups[..20]);
        let rows = TreeRows {
            targets: &targets[from..from + 20],
            queries: Some(&queries),
            ..rows(None)
        };
        mean_loss(&queries, &rows, &scores[from..from + 20])
    };
    let found = mean_loss(&queries, &rows(Some(&weights)), &scores);
    assert!((found - (half(0) + 3.0 * half(20)) / 4.0).abs() < 1e-9);
}
