//! A random walk of operations on a model directory, under load over both protocols. As long as a
//! model has a good version that nobody removed, no request fails. Each answer holds bytes that its
//! version has held. The process never ends. The long size makes 2,000 operations.

mod load;
mod operations;
mod repository;

use crate::support::optional::is_long;
use crate::support::{Server, eventually};
use load::Tally;
use repository::{MODELS, Repository, WalkedModel};
use std::collections::BTreeMap;
use std::sync::Arc;

/// After so many operations the directory is left in peace, and what serves is compared with it.
const PEACE_EVERY: usize = 25;

#[test]
fn nothing_that_is_done_to_a_model_directory_costs_a_request() {
    walk("refuse");
}

#[test]
fn new_bytes_under_old_numbers_cost_no_request() {
    walk("swap");
}

/// Walks with this setting of `models.in_place`.
fn walk(in_place: &str) {
    let seed = std::env::var("ORTUS_TEST_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let operations: usize = if is_long() { 2_000 } else { 100 };
    let mut repository = Repository::new(seed);
    let root = repository.root().display().to_string();
    let mut server = Server::start_without_privilege(&[
        "--models",
        &root,
        "--set",
        "models.poll=20ms",
        "--set",
        "models.settle=20ms",
        "--set",
        &format!("models.in_place={in_place:?}"),
    ]);

    let tally = Arc::<Tally>::default();
    let mut performed: BTreeMap<&str, usize> = BTreeMap::new();
    let clients = load::start(&server, &repository.truth, &tally);
    for operation in 1..=operations {
        let name = operations::perform_one(&mut repository);
        *performed.entry(name).or_default() += 1;
        repository.pause(30);
        assert!(server.is_running(), "the server ended after '{name}'");
        if let Some(fault) = tally.fault() {
            panic!("seed {seed}, operation {operation}, '{name}': {fault}");
        }
        if operation.is_multiple_of(PEACE_EVERY) {
            make_peace(&mut repository, &server);
        }
    }
    drop(clients);

    assert_eq!(tally.fault(), None);
    let answers = tally.answers();
    let allowed = tally.allowed();
    println!(
        "{in_place}, seed {seed}: {operations} operations, {answers} answers, 0 lost, 0 wrong; {allowed} refused while no good version was left"
    );
    for (name, times) in performed {
        println!("{times:6} {name}");
    }
}

/// Waits until what is good serves.
fn make_peace(repository: &mut Repository, server: &Server) {
    for (model, WalkedModel { name, policy, .. }) in MODELS.iter().enumerate() {
        repository.write_config(model, policy);
        if repository.good(model).is_empty() {
            operations::make_good(repository, model);
        }

        let good = repository.good(model);
        let newest = good.last().expect("one is good");
        eventually(&format!("{name}: version {newest} of {good:?}"), || {
            load::ask(&server.http, name).is_ok_and(|answer| answer.version >= *newest)
        });
        let all_serve = policy.contains("all") || policy.contains("specific");
        for version in good.iter().filter(|_| all_serve) {
            let ready = format!("/v2/models/{name}/versions/{version}/ready");
            eventually(&ready, || server.get(&ready).status == 200);
        }
        repository.truth.set_may_fail(model, false);
    }

    eventually("no trouble is reported", || {
        server.metric("ortus_model_directory_trouble") == Some(0.0)
    });
}
