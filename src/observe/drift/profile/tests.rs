//! Tests of `profile`.

use super::*;

fn numbers_of(values: &[f64]) -> (u64, NumberBaseline) {
    let column = profile("x", &ColumnSeries::Numbers(values.to_vec()));

    let ValueDistribution::Numbers(numbers) = column.values else {
        panic!("numbers")
    };
    (column.missing, numbers)
}

#[test]
fn a_numeric_column_gets_edges_counts_and_statistics() {
    let values: Vec<f64> = (0..1_000)
        .map(f64::from)
        .chain([f64::NAN; 5])
        .chain([f64::INFINITY])
        .collect();
    let (missing, numbers) = numbers_of(&values);

    assert_eq!((missing, numbers.counts.iter().sum::<u64>()), (5, 1_001));
    assert_eq!(
        (numbers.counts[0], numbers.counts.last()),
        (0, Some(&1)),
        "the infinity lies beyond"
    );

    assert_eq!(
        (numbers.median, numbers.iqr, numbers.mean),
        (499.5, 499.5, 499.5)
    );
    assert!(
        numbers.counts[1..numbers.counts.len() - 1]
            .iter()
            .all(|n| (60..=65).contains(n)),
        "{numbers:?}"
    );

    let (missing, always_missing) = numbers_of(&[f64::NAN; 10]);
    assert_eq!(
        (missing, always_missing.edges.len(), always_missing.counts),
        (10, 0, vec![0])
    );
    let (_, constant) = numbers_of(&[7.0; 100]);
    assert_eq!(
        (constant.counts, constant.codes),
        (vec![0, 100, 0], vec![7])
    );
    assert!(
        constant.edges[0] < 7.0 && constant.edges[1] > 7.0,
        "the last digits do not matter: {:?}",
        constant.edges
    );
}

#[test]
fn few_different_integers_are_categories_and_many_are_numbers() {
    let column = |n: i64| {
        profile(
            "x",
            &ColumnSeries::Whole((0..1_000).map(|i| i % n).collect()),
        )
        .values
    };
    let ValueDistribution::Words(listed) = column(3) else {
        panic!("names")
    };

    assert_eq!(listed.words[0], ("0".to_owned(), 334));
    assert!(matches!(column(65), ValueDistribution::Numbers(_)));
}

#[test]
fn categories_beyond_the_most_frequent_are_counted_together() {
    let words: Vec<String> = (0..100)
        .flat_map(|i| vec![format!("w{i}"); 200 - i])
        .chain([String::new()])
        .collect();
    let column = profile("x", &ColumnSeries::Words(words));

    let ValueDistribution::Words(listed) = column.values else {
        panic!("words")
    };
    assert_eq!(
        (
            column.missing,
            listed.words.len(),
            listed.others.len(),
            listed.open
        ),
        (1, 64, 36, false)
    );

    assert_eq!(listed.words[0], ("w0".to_owned(), 200));
    assert_eq!(listed.other_rows, (64..100).map(|i| 200 - i).sum::<u64>());
}

#[test]
fn one_unit_in_the_last_place_changes_no_cell() {
    let prices: Vec<f64> = (0..2_000)
        .map(|i| f64::from((i % 37) as f32 * 0.1 + 9.99))
        .collect();
    for values in [prices, (0..1_000).map(|i| f64::from(1 + i % 3)).collect()] {
        let (_, numbers) = numbers_of(&values);
        let edges = Edges::new(numbers.edges).expect("increase");
        for value in values {
            let single = value as f32;
            for near in [single.next_up(), single.next_down()] {
                assert_eq!(edges.cell(near.into()), edges.cell(value), "{value}");
            }
        }
    }
}

#[test]
fn cells_keep_the_mean_of_their_values() {
    let values: Vec<f64> = (0..1_000).map(|i| (f64::from(i) / 80.0).exp()).collect();
    let (_, numbers) = numbers_of(&values);
    let sum: f64 = numbers
        .counts
        .iter()
        .zip(&numbers.means)
        .map(|(n, mean)| *n as f64 * mean)
        .sum();
    let expected: f64 = values.iter().sum();
    assert!(
        (sum / expected - 1.0).abs() < 1e-12,
        "{sum} and not {expected}"
    );
}

#[test]
fn a_column_with_more_words_than_are_listed_has_a_filter() {
    let words: Vec<String> = (0..6_000).map(|i| format!("w{}", i % 5_000)).collect();
    let column = profile("x", &ColumnSeries::Words(words));
    let ValueDistribution::Words(listed) = &column.values else {
        panic!("words")
    };
    assert!(listed.open && listed.filter.is_some());
    assert_eq!(listed.singles, 4_000);
    let known = column.words().expect("words");
    assert_ne!(known.cell("w4999"), known.unseen());
}

#[test]
fn what_the_model_learned_is_allowed_though_the_rows_lack_it() {
    use crate::observe::drift::facts::LearnedValues;
    use crate::observe::drift::kind::ColumnKind;
    let facts = |learned| ColumnFacts {
        times: &[],
        learned: Some(learned),
    };
    // The newest rows are of two months only.
    let months = ColumnSeries::Numbers((0..1_000).map(|row| f64::from(11 + row / 500)).collect());
    let year = LearnedValues::of_numbers((1..=12).map(f64::from)).expect("codes");
    let column = profile_known("month", &months, facts(&year));
    assert_eq!(column.kind, ColumnKind::Cyclic, "{}", column.reason);
    let ValueDistribution::Numbers(numbers) = &column.values else {
        panic!("numbers")
    };
    assert_eq!(numbers.codes, (1..=12).collect::<Vec<i64>>());
    assert_eq!(numbers.learned, Some((1.0, 12.0)));

    let one = ColumnSeries::Numbers(vec![12.0; 500]);
    let alone = profile_known("month", &one, facts(&year));
    assert_eq!(alone.kind, ColumnKind::Cyclic);
    assert_eq!(profile("month", &one).kind, ColumnKind::Constant);

    // More days than codes are listed: the range is enough.
    let days = ColumnSeries::Numbers((0..1_000).map(|row| f64::from(290 + row % 76)).collect());
    let all = LearnedValues::of_numbers((1..=366).map(f64::from)).expect("codes");
    let column = profile_known("dayofyear", &days, facts(&all));
    let ValueDistribution::Numbers(numbers) = &column.values else {
        panic!("numbers")
    };
    assert_eq!(
        (numbers.learned, numbers.codes.len()),
        (Some((1.0, 366.0)), 0)
    );

    let words = ColumnSeries::Words((0..500).map(|row| ["a", "b"][row % 2].to_owned()).collect());
    let known = LearnedValues::of_words(["a", "c", "", "b"].into_iter()).expect("words");
    let ValueDistribution::Words(listed) = profile_known("w", &words, facts(&known)).values else {
        panic!("words")
    };
    assert_eq!((listed.others, listed.open), (vec!["c".to_owned()], false));

    let wide = LearnedValues::of_numbers((0..500).map(f64::from));
    assert_eq!(wide, None, "too many to be codes");
    assert_eq!(LearnedValues::of_numbers([0.5].into_iter()), None);
}
