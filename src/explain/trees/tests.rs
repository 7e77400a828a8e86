//! Tests of `trees`, against the definition of Shapley values over all subsets of features.

use super::*;

/// A stream of numbers between 0 and 1.
pub(crate) struct Dice(pub u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, count: usize) -> usize {
        (self.roll() * count as f64) as usize
    }
}

/// Grows a random tree below a node: numbers in the even features, categories in the odd ones.
fn grow(dice: &mut Dice, tree: &mut TreeBuilder, features: usize, depth: usize) {
    if depth == 0 || dice.roll() < 0.15 {
        let rows = 1 + dice.below(50) as u32;
        let value = (dice.roll() * 4.0 - 2.0) as f32;
        return tree.leaf(value, rows).expect("a leaf");
    }
    let feature = dice.below(features);
    let test = match feature % 2 {
        0 => CoverTest::UpTo {
            threshold: dice.roll() as f32,
            missing_left: dice.roll() < 0.5,
        },
        _ => CoverTest::OneOf([dice.0, 0, 0, dice.0 >> 7]),
    };
    tree.split(feature, &test).expect("a split");
    grow(dice, tree, features, depth - 1);
    grow(dice, tree, features, depth - 1);
}

pub(crate) fn random_tree(dice: &mut Dice, features: usize, depth: usize) -> CoverTree {
    let mut tree = TreeBuilder::default();
    grow(dice, &mut tree, features, depth);
    tree.finish().expect("a tree")
}

pub(crate) fn random_row(dice: &mut Dice, features: usize) -> Vec<f32> {
    let cell = |dice: &mut Dice, feature: usize| match feature % 2 {
        0 if dice.roll() < 0.2 => f32::NAN,
        0 => dice.roll() as f32,
        _ => [0.0, 3.0, 17.0, 62.0, 200.0, 254.0, 255.0][dice.below(7)],
    };
    (0..features).map(|feature| cell(dice, feature)).collect()
}

/// The value of a tree whose features outside of a set are averaged over the rows of both sides.
fn expected(tree: &CoverTree, row: &[f32], known: usize, at: usize) -> f64 {
    let node = &tree.nodes[at];
    let Some((feature, right, is_left)) = tree.branch(node, row) else {
        let CoverNode::Leaf { value, .. } = node else {
            panic!("a leaf")
        };
        return f64::from(*value);
    };
    if known >> feature & 1 == 1 {
        return expected(tree, row, known, if is_left { at + 1 } else { right });
    }
    let side = |child: usize| tree.nodes[child].rows() * expected(tree, row, known, child);
    (side(at + 1) + side(right)) / node.rows()
}

/// Shapley values by their definition.
fn by_definition(tree: &CoverTree, row: &[f32]) -> Vec<f64> {
    let count = row.len();
    let factorial = |n: usize| (1..=n).map(|k| k as f64).product::<f64>();
    let of = |feature: usize| {
        let without = (0..1_usize << count).filter(|known| known >> feature & 1 == 0);
        let part = |known: usize| {
            let size = known.count_ones() as usize;
            let weight = factorial(size) * factorial(count - size - 1) / factorial(count);
            let with = expected(tree, row, known | 1 << feature, 0);
            weight * (with - expected(tree, row, known, 0))
        };
        without.map(part).sum()
    };
    (0..count).map(of).collect()
}

#[test]
fn contributions_are_shapley_values_over_all_subsets() {
    let mut dice = Dice(11);
    for case in 0..300 {
        let features = 1 + case % 6;
        let tree = random_tree(&mut dice, features, 1 + case % 7);
        let row = random_row(&mut dice, features);
        let mut found = vec![0.0; features];
        tree.contribute(&row, &mut TreeScratch::default(), &mut found);
        for (one, other) in found.iter().zip(by_definition(&tree, &row)) {
            assert!((one - other).abs() < 1e-12, "case {case}: {one}, {other}");
        }
    }
}

#[test]
fn the_mean_and_the_contributions_are_the_value_of_the_row() {
    let mut dice = Dice(5);
    let mut scratch = TreeScratch::default();
    for case in 0..300 {
        let features = 1 + case % 40;
        let tree = random_tree(&mut dice, features, 12);
        let row = random_row(&mut dice, features);
        let mut found = vec![0.0; features];
        tree.contribute(&row, &mut scratch, &mut found);
        let whole = tree.mean() + found.iter().sum::<f64>();
        let value = f64::from(tree.value(&row));
        assert!(
            (whole - value).abs() < 1e-12,
            "case {case}: {whole}, {value}"
        );
    }
}

/// A tree of one path, with another feature in each split.
fn chain(depth: usize) -> CoverTree {
    let mut tree = TreeBuilder::default();
    for feature in 0..depth {
        let test = CoverTest::UpTo {
            threshold: 0.5,
            missing_left: true,
        };
        tree.split(feature, &test).expect("a split");
        tree.leaf(feature as f32, 1 + feature as u32)
            .expect("a leaf");
    }
    tree.leaf(100.0, 1_000_000).expect("a leaf");
    tree.finish().expect("a tree")
}

#[test]
fn the_deepest_path_loses_no_digits() {
    let tree = chain(DEPTH_MAX);
    for row in [
        [1.0_f32; DEPTH_MAX],
        [0.0; DEPTH_MAX],
        [f32::NAN; DEPTH_MAX],
    ] {
        let mut found = vec![0.0; DEPTH_MAX];
        tree.contribute(&row, &mut TreeScratch::default(), &mut found);
        let whole = tree.mean() + found.iter().sum::<f64>();
        assert!(
            (whole - f64::from(tree.value(&row))).abs() < 1e-10,
            "{whole}"
        );
    }
}

#[test]
fn a_tree_that_is_none_is_refused() {
    let number = |threshold| CoverTest::UpTo {
        threshold,
        missing_left: false,
    };
    let refused = |tree: Result<()>| tree.expect_err("refused").message;

    let mut tree = TreeBuilder::default();
    assert!(refused(tree.split(0, &number(f32::NAN))).contains("threshold"));
    assert!(refused(tree.leaf(f32::INFINITY, 1)).contains("not finite"));
    assert!(refused(tree.leaf(1.0, 0)).contains("no training rows"));
    tree.split(0, &number(1.0)).expect("a split");
    tree.leaf(1.0, u32::MAX).expect("a leaf");
    assert!(refused(tree.leaf(1.0, 1)).contains("4 billion"));

    let mut tree = TreeBuilder::default();
    tree.leaf(1.0, 1).expect("a leaf");
    assert!(refused(tree.leaf(1.0, 1)).contains("goes on"));
    assert!(refused(tree.split(0, &number(1.0))).contains("goes on"));

    let mut tree = TreeBuilder::default();
    for _ in 0..DEPTH_MAX {
        tree.split(0, &number(1.0)).expect("a split");
    }
    assert!(refused(tree.split(0, &number(1.0))).contains("deeper"));
    assert!(refused(tree.finish().map(drop)).contains("ends before"));
}
