//! Tests of `times`.

use super::*;
use crate::frame::Coder;

fn column(name: &str, values: Raw) -> Gathered {
    Gathered {
        name: name.to_owned(),
        values,
        was_truth: false,
        was_whole: true,
        first_inexact: None,
    }
}

fn words(all: &[&str]) -> Raw {
    let mut coder = Coder::default();
    all.iter().for_each(|word| coder.push(Some(word)));
    Raw::Words(coder.finish())
}

#[test]
fn numbers_are_times_by_their_range_and_a_name_or_an_order() {
    let unit = |name: &str, all: &[f64]| {
        let found = found(&column(name, Raw::Numbers(all.to_vec().into())));
        match found.map(|time| time.form) {
            Some(TimeForm::Unix(unit)) => Some(unit),
            _ => None,
        }
    };
    let seconds = [1.7e9, 1.6e9, f64::NAN];
    for name in ["ts", "order_time", "createdAt", "Date", "event-ts2"] {
        assert_eq!(unit(name, &seconds), Some(UnixUnit::Seconds), "{name}");
    }
    for name in ["amount", "state", "cats", "weather"] {
        assert_eq!(unit(name, &seconds), None, "{name}");
    }
    assert_eq!(
        unit("n", &[1.6e9, 1.7e9]),
        Some(UnixUnit::Seconds),
        "an order"
    );
    assert_eq!(unit("n", &[1.6e9, 1.6e9]), None, "no order");
    assert_eq!(unit("at", &[1.6e12, 1.7e12]), Some(UnixUnit::Millis));
    assert_eq!(unit("at", &[1.6e18, 1.7e18]), Some(UnixUnit::Nanos));
    assert_eq!(unit("at", &[5.0, 1.7e9]), None, "not all in the range");
    assert_eq!(unit("at", &[]), None);
}

#[test]
fn numbers_of_any_unit_are_the_same_times() {
    for unit in [1.0, 1e3, 1e6, 1e9] {
        let all = vec![1.7e9 * unit, 1.6e9 * unit, f64::NAN];
        let times = column("t", Raw::Numbers(all.into()))
            .times()
            .expect("times");
        assert_eq!(
            times,
            [1_700_000_000_000_000, 1_600_000_000_000_000, NO_TIME]
        );
    }
    // Numbers that only count are seconds, as before.
    let times = column("t", Raw::Numbers(vec![0.0, 2.5].into())).times();
    assert_eq!(times.ok(), Some(vec![0, 2_500_000]));
    let moments = column("t", Raw::Numbers(vec![0.0, 2.5].into())).moments();
    assert!(moments.is_err_and(|e| e.message.contains("is no time")));
    let moments = column("t", Raw::Times(vec![1_500_000, NO_TIME])).moments();
    let moments = moments.expect("times");
    assert!(moments.values[0] == 1.5 && moments.values[1].is_nan());
}

#[test]
fn words_that_are_times_are_refused_with_what_to_set() {
    let why = |all: &[&str]| match column("when", words(all)).times() {
        Err(error) => error.message,
        Ok(times) => panic!("{times:?}"),
    };
    for (all, part) in [
        (
            &["01/02/2023", "02/01/2023"][..],
            "could be day/month/year or month/day/year: set 'dates' in the format of the source to \"dmy\" or \"mdy\"",
        ),
        (
            &["2023-01-01", "2023-01-02", "soon"],
            "but 1 different value is no time, such as 'soon': list",
        ),
        (&["2023-01-01", "31/12/2023"], "in several formats"),
        (&["2023-01-01", "2023-01-02"], "CAST it to TIMESTAMP"),
        (&["red", "blue"], "'when' is not a time"),
    ] {
        let why = why(all);
        assert!(why.contains(part), "{why}");
    }
}
