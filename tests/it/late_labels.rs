//! Labels of predictions that are not in memory any more: made before a restart, not sampled, or too
//! many; and how many of them are joined under load.

use crate::support::connection::Connection;
use crate::support::optional::is_long;
use crate::support::{Directory, Server, eventually_within, http};
use ortus::testing::graphs;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(120);

/// A server of the model `m`, with labels in a folder that outlives it.
fn start(models: &Directory, records: &tempfile::TempDir, more: &[&str]) -> Server {
    let store = format!("records.store={:?}", records.path().display().to_string());
    let mut arguments = vec!["--set", &store];
    for setting in [
        "feedback.poll=200ms",
        "feedback.answers_flush=500ms",
        "feedback.rows_max=1000000",
    ]
    .iter()
    .chain(more)
    {
        arguments.extend(["--set", setting]);
    }
    Server::start_with(models.path(), &arguments)
}

fn directory() -> Directory {
    let directory = Directory::empty();
    directory.put("m", 1, &graphs::marked(2.0, 3));
    directory
}

/// Sends labels for predictions; returns accepted, joined and pending ones.
fn give(server: &Server, ids: &[String]) -> (u64, u64, u64) {
    let mut all = (0, 0, 0);
    for some in ids.chunks(1_000) {
        let labels: Vec<Value> = some
            .iter()
            .map(|id| json!({"prediction_id": id, "label": 1}))
            .collect();
        let answer = server.post(
            "/v1/feedback",
            json!({"labels": labels}).to_string().as_bytes(),
        );
        assert_eq!(answer.status, 200, "{}", answer.text());
        let said = answer.json();
        let count = |name: &str| said[name].as_u64().expect("a count");
        all.0 += count("accepted");
        all.1 += count("joined");
        all.2 += count("pending");
    }
    all
}

fn performance(server: &Server) -> Value {
    let answer = http(
        &server.operator,
        "GET",
        "/v1/models/m/performance",
        &[("ortus-operator", "1")],
        b"",
    );
    if answer.status == 200 {
        answer.json()
    } else {
        Value::Null
    }
}

fn labelled(server: &Server) -> u64 {
    let said = performance(server);
    let rows = &said["measured"][0]["window"]["labelled_rows"];
    rows.as_u64().unwrap_or(0)
}

fn stop(mut server: Server) {
    server.terminate();
    assert_eq!(server.wait(), Some(0), "{}", server.log());
}

#[test]
fn labels_of_predictions_made_before_a_restart_are_joined_and_count_in_the_maturity() {
    let (models, records) = (directory(), tempfile::tempdir().expect("a folder"));
    // Nothing is written before the stop.
    let late = ["feedback.answers_flush=1h"];
    let server = start(&models, &records, &late);
    let mut connection = Connection::open(&server);
    let ids: Vec<String> = (0..300).map(|_| connection.predict()).collect();
    drop(connection);
    stop(server);

    let again = start(&models, &records, &[]);
    let (accepted, joined, pending) = give(&again, &ids[..150]);
    assert_eq!((accepted, joined, pending), (150, 0, 150));
    eventually_within(PATIENCE, "they are joined", || labelled(&again) == 150);
    eventually_within(PATIENCE, "the rows of the first run count", || {
        performance(&again)["measured"][0]["window"]["maturity"] == 0.5
    });
    let said = performance(&again);
    assert_eq!(said["waiting"], Value::Null, "{said}");
}

#[test]
fn labels_of_predictions_that_were_not_sampled_are_joined() {
    let (models, records) = (directory(), tempfile::tempdir().expect("a folder"));
    let few = ["monitor.cpu_share=0.001", "monitor.rows_min_per_minute=0"];
    let server = start(&models, &records, &few);
    let mut connection = Connection::open(&server);
    let ids: Vec<String> = (0..5_000).map(|_| connection.predict()).collect();
    give(&server, &ids);
    eventually_within(PATIENCE, "they are joined", || labelled(&server) == 5_000);

    let rows = |name: &str| server.metric(name).unwrap_or(0.0);
    eventually_within(PATIENCE, "the rows are counted", || {
        rows("ortus_monitor_rows_total{model=\"m\"") == 5_000.0
    });
    let sampled = rows("ortus_monitor_sampled_rows_total{model=\"m\"");
    assert!(sampled < 4_500.0, "{sampled} of 5,000 were sampled");
}

#[test]
fn labels_of_a_server_that_was_killed_say_why_they_wait() {
    let (models, records) = (directory(), tempfile::tempdir().expect("a folder"));
    let server = start(&models, &records, &[]);
    let mut connection = Connection::open(&server);
    let kept = connection.predict();
    eventually_within(PATIENCE, "an answer is stored", || {
        server.metric("ortus_feedback_answers_total{outcome=\"stored\"") == Some(1.0)
    });
    drop(server);
    let server = start(&models, &records, &["feedback.answers_flush=1h"]);
    let mut connection = Connection::open(&server);
    let lost: Vec<String> = (0..3).map(|_| connection.predict()).collect();
    // Killed: nothing is flushed.
    drop(server);

    let again = start(&models, &records, &["feedback.answers_flush=100ms"]);
    assert_eq!(give(&again, &lost), (3, 0, 3));
    eventually_within(PATIENCE, "the reason is told", || {
        performance(&again)["waiting"]["reasons"][0]["code"] == "unknown"
    });
    let text = crate::support::optional::run(crate::support::ortus().args([
        "performance",
        "m",
        "--server",
        &again.operator,
    ]))
    .expect("answers");
    assert!(
        text.contains("3 labels wait for predictions that no server remembers"),
        "{text}"
    );
    give(&again, &[kept]);
    eventually_within(PATIENCE, "the kept one is joined", || labelled(&again) == 1);
    eventually_within(PATIENCE, "the series", || {
        again.metric("ortus_feedback_waiting_labels{reason=\"unknown\"") == Some(3.0)
    });
}

/// Predicts from several connections, at a rate if one is given.
fn predict_many(server: &Server, predictions: usize, rate: Option<f64>) -> Vec<String> {
    const CONNECTIONS: usize = 8;
    let each = predictions / CONNECTIONS;
    std::thread::scope(|scope| {
        let run = || {
            let (mut connection, start) = (Connection::open(server), Instant::now());
            let predict = |n: usize| {
                if let Some(rate) = rate {
                    let due = (n * CONNECTIONS) as f64 / rate;
                    let early = Duration::from_secs_f64(due).saturating_sub(start.elapsed());
                    // Keeps the rate; decides nothing.
                    std::thread::park_timeout(early);
                }
                connection.predict()
            };
            (0..each).map(predict).collect::<Vec<String>>()
        };
        let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(run)).collect();
        let ids = threads.into_iter().map(|t| t.join().expect("predicts"));
        ids.collect::<Vec<_>>().concat()
    })
}

#[test]
fn nearly_all_labels_are_joined_under_load_and_across_a_restart() {
    let (predictions, rate) = if is_long() {
        (120_000, Some(2_000.0))
    } else {
        (8_000, None)
    };
    let (models, records) = (directory(), tempfile::tempdir().expect("a folder"));
    // Memory holds the predictions of about two seconds: labels find the others in the store.
    let small = ["feedback.answers_bytes_max=1048576"];
    let server = start(&models, &records, &small);
    let begun = Instant::now();
    let mut ids = predict_many(&server, predictions, rate);
    let took = begun.elapsed().as_secs_f64();
    ids.sort_unstable();
    let (before, after) = ids.split_at(ids.len() / 2);

    let given = Instant::now();
    let (accepted, at_once, _) = give(&server, before);
    assert_eq!(accepted, before.len() as u64);
    let enough = |all: usize| (all as f64 * 0.999) as u64;
    eventually_within(PATIENCE, "those of this run are joined", || {
        labelled(&server) >= enough(before.len())
    });
    let first = given.elapsed().as_secs_f64();
    stop(server);

    let again = start(&models, &records, &small);
    let given = Instant::now();
    give(&again, after);
    eventually_within(PATIENCE, "those of the run before are joined", || {
        labelled(&again) >= enough(ids.len())
    });
    let second = given.elapsed().as_secs_f64();
    let joined = labelled(&again) as f64 / ids.len() as f64;
    println!(
        "{} predictions at {:.0}/s; {:.3} % of the labels joined: {at_once} at once and the rest of the first half within {first:.1} s of sending, the second half after a restart within {second:.1} s",
        ids.len(),
        ids.len() as f64 / took,
        joined * 100.0
    );
    assert!(joined >= 0.999, "{joined}");
}
