//! An axis of a setting: where the value of each run stands on it, from 0 to 1. Pure.

use ortus::observe::report::chart::number;
use std::collections::BTreeSet;

/// From so many times on, positive numbers stand by their logarithm.
const LOG_FROM: f64 = 30.0;

/// The values of runs on an axis.
pub(super) struct Axis {
    pub name: String,
    /// The place of each run; none without a value.
    pub places: Vec<Option<f64>>,
    /// What stands at some places.
    pub marks: Vec<(f64, String)>,
}

impl Axis {
    /// Places values: numbers by their size, anything else as words, one beside the other.
    pub(super) fn of(name: &str, values: &[Option<&str>]) -> Self {
        let number = |value: &Option<&str>| value.map(str::parse::<f64>);
        let numbers: Vec<Option<Result<f64, _>>> = values.iter().map(number).collect();
        let are_numbers = numbers
            .iter()
            .flatten()
            .all(|number| number.as_ref().is_ok_and(|n| n.is_finite()));
        if are_numbers && numbers.iter().any(Option::is_some) {
            let numbers: Vec<Option<f64>> = numbers
                .into_iter()
                .map(|number| number.and_then(Result::ok))
                .collect();
            return Self::of_numbers(name, &numbers);
        }
        let words: Vec<&str> = values
            .iter()
            .flatten()
            .copied()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let place = |at: usize| match words.len() {
            0 | 1 => 0.5,
            more => at as f64 / (more - 1) as f64,
        };
        let of = |value: &Option<&str>| {
            value
                .and_then(|value| words.iter().position(|word| *word == value))
                .map(place)
        };
        Self {
            name: name.to_owned(),
            places: values.iter().map(of).collect(),
            marks: words
                .iter()
                .enumerate()
                .map(|(at, word)| (place(at), (*word).to_owned()))
                .collect(),
        }
    }

    /// Places numbers, by their logarithm where they span much.
    pub(super) fn of_numbers(name: &str, values: &[Option<f64>]) -> Self {
        let all = || values.iter().flatten().copied();
        let (low, high) = (
            all().fold(f64::INFINITY, f64::min),
            all().fold(f64::NEG_INFINITY, f64::max),
        );
        let is_log = low > 0.0 && high / low >= LOG_FROM;
        let scaled = |value: f64| if is_log { value.ln() } else { value };
        let (from, to) = (scaled(low), scaled(high));
        let place = |value: f64| {
            if to > from {
                (scaled(value) - from) / (to - from)
            } else {
                0.5
            }
        };
        let marks = if high > low {
            let middle = (from + to) / 2.0;
            let middle = if is_log { middle.exp() } else { middle };
            vec![
                (0.0, number(low)),
                (0.5, number(middle)),
                (1.0, number(high)),
            ]
        } else {
            vec![(0.5, number(low))]
        };
        Self {
            name: name.to_owned(),
            places: values.iter().map(|value| value.map(place)).collect(),
            marks: if low.is_finite() { marks } else { Vec::new() },
        }
    }

    /// Returns what stands at both ends.
    pub(super) fn ends(&self) -> (&str, &str) {
        match self.marks.as_slice() {
            [] => ("", ""),
            [(_, only)] => (only, ""),
            [(_, first), .., (_, last)] => (first, last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_by_size_or_logarithm_and_words_beside_each_other() {
        let few = Axis::of("a", &[Some("2"), Some("4"), None, Some("3")]);
        assert_eq!(few.places, [Some(0.0), Some(1.0), None, Some(0.5)]);
        let many = Axis::of("b", &[Some("0.01"), Some("1"), Some("0.1")]);
        let places: Vec<f64> = many.places.iter().flatten().copied().collect();
        assert!(
            (places[2] - 0.5).abs() < 1e-12 && places[1] == 1.0,
            "{places:?}"
        );
        assert_eq!(many.ends(), ("0.01", "1"));
        let words = Axis::of("c", &[Some("trees"), Some("linear"), Some("8")]);
        assert_eq!(words.places, [Some(1.0), Some(0.5), Some(0.0)]);
        let same = Axis::of("d", &[Some("7"), Some("7")]);
        assert_eq!((same.places, same.marks.len()), (vec![Some(0.5); 2], 1));
        let none = Axis::of("e", &[None, None]);
        assert_eq!((none.places, none.marks.len()), (vec![None; 2], 0));
    }
}
