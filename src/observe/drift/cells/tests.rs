//! Tests of `cells`.

use super::*;
use proptest::prelude::*;

#[test]
fn few_different_values_get_a_cell_each() {
    let sorted = [1.0, 1.0, 2.0, 2.0, 2.0, 5.0];
    let edges = Edges::cut(&sorted);
    let cells: Vec<usize> = [0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 6.0]
        .map(|v| edges.cell(v))
        .to_vec();
    let mut distinct = cells.clone();
    distinct.dedup();
    assert_eq!(distinct, cells, "each has another cell, in order");
    assert_eq!((cells[0], cells[6]), (0, edges.cells() - 1));
}

#[test]
fn categories_are_counted_singly_together_or_as_unseen() {
    let texts = |all: &[&str]| all.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    let words = KnownWords::new(&texts(&["a", "b"]), &texts(&["rare"]), false);
    assert_eq!(
        ["a", "b", "rare", "new"].map(|w| words.cell(w)),
        [0, 1, 2, 3]
    );
    assert_eq!((words.cells(), words.unseen()), (4, 3));
    let long = "\u{e9}".repeat(1_000_000);
    let words = KnownWords::new(&texts(&[cut(&long)]), &[], false);
    assert_eq!(
        (
            words.cell(&long),
            words.cell(&long[2..]),
            words.cell(&long[..10])
        ),
        (0, 0, 2)
    );

    assert_eq!(
        KnownWords::new(&texts(&["a"]), &[], true).cell("new"),
        1,
        "nobody can say that it was not there"
    );
}

proptest! {
    #[test]
    fn cells_cover_all_numbers_with_about_equal_counts(mut values in prop::collection::vec(-1e6..1e6_f64, 1..500)) {
        values.sort_unstable_by(f64::total_cmp);
        let edges = Edges::cut(&values);
        prop_assert!(Edges::new(edges.all().to_vec()).is_some());
        let mut counts = vec![0_usize; edges.cells()];
        values.iter().for_each(|v| counts[edges.cell(*v)] += 1);
        prop_assert_eq!((counts[0], counts[edges.cells() - 1]), (0, 0), "nothing of the baseline lies beyond it");
        let mass = values.len() / CELLS + 1;
        prop_assert!(counts.iter().all(|n| *n <= mass + 1), "{counts:?}");
    }
}
