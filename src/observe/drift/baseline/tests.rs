//! Tests of `baseline`. The files under `golden/` are in formats that were published: they are never
//! edited, only added to.

use super::*;

fn baseline() -> Baseline {
    let numbers = NumberBaseline {
        edges: vec![-1.0000001, 0.1, 1e30],
        counts: vec![0, 10, 20, 1],
        mean: 0.5,
        deviation: 0.25,
        median: 0.125,
        iqr: 0.75,
    };

    let listed = WordBaseline {
        words: vec![("red".to_owned(), 20), ("\u{e9}\"".to_owned(), 1)],
        others: vec!["rare".to_owned()],
        other_rows: 3,
        open: true,
    };

    let column = |name: &str, values| BaselineColumn {
        name: name.to_owned(),
        missing: 2,
        importance: Some(0.5),
        design_effect: 1.5,
        values,
    };

    Baseline {
        format: 1,
        rows: 33,
        source: "33 rows of train.csv".to_owned(),
        features: vec!["amount".to_owned()],
        inputs: vec![
            column("amount", ValueDistribution::Numbers(numbers.clone())),
            column("colour", ValueDistribution::Words(listed)),
        ],
        outputs: vec![BaselineColumn {
            importance: None,
            design_effect: 1.0,
            ..column("y", ValueDistribution::Numbers(numbers))
        }],
        calibration: vec![Calibration {
            output: "y".to_owned(),
            points: vec![(0.1, 0.0), (0.9, 1.0)],
        }],
        performance: [("auc".to_owned(), 0.9)].into(),
    }
}

#[test]
fn every_format_ever_written_is_read_and_the_newest_is_written_the_same() {
    let golden = include_bytes!("../golden/baseline-1.json");
    assert_eq!(
        String::from_utf8(baseline().write()).expect("text"),
        String::from_utf8_lossy(golden)
    );
    assert_eq!(Baseline::read(golden).expect("read"), baseline());
}

#[test]
fn calibration_may_have_a_curve_for_each_class_or_none() {
    let curve = |output: &str| Calibration {
        output: output.to_owned(),
        points: vec![(0.5, 0.5)],
    };
    let several = Baseline {
        calibration: vec![curve("p[0]"), curve("p[1]")],
        ..baseline()
    };
    assert_eq!(Baseline::read(&several.write()).expect("read"), several);
    let none = Baseline {
        calibration: Vec::new(),
        ..baseline()
    };
    assert_eq!(Baseline::read(&none.write()).expect("read"), none);
}

#[test]
fn an_inconsistent_baseline_is_refused_with_the_column() {
    let good = String::from_utf8(baseline().write()).expect("text");
    for (from, to, part) in [
        ("\"format\":1", "\"format\":2", "is of format 2"),
        ("\"rows\"", "\"rowz\"", "malformed"),
        (
            "0.1,1e+30",
            "1e+30,0.1",
            "'amount' has edges that are not finite or do not increase",
        ),
        (
            "[0,10,20,1]",
            "[0,10,20]",
            "'amount' must have one count more than edges",
        ),
        ("\"colour\"", "\"amount\"", "'amount' appears twice"),
        ("[\"rare\"]", "[\"red\"]", "'colour' lists a category twice"),
        (
            "\"design_effect\":1.5",
            "\"design_effect\":0.5",
            "'amount' has a design effect below 1",
        ),
        (
            "[0.9,1.0]",
            "[0.05,1.0]",
            "must be points of increasing scores",
        ),
        (
            "[0.9,1.0]",
            "[0.9,1.5]",
            "must be points of increasing scores",
        ),
    ] {
        assert!(good.contains(from), "{from} is not in {good}");
        let error = Baseline::read(good.replacen(from, to, 1).as_bytes()).expect_err(to);
        assert!(error.message.contains(part), "{to}: {error}");
    }

    assert!(
        Baseline::read(b"").is_err() && Baseline::read(&good.as_bytes()[..good.len() / 2]).is_err()
    );
}
