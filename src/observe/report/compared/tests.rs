//! Tests of `compared`.

use super::*;

/// Labelled rows and their measures.
struct Measured(u64, BTreeMap<String, f64>);

fn measured(rows: u64, measures: &[(&str, f64)]) -> Measured {
    let named = |(name, value): &(&str, f64)| ((*name).to_owned(), *value);
    Measured(rows, measures.iter().map(named).collect())
}

fn compared(champion: &Measured, canary: &Measured) -> Vec<ComparedVersion> {
    let facts = [(1, "champion", champion), (2, "canary", canary)].map(|(version, alias, rows)| {
        VersionFacts {
            version,
            aliases: vec![alias.to_owned()],
            labelled: Some(CountedLabels {
                count: rows.0,
                measures: &rows.1,
            }),
            pair: (version == 2).then(|| LabelledPair {
                since: "2026-05-01T14:00Z".to_owned(),
                own: (canary.0, canary.1.clone()),
                base: (champion.0, champion.1.clone()),
            }),
            ..VersionFacts::default()
        }
    });
    compare(&facts, Some(1))
}

#[test]
fn an_accuracy_and_its_difference_have_the_intervals_of_wilson_and_newcombe() {
    // The example of Newcombe (1998), table II (a): 56 of 70 beside 48 of 80, 0.0524 to 0.3339.
    let canary = measured(70, &[("accuracy", 56.0 / 70.0)]);
    let champion = measured(80, &[("accuracy", 48.0 / 80.0)]);
    let all = compared(&champion, &canary);
    let found = all[1].difference.as_ref().expect("a difference");
    assert!((found.value - 0.2).abs() < 1e-12, "{found:?}");
    let [low, high] = found.interval;
    assert!(
        (low - 0.0524).abs() < 5e-5 && (high - 0.3339).abs() < 5e-5,
        "{found:?}"
    );
    assert_eq!(
        all[0].difference, None,
        "the champion is not compared with itself"
    );
    let said = sentences(&all);
    assert!(
        said[0].starts_with("version 2: better than version 1")
            && said[0].ends_with("70 labelled rows and 80 since 2026-05-01T14:00Z"),
        "{said:?}"
    );

    // All right: the bound is not 1 but stays below it.
    let perfect = compared(&champion, &measured(10, &[("accuracy", 1.0)]));
    let [low, high] = perfect[1].measured.as_ref().expect("a measure").interval;
    assert!(
        (low - 0.722_467).abs() < 1e-5 && (high - 1.0).abs() < 1e-12,
        "{low} {high}"
    );
}

#[test]
fn a_larger_error_is_worse_and_an_interval_over_zero_tells_nothing() {
    let champion = measured(1_000, &[("mae", 1.0), ("rmse", 1.25)]);
    let worse = compared(&champion, &measured(100, &[("mae", 2.0), ("rmse", 2.5)]));
    let said = sentences(&worse);
    assert!(
        said[0].starts_with("version 2: worse than version 1 by labels: mae +1.0000"),
        "{said:?}"
    );

    let similar = compared(&champion, &measured(100, &[("mae", 1.05), ("rmse", 1.3)]));
    assert!(
        sentences(&similar)[0].starts_with("version 2: no difference to"),
        "{similar:?}"
    );
    let unlabelled = compared(&champion, &measured(0, &[]));
    assert!(
        sentences(&unlabelled)[0].contains("cannot be compared"),
        "{unlabelled:?}"
    );
}

#[test]
fn requests_and_latency_are_shown_and_one_version_alone_is_not_compared() {
    let times = [(0.001, 50), (0.002, 98), (0.004, 100), (f64::INFINITY, 100)];
    let canary = VersionFacts {
        version: 2,
        aliases: vec!["canary".to_owned()],
        traffic: 10,
        requests: (100, 1),
        times: &times,
        ..VersionFacts::default()
    };
    let quiet = VersionFacts {
        version: 1,
        ..VersionFacts::default()
    };
    let all = compare(&[quiet, canary], None);
    let expected = [
        "2",
        "canary, 10 % of requests",
        "100",
        "1.00 %",
        "1.000 ms",
        "4.000 ms",
        "0",
        "0",
        "-",
    ];
    assert_eq!(cells(&all[1]), expected);
    assert_eq!(cells(&all[0])[3..6], ["-", "-", "-"]);
    assert_eq!(sentences(&all), Vec::<String>::new(), "no champion");

    let alone = VersionFacts {
        version: 1,
        ..VersionFacts::default()
    };
    assert_eq!(compare(&[alone], Some(1)), Vec::new());
}
