//! Whether the rows of a table are sorted by their labels, as many published tables are, and another
//! order for such rows.

use crate::core::hash::SplitMix;
use crate::observe::quality::answer::Truth;

/// Fewest rows of which an order is told.
const ROWS_MIN: usize = 30;
/// Share of the changes from row to row that rows in no order would have, below which rows are sorted.
const CHANGES: f64 = 0.1;

/// Tells whether rows are sorted by their labels: classes change from row to row far less often than in
/// no order, or values never fall.
pub(super) fn is_sorted(truths: impl Iterator<Item = Truth>) -> bool {
    let (mut classes, mut values) = (Vec::new(), Vec::new());
    for truth in truths {
        match truth {
            Truth::Class(class) => classes.push(class),
            Truth::Value(value) => values.push(value),
        }
    }

    if values.len() >= ROWS_MIN {
        return values.is_sorted() && values.first() < values.last();
    }
    if classes.len() < ROWS_MIN {
        return false;
    }
    let rows = classes.len() as f64;
    let changes = classes.windows(2).filter(|pair| pair[0] != pair[1]).count() as f64;
    let most = classes.iter().max().map_or(0, |most| most + 1);
    let mut counts = vec![0.0; most];
    classes.iter().for_each(|class| counts[*class] += 1.0);
    let alike: f64 = counts.iter().map(|n| (n / rows).powi(2)).sum();
    let expected = rows * (1.0 - alike);
    expected >= 10.0 && changes < CHANGES * expected
}

/// Returns the numbers of rows in no order, always the same one.
pub(super) fn shuffled(rows: usize) -> Vec<u32> {
    let mut random = SplitMix(rows as u64);
    let mut order: Vec<u32> = (0..u32::try_from(rows).unwrap_or(u32::MAX)).collect();
    for at in (1..order.len()).rev() {
        let other = (random.next_u64() % (at as u64 + 1)) as usize;
        order.swap(at, other);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(classes: &[usize]) -> bool {
        is_sorted(classes.iter().map(|class| Truth::Class(*class)))
    }

    #[test]
    fn tables_in_the_order_of_their_classes_are_told() {
        let by_class: Vec<usize> = (0..150).map(|row| row / 50).collect();
        assert!(sorted(&by_class));
        let mixed: Vec<usize> = (0..150).map(|row| row * 7 % 3).collect();
        assert!(!sorted(&mixed));
        let rare: Vec<usize> = (0..1_000).map(|row| usize::from(row > 995)).collect();
        assert!(!sorted(&rare), "four rows in a run may be chance");
        assert!(
            !sorted(&[0; 20]) && !sorted(&[1; 200]),
            "one class has no order"
        );
        let rising = (0..100).map(|row| Truth::Value(f64::from(row)));
        assert!(is_sorted(rising));
        let noisy = (0..100).map(|row| Truth::Value(f64::from(row + 3 * (row % 2))));
        assert!(!is_sorted(noisy));
    }

    #[test]
    fn another_order_has_every_row_once() {
        let mut order = shuffled(1_000);
        assert_ne!(order[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        order.sort_unstable();
        assert!(order.iter().copied().eq(0..1_000));
    }
}
