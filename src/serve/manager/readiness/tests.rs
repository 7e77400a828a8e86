//! Tests of `readiness`: one case is a sequence of looks.

use super::ReadyWhen::{Always, EachServes, OneServes};
use super::*;

/// Each look is a list such as `a+ b- c? !`: serving, refused, neither, something that is no model. `expected` has one letter for
/// each look: `r` for ready, `n` for not ready.
#[track_caller]
fn check(when: ReadyWhen, looks: &[&str], expected: &str) {
    let mut readiness = Readiness::new(when);
    let seen: String = looks
        .iter()
        .map(|look| {
            let has_unserved = look.contains('!');
            if readiness.judge(&models(look), has_unserved) {
                'r'
            } else {
                'n'
            }
        })
        .collect();
    assert_eq!(seen, expected, "{when:?} {looks:?}");
}

fn models(look: &str) -> BTreeMap<ModelName, ModelCondition> {
    let one = |word: &str| {
        let (name, mark) = word.split_at(1);
        let condition = match mark {
            "+" => ModelCondition::Serving,
            "-" => ModelCondition::Refused,
            _ => ModelCondition::Neither,
        };
        (ModelName::parse(name).expect("a name"), condition)
    };
    let words = look.split_whitespace().filter(|word| *word != "!");
    words.map(one).collect()
}

#[test]
fn a_server_waits_for_each_refused_model_of_its_start() {
    check(EachServes, &["a+ b+"], "r");
    check(EachServes, &["a+ b-", "a+ b?", "a+ b+"], "nnr");
    check(EachServes, &["a-", ""], "nr");
    check(EachServes, &["a+ b-", "a+"], "nr");
}

#[test]
fn an_empty_source_is_ready() {
    check(EachServes, &["", ""], "rr");
    check(OneServes, &["", ""], "rr");
    check(EachServes, &["a+", ""], "rr");
}

#[test]
fn swaps_and_failed_newcomers_change_nothing() {
    check(EachServes, &["a+", "a+ b-", "a+ b-"], "rrr");
    check(EachServes, &["", "b-"], "rr");
    check(EachServes, &["a+ b+", "a+ b-"], "rr");
    check(EachServes, &["a+", "a?", "a+"], "rrr");
}

#[test]
fn a_server_is_not_ready_once_the_last_model_was_replaced_by_refused_files() {
    check(EachServes, &["a+", "a-", "a+"], "rnr");
    check(OneServes, &["a+", "a-", "a+"], "rnr");
}

#[test]
fn one_model_that_serves_is_enough_without_strict_readiness() {
    check(OneServes, &["a+ b-"], "r");
    check(OneServes, &["a- b-", "a- b+"], "nr");
}

#[test]
fn a_server_whose_clients_load_the_models_is_ready() {
    check(Always, &["", "a-", "a+"], "rrr");
}

#[test]
fn a_start_at_which_nothing_in_the_directory_is_a_model_is_not_ready() {
    check(EachServes, &["!", "! a?", "a+ !", "!"], "nnrr");
    check(EachServes, &["!", ""], "nr");
    check(EachServes, &["a+ !", "!"], "rr");
    check(EachServes, &["", "!"], "rr");
    check(OneServes, &["!"], "r");
    check(Always, &["!"], "r");
}
