//! Tests of `experiments`.

use super::*;
use serde_json::json;

fn experiment(name: &str, rate: &str, leaves: &str, value: Option<f64>) -> Experiment {
    let settings = [
        ("fit.rate", rate),
        ("fit.leaves", leaves),
        ("model.name", "m"),
    ];
    Experiment {
        name: name.to_owned(),
        began: "2026-01-01 10:00".to_owned(),
        result: "tried".to_owned(),
        settings: settings
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        value,
        curve: vec![(1.0, 0.7), (2.0, 0.5), (3.0, 0.55)],
    }
}

fn page(experiments: Vec<Experiment>, in_time: bool) -> String {
    render(&ExperimentsPage {
        title: "m: sweep".to_owned(),
        said: vec!["A <b>".to_owned()],
        measure: "log_loss",
        is_comparable: true,
        in_time,
        experiments,
    })
}

#[test]
fn a_page_draws_settings_that_differ_and_names_the_best_run() {
    let all = vec![
        experiment("aa", "0.01", "8", Some(0.6)),
        experiment("bb", "0.3", "<script>", Some(0.4)),
        experiment("cc", "0.1", "16", None),
    ];
    let text = page(all.clone(), false);
    assert!(
        text.contains("The lowest log_loss is <b>0.4</b>, of run <code>bb</code>"),
        "{text}"
    );
    assert!(!text.contains("<script>") && text.contains("A &lt;b&gt;"));
    // Parallel coordinates, two settings that differ, and the curves; `model.name` does not differ.
    assert_eq!(text.matches("<svg").count(), 4);
    assert!(!text.contains("model.name"), "{text}");
    // Three axes with a line for each of the two runs that have a measure, and three curves.
    assert_eq!(text.matches("<polyline").count(), 5);
    // Two dots by setting.
    assert_eq!(text.matches("<circle").count(), 4);
    assert_eq!(ranks(&all), [Some(1), Some(0), None]);

    let text = page(all, true);
    assert!(text.contains("From run to run") && text.matches("<svg").count() == 5);
}

#[test]
fn a_page_of_nothing_or_of_failures_says_so() {
    assert!(page(Vec::new(), true).contains("There are no runs."));
    let failed = Experiment {
        curve: Vec::new(),
        ..experiment("aa", "1", "2", None)
    };
    let text = page(vec![failed], true);
    assert!(text.contains("No run has the measure log_loss."), "{text}");
    assert_eq!(text.matches("<svg").count(), 0, "{text}");
}

fn recorded(record: serde_json::Value, became: &str) -> RecordedRun {
    let ran = json!({
        "model": "m", "began": "2026-03-01T10:00:00Z", "seconds": 1.0, "trigger": "manual", "became": became, "record": record,
    });
    serde_json::from_value(ran).expect("a run")
}

#[test]
fn a_run_has_its_metric_and_a_trial_its_loss_and_both_their_curve() {
    let spec = "[gates]\nmeasure = \"brier\"\n[fit.trees]\nleaves_max = 8\n";
    let run = recorded(
        json!({"run": "sha256:0123456789abcdef", "version": 3, "spec": spec, "metrics": {"log_loss": 0.5, "brier": 0.2},
               "curve": [[1, 0.7], [10, 0.5]]}),
        "published",
    );
    let trial = recorded(
        json!({"run": "sha256:ff", "spec": spec, "loss": 0.25, "metrics": {"log_loss": 0.4, "brier": 0.1}}),
        "tried",
    );
    let all = [run, trial];
    assert_eq!(measure_of(&all), "brier");
    let found = Experiment::of(&all[0], "brier");
    assert_eq!(
        (found.name.as_str(), found.result.as_str(), found.value),
        ("0123456789ab", "version 3", Some(0.2))
    );
    assert_eq!(found.settings["fit.trees.leaves_max"], "8");
    assert_eq!(found.curve, [(1.0, 0.7), (10.0, 0.5)]);
    assert_eq!(Experiment::of(&all[1], "brier").value, Some(0.25));
    let numbers = [recorded(
        json!({"run": "sha256:aa", "metrics": {"mae": 2.0, "rmse": 3.0}}),
        "failed",
    )];
    assert_eq!(measure_of(&numbers), "mae");
}
