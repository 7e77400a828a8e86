//! Tests of `baseline`. The files under `golden/` are in formats that were published: they are never
//! edited, only added to.

use super::part::PARTS_MAX;
use super::*;
use crate::observe::drift::projection::{ProjectedColumn, Projection};

/// What the golden file of format 1 holds.
fn old() -> Baseline {
    let numbers = NumberBaseline {
        edges: vec![-1.0000001, 0.1, 1e30],
        counts: vec![0, 10, 20, 1],
        means: Vec::new(),
        codes: Vec::new(),
        learned: None,
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
        singles: 0,
        filter: None,
    };

    let column = |name: &str, values| BaselineColumn {
        name: name.to_owned(),
        missing: 2,
        importance: Some(0.5),
        design_effect: 1.5,
        missing_effect: 1.0,
        kind: ColumnKind::Stationary,
        reason: String::new(),
        band: Vec::new(),
        held_max_s: None,
        values,
    };

    Baseline {
        format: 1,
        rows: 33,
        source: "33 rows of train.csv".to_owned(),
        unordered: false,
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
        parts: Vec::new(),
        multivariate: None,
        calibration: vec![Calibration {
            output: "y".to_owned(),
            points: vec![(0.1, 0.0), (0.9, 1.0)],
        }],
        performance: [("auc".to_owned(), 0.9)].into(),
    }
}

/// What the golden file of format 3 holds.
fn baseline() -> Baseline {
    let mut now = kinds();
    now.format = 3;
    now.parts = vec![BaselinePart {
        slice: "colour".to_owned(),
        part: "red".to_owned(),
        rows: 20,
        inputs: vec![now.inputs[0].clone()],
        outputs: now.outputs.clone(),
        loss: None,
    }];
    let scaled = |name: &str| ProjectedColumn {
        name: name.to_owned(),
        center: 0.125,
        scale: 2.0,
    };
    now.multivariate = Some(MultivariateBaseline {
        projection: Projection {
            columns: vec![scaled("amount"), scaled("age")],
            components: vec![vec![0.5, -1.5]],
            correlations: vec![vec![0.75]],
        },
        distances: BaselineColumn {
            name: "multivariate".to_owned(),
            ..now.outputs[0].clone()
        },
    });
    now
}

/// What the golden file of format 2 holds.
fn kinds() -> Baseline {
    let mut now = old();
    now.format = 2;
    let column = &mut now.inputs[0];
    column.kind = ColumnKind::Unsteady;
    column.reason = "its level moves within the baseline".to_owned();
    column.missing_effect = 2.0;
    // Of format 2 by the kind alone.
    column.held_max_s = Some(26 * 3_600);
    column.band = vec![(0.0, 0.0), (0.25, 0.5), (1.0, 1.0)];
    if let ValueDistribution::Numbers(numbers) = &mut column.values {
        numbers.means = vec![0.0, 0.05, 1e3, 2e30];
        numbers.codes = vec![-1, 7];
    }
    if let ValueDistribution::Words(listed) = &mut now.inputs[1].values {
        listed.singles = 1;
        listed.filter = Some("AQI=".to_owned());
    }
    now
}

#[test]
fn every_format_ever_written_is_read_and_the_newest_is_written_the_same() {
    let first = include_bytes!("../golden/baseline-1.json");
    assert_eq!(Baseline::read(first).expect("read"), old());
    let second = include_bytes!("../golden/baseline-2.json");
    assert_eq!(Baseline::read(second).expect("read"), kinds());
    let golden = include_bytes!("../golden/baseline-3.json");
    assert_eq!(
        String::from_utf8(baseline().write()).expect("text"),
        String::from_utf8_lossy(golden)
    );
    assert_eq!(Baseline::read(golden).expect("read"), baseline());
}

#[test]
fn a_column_of_format_1_that_could_never_alarm_is_unsteady() {
    let mut slow = old();
    slow.inputs[0].design_effect = 1_000.0;
    let read = Baseline::read(&slow.write()).expect("read");
    assert_eq!(read.inputs[0].kind, ColumnKind::Unsteady);
    assert!(read.inputs[0].reason.contains("profile the rows again"));
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
        ("\"format\":3", "\"format\":4", "is of format 4"),
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
            "\"missing_effect\":2.0",
            "\"missing_effect\":0.0",
            "'amount' has a missing_effect below 1",
        ),
        ("[0.25,0.5]", "[0.5,0.25]", "'amount' has a band"),
        (
            "[[0.0,0.0],[0.25,0.5],",
            "[[0.0,0.0],",
            "'amount' must have a band for each edge",
        ),
        ("[0.0,0.05,", "[0.05,", "'amount' must have as many means"),
        ("AQI=", "*", "'colour' has a filter that is not Base64"),
        (
            "\"scale\":2.0",
            "\"scale\":0.0",
            "has a multivariate part that has a center or scale",
        ),
        (
            "\"correlations\":[[0.75]]",
            "\"correlations\":[]",
            "must have a correlation from -1 to 1",
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

#[test]
fn parts_that_do_not_hold_together_are_refused() {
    let check = |change: &dyn Fn(&mut Baseline), why: &str| {
        let mut changed = baseline();
        change(&mut changed);
        let error = Baseline::read(&changed.write()).expect_err(why).to_string();
        assert!(error.contains(why), "{error} does not contain {why}");
    };
    check(
        &|b| b.parts.push(b.parts[0].clone()),
        "the baseline lists the part 'red' of the slice 'colour' twice",
    );
    check(
        &|b| b.parts[0].inputs[0].design_effect = 0.5,
        "has a column 'amount' in the part 'red' of the slice 'colour' that has a design effect below 1",
    );
    check(
        &|b| b.parts[0].inputs = vec![b.inputs[0].clone(); 64],
        "over 64 columns in the part 'red'",
    );
    check(
        &|b| b.parts[0].loss = Some(part::PartLoss { rows: 9, lost: 10 }),
        "counts more wrong rows than labelled ones in the part 'red'",
    );
    let numbered = |n: usize| BaselinePart {
        part: n.to_string(),
        ..baseline().parts[0].clone()
    };
    check(
        &|b| b.parts = (0..=PARTS_MAX).map(numbered).collect(),
        "has 69 parts of slices; at most 68 are read",
    );
}
