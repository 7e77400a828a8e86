//! Tests of `sweep`.

use super::*;

fn spec(text: &str) -> Result<Spec> {
    let head =
        "[model]\nname = \"m\"\n[data.sources]\nrows = \"r.csv\"\n[schema]\ntarget = \"y\"\n";
    Spec::parse("train.toml", &format!("{head}{text}"))
}

#[test]
fn a_grid_has_all_combinations_and_a_random_search_repeats() {
    let text = "[sweep.values]\n\"fit.trees.leaves_max\" = [7, 15]\n\"fit.trees.learning_rate\" = [0.1, 0.05, 0.2]\n";
    let all = settings(&spec(text).expect("reads")).expect("settings");
    assert_eq!(all.len(), 6);
    assert_eq!(
        (all[1].1.trees.leaves_max, all[1].1.trees.learning_rate),
        (15, 0.1)
    );
    let keys: std::collections::BTreeSet<String> = all.iter().map(|(_, s)| s.canonical()).collect();
    assert_eq!(keys.len(), 6, "each is another run");
    let random = "[sweep]\nmethod = \"random\"\nruns_max = 8\n[sweep.values]\n\"fit.trees.learning_rate\" = { from = 0.001, to = 0.5, log = true }\n\
                  \"fit.trees.leaves_max\" = { from = 4, to = 64 }\n";
    let tried = |text: &str| -> Vec<(f64, usize)> {
        let all = settings(&spec(text).expect("reads")).expect("settings");
        all.iter()
            .map(|(_, s)| (s.trees.learning_rate, s.trees.leaves_max))
            .collect()
    };

    let once = tried(random);
    assert_eq!((once.len(), &once), (8, &tried(random)));
    assert!(
        once.iter()
            .all(|(rate, leaves)| (0.001..=0.5).contains(rate) && (4..=64).contains(leaves))
    );
    assert!(
        once.iter().filter(|(rate, _)| *rate < 0.05).count() >= 3,
        "by size: {once:?}"
    );
    assert_ne!(
        tried(&random.replace("runs_max = 8", "runs_max = 8\nseed = 9")),
        once
    );
    let few =
        "[sweep]\nmethod = \"random\"\nruns_max = 50\n[sweep.values]\n\"fit.seed\" = [1, 2, 3]\n";
    assert_eq!(
        settings(&spec(few).expect("reads"))
            .expect("settings")
            .len(),
        3
    );
}

#[test]
fn an_invalid_value_to_try_is_refused_with_its_line() {
    for (text, why) in [
        (
            "[sweep.values]\n\"fit.tree.leaves_max\" = [7]\n",
            "train.toml:8: 'fit.tree.leaves_max' in [sweep.values] is",
        ),
        (
            "[sweep.values]\n\"fit.trees.leaves_max\" = [7, 1]\n",
            "must be from 2 to 4096",
        ),
        (
            "[sweep.values]\n\"fit.trees.leaves_max\" = 7\n",
            "a list of values, or a range",
        ),
        (
            "[sweep.values]\n\"fit.trees.leaves_max\" = []\n",
            "a list of values, or a range",
        ),
        (
            "[sweep.values]\n\"gates.bound\" = [0.1]\n",
            "varies only settings of [fit] and [schema]",
        ),
        (
            "[sweep.values]\n\"fit.trees.l2\" = { from = 0.0, to = 1.0, log = true }\n",
            "above 0",
        ),
    ] {
        let error = spec(text).expect_err("refused");
        assert!(error.message.contains(why), "{text}: {error}");
    }

    let ranges = "[sweep.values]\n\"fit.trees.l2\" = { from = 0.0, to = 1.0 }\n";
    assert!(
        settings(&spec(ranges).expect("reads"))
            .is_err_and(|e| e.message.contains("a grid takes lists"))
    );
    assert!(settings(&spec("").expect("reads")).is_err());
}
