//! Tests of `profile`.

use super::*;

fn numbers_of(values: &[f64]) -> (u64, NumberBaseline) {
    let column = profile(
        "x",
        &ColumnSeries::Numbers {
            values: values.to_vec(),
            single: false,
        },
    );

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
        (constant.edges, constant.counts),
        (vec![7.0_f64.next_down(), 7.0], vec![0, 100, 0])
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
fn correlated_rows_have_a_design_effect() {
    let mut state = 1_u64;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1 << 24)
    };

    let independent: Vec<f64> = (0..10_000).map(|_| random()).collect();
    let sticky: Vec<f64> = (0..1_000).flat_map(|_| [random(); 10]).collect();
    assert_eq!(design_effect(&independent), 1.0);
    assert!(
        (5.0..20.0).contains(&design_effect(&sticky)),
        "{}",
        design_effect(&sticky)
    );
}
