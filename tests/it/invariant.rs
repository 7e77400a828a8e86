//! `batch_invariant`: the same answer bit for bit, alone and beside any number of other requests.

use crate::support::{Directory, Server, settings};
use ortus::testing::graphs;
use std::collections::BTreeSet;
use std::thread;

const LENGTH: usize = 33;
const WIDTH: usize = 5;

/// Numbers whose sum is rounded.
fn row(seed: usize) -> Vec<f64> {
    let number = |at: usize| ((seed * 131 + at * 29) % 997) as f64 / 7.0 - 60.0;
    (0..LENGTH * WIDTH).map(number).collect()
}

/// Asks for rows; returns the numbers of the answer.
fn ask(server: &Server, rows: &[Vec<f64>]) -> Vec<f64> {
    let body = serde_json::json!({"inputs": [{
        "name": "x", "datatype": "FP32", "shape": [rows.len(), LENGTH, WIDTH], "data": rows.concat(),
    }]});
    let answer = server.post("/v2/models/m/infer", body.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let numbers = answer.json()["outputs"][0]["data"].clone();
    serde_json::from_value(numbers).expect("numbers")
}

/// The answers to one row: alone, in requests of several rows, and beside others.
fn answers(server: &Server) -> BTreeSet<Vec<u64>> {
    let mut answers = BTreeSet::new();
    let mut note = |numbers: &[f64]| {
        let bits = numbers[..WIDTH].iter().map(|number| number.to_bits());
        answers.insert(bits.collect::<Vec<u64>>());
    };
    note(&ask(server, &[row(0)]));
    for rows in 2..=20 {
        let rows: Vec<Vec<f64>> = (0..rows).map(row).collect();
        note(&ask(server, &rows));
    }
    for beside in 1..8 {
        thread::scope(|scope| {
            let others = (0..beside).map(|other| {
                scope.spawn(move || ask(server, &(1..=1 + other % 3).map(row).collect::<Vec<_>>()))
            });
            let others: Vec<_> = others.collect();
            note(&ask(server, &[row(0)]));
            others.into_iter().for_each(|other| {
                other.join().expect("answered");
            });
        });
    }
    answers
}

fn start(directory: &Directory, more: &[&str]) -> Server {
    let mut all = settings(&["model.m.batch_delay=20ms"]);
    all.extend(settings(more));
    Server::start_with(directory.path(), &all)
}

#[test]
fn a_request_gets_the_same_bits_alone_and_beside_others() {
    let directory = Directory::empty();
    directory.put("m", 1, &graphs::pooled(LENGTH as i64, WIDTH as i64));
    let server = start(&directory, &[]);
    let without = answers(&server);
    assert!(without.len() > 1, "nothing depends on the size of a batch");
    drop(server);

    let server = start(&directory, &["model.m.batch_invariant=true"]);
    assert_eq!(answers(&server).len(), 1);
    let filled = server.metric("ortus_batch_fill_rows_total{model=\"m\"");
    assert!(filled >= Some(1.0), "{filled:?}");
    let batches = server.metric("ortus_batch_rows_count{model=\"m\"");
    let requests = server.metric("ortus_batch_rows_sum{model=\"m\"");
    assert!(batches < requests, "{batches:?} runs of {requests:?} rows");
}

#[test]
fn what_cannot_be_promised_is_not_batched_and_says_so() {
    let directory = Directory::with(&["wine"]);
    directory.put("ragged", 1, &graphs::pooled(-1, 4));
    directory.put("mixed", 1, &graphs::scaled_by_largest(1e9));
    let server = Server::start_with(
        directory.path(),
        &settings(&["models.defaults.batch_invariant=true"]),
    );
    for (model, expected) in [
        ("wine", "joined"),
        (
            "ragged",
            "alone: batch_invariant is set, and an input has a dynamic axis beyond the first",
        ),
        ("mixed", "alone: "),
    ] {
        let metadata = server.get(&format!("/v2/models/{model}")).json();
        let said = metadata["properties"]["ortus.batching"]
            .as_str()
            .expect("text")
            .to_owned();
        assert!(said.starts_with(expected), "{model}: {said}");
    }
}
