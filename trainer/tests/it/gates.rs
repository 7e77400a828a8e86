//! Gates and splits: what is not published and why, earlier origins, slices,
//! calibration and class balance.

use crate::place::{Place, noise, table, trainer};
use crate::support::optional::run;
use serde_json::{Value, json};
use std::path::PathBuf;

/// A specification of 30 rounds on the rows of `rows.csv`.
fn quick_spec(place: &Place, more: &str) -> PathBuf {
    let fast = "[fit.trees]\nrounds_max = 30\n";
    place.write(
            "train.toml",
            &format!("[model]\nname = \"m\"\n[data.sources]\nrows = \"rows.csv\"\n[schema]\ntarget = \"bought\"\nignore = [\"id\"]\ntime = \"at\"\n{more}{fast}"),
        )
}

fn verdict(said: &Value, gate: &str) -> Value {
    let gates = said["record"]["gates"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    gates
        .iter()
        .find(|g| g["name"] == gate)
        .map(|g| g["verdict"].clone())
        .unwrap_or_default()
}

fn json_of(place: &Place, arguments: &[&str]) -> Value {
    serde_json::from_str(&place.registry.does(arguments)).expect("JSON")
}

#[test]
fn a_version_that_fails_a_gate_is_not_published_and_the_gate_is_named() {
    let place = Place::new();
    place.write("rows.csv", &table(3_000, 0.0));
    check_model_that_knows_nothing(&place);
    check_first_version(&place);
    check_worse_version(&place);
    check_canary(&place);
    check_refused_specifications(&place);

    let missing = trainer()
        .args(["run", "nothing.toml", "--registry", &place.registry.url()])
        .output()
        .expect("runs");
    assert_eq!(missing.status.code(), Some(1));
    let list =
        run(trainer().args(["runs", "m", "--registry", &place.registry.url()])).expect("lists");
    assert!(
        list.contains("a gate failed") && list.contains("ended with an error"),
        "{list}"
    );
}

/// A first version is judged by a bound, and may be refused for want of a champion.
fn check_first_version(place: &Place) {
    let (code, said, _) = place.run(&quick_spec(place, "[gates]\nbound = 0.01\n"));
    assert_eq!(
        (code, verdict(&said, "bound"), said["became"].clone()),
        (3, json!("fail"), json!("failed"))
    );

    let (code, said, _) = place.run(&quick_spec(place, "[gates]\nfirst = \"refused\"\n"));
    assert_eq!((code, verdict(&said, "champion")), (3, json!("fail")));
    assert_eq!(
        place.registry.run(&["show", "m"]).0,
        1,
        "nothing is published"
    );

    let (code, said, _) = place.run(&quick_spec(place, "[publish]\npolicy = \"champion\"\n"));
    assert_eq!(
        (code, verdict(&said, "champion"), verdict(&said, "baseline")),
        (0, json!("not_gated"), json!("pass"))
    );
}

/// A model of a target that has nothing to do with the features is not published, although it is the
/// first of its name and no bound is set.
fn check_model_that_knows_nothing(place: &Place) {
    let rows = table(3_000, 0.0);
    let random = |salt: usize, share: f64| -> String {
        let line = |(row, line): (usize, &str)| match line.rsplit_once(',') {
            Some((rest, _)) if row > 0 => {
                let target = if noise(row, salt) < share {
                    "yes"
                } else {
                    "no"
                };
                format!("{rest},{target}\n")
            }
            _ => format!("{line}\n"),
        };
        rows.lines().enumerate().map(line).collect()
    };
    // In the second table one row in a hundred is of one class: 99 % of the answers are right.
    for (salt, share) in [(9, 0.5), (10, 0.5), (9, 0.01)] {
        place.write("rows.csv", &random(salt, share));
        let (code, said, _) = place.run(&quick_spec(place, ""));
        let of_gate = verdict(&said, "baseline");
        assert_eq!(code, 3, "{said}");
        assert!(of_gate == "fail" || of_gate == "inconclusive", "{said}");
    }
    assert_eq!(place.registry.run(&["show", "m"]).0, 1);

    let off = quick_spec(place, "[gates]\nbaseline = false\nbound = 0.0001\n");
    let (code, said, _) = place.run(&off);
    assert_eq!((code, verdict(&said, "baseline")), (3, json!("not_gated")));
    place.write("rows.csv", &rows);
}

/// A model that learned from half random labels is worse than the champion.
fn check_worse_version(place: &Place) {
    let noisy: String = table(3_000, 0.0)
        .lines()
        .enumerate()
        .map(|(row, line)| match line.rsplit_once(',') {
            Some((rest, _)) if row > 0 && row < 2_300 => {
                format!(
                    "{rest},{}\n",
                    if noise(row, 9) < 0.5 { "yes" } else { "no" }
                )
            }
            _ => format!("{line}\n"),
        })
        .collect();
    place.write("rows.csv", &noisy);
    let (code, said, _) = place.run(&quick_spec(place, "[publish]\npolicy = \"champion\"\n"));
    assert_eq!(
        (code, verdict(&said, "champion")),
        (3, json!("fail")),
        "{said}"
    );
}

/// A worse version that the gates allow becomes a canary, in the entry that publishes it.
fn check_canary(place: &Place) {
    let (code, said, _) = place.run(&quick_spec(
        place,
        "[gates]\nbaseline = false\nregression_max = 9.0\n[publish]\npolicy = \"canary\"\ncanary_percent = 20\n",
    ));
    assert_eq!(
        (code, said["record"]["version"].clone()),
        (0, json!(2)),
        "{said}"
    );

    let shown = json_of(place, &["show", "m", "--json"]);
    assert_eq!(
        shown["traffic"],
        json!({"champion": 80, "canary": 20}),
        "in the same entry: {shown}"
    );
    let history = json_of(place, &["history", "m", "--json"]);
    assert_eq!(history.as_array().map(Vec::len), Some(2), "{history}");
}

fn check_refused_specifications(place: &Place) {
    for (more, why) in [
        (
            "[fit]\nseeed = 1\n",
            "train.toml:10: unknown key 'seeed' in [fit]; did you mean 'seed'?",
        ),
        ("[data]\nsql = \"SELECT * FROM nothing\"\n", "the query:"),
        ("[data]\nage_max = \"1h\"\n", "'age_max' in [data]"),
        (
            "[gates]\nmeasure = \"mae\"\n",
            "for classification it must be",
        ),
    ] {
        let (code, _, error) = place.run(&quick_spec(place, more));
        assert!(code == 1 && error.contains(why), "{more}: {code} {error}");
    }
}

/// A specification of 60 rounds on the rows of `rows.csv`.
fn full_spec(place: &Place, more: &str) -> PathBuf {
    place.write(
            "train.toml",
            &format!("[model]\nname = \"m\"\n[data.sources]\nrows = \"rows.csv\"\n[schema]\ntarget = \"bought\"\nignore = [\"id\"]\ntime = \"at\"\n[fit.trees]\nrounds_max = 60\n{more}"),
        )
}

fn gate(said: &Value, name: &str) -> Value {
    said["record"]["gates"]
        .as_array()
        .and_then(|all| all.iter().find(|g| g["name"] == name).cloned())
        .unwrap_or_default()
}

#[test]
fn origins_slices_calibration_and_class_balance_are_judged() {
    let place = Place::new();
    place.write("rows.csv", &table(4_000, -2.0));

    let (code, plain, error) = place.run(&full_spec(
        &place,
        "[split]\nfolds = 3\n[gates]\ncalibration_max = 0.2\n[publish]\npolicy = \"champion\"\n",
    ));
    assert_eq!(code, 0, "{plain} {error}");
    let origins = plain["record"]["origins"].as_array().expect("origins");
    assert_eq!(origins.len(), 2, "the last is the one that counts");
    assert!(
        origins[0]["train"].as_u64() < origins[1]["train"].as_u64()
            && origins[1]["metrics"]["auc"].is_number(),
        "{origins:?}"
    );
    assert_eq!(gate(&plain, "calibration")["verdict"], json!("pass"));

    check_balanced(&place, &plain);
    check_worse_slice(&place);
}

/// With balanced classes the rare buyers weigh more: more of them are found, and the
/// scores are too high.
fn check_balanced(place: &Place, plain: &Value) {
    let balanced = "[fit]\nbalanced = true\n[gates]\ncalibration_max = 0.02\nregression_max = 9.0\nslices = [\"colour\"]\nslice_regression_max = 9.0\n";
    let (code, said, error) = place.run(&full_spec(place, balanced));
    assert_eq!(code, 3, "{said} {error}");

    let recall = |said: &Value| {
        said["record"]["metrics"]["recall"]
            .as_f64()
            .expect("a measure")
    };
    assert!(
        recall(&said) > recall(plain) + 0.05,
        "{} {}",
        recall(&said),
        recall(plain)
    );

    let verdict = |name: &str| gate(&said, name)["verdict"].clone();
    assert!(
        verdict("calibration") != json!("pass") && verdict("slices") == json!("pass"),
        "{said}"
    );
}

/// A slice that becomes worse is found, even where the whole may become worse.
fn check_worse_slice(place: &Place) {
    let blind = "[fit]\nalgorithm = \"linear\"\n[fit.linear]\nl2 = 100000.0\n[gates]\nregression_max = 9.0\nslices = [\"colour\"]\nslice_regression_max = 0.02\n";
    let (code, said, _) = place.run(&full_spec(place, blind));

    let slices = gate(&said, "slices");
    assert!(
        code == 3
            && slices["verdict"] == json!("fail")
            && slices["reason"]
                .as_str()
                .is_some_and(|r| r.starts_with("colour = ")),
        "{slices}"
    );
}
