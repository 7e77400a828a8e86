//! Tests of `trees`: what is learned, and that it is the same on any number of threads.

use super::super::super::frame::{Coder, FrameColumn};
use super::super::bins::Cut;
use super::*;

fn random(state: &mut u64) -> f32 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 40) as f32 / (1 << 24) as f32
}

/// Numbers with missing ones, and a category; the target depends on all of them.
fn world(rows: usize, seed: u64) -> (Frame, Vec<f32>) {
    let mut state = seed;
    let (mut a, mut b, mut words, mut y) = (Vec::new(), Vec::new(), Coder::default(), Vec::new());
    for _ in 0..rows {
        let (x, z) = (random(&mut state), random(&mut state));
        let word = ["red", "green", "blue", "grey"][(random(&mut state) * 4.0) as usize];
        let is_missing = random(&mut state) < 0.1;
        let hue = if matches!(word, "red" | "blue") {
            1.0
        } else {
            -1.0
        };
        y.push((6.0 * x).sin() + hue * z + if is_missing { 2.0 } else { 0.0 });
        a.push(if is_missing { f32::NAN } else { x });
        if is_missing {
            *y.last_mut().expect("a row") -= (6.0 * x).sin();
        }
        b.push(z);
        words.push(Some(word));
    }

    let numbers = |name: &str, all| FrameColumn {
        name: name.to_owned(),
        values: FrameValues::Numbers(all),
    };
    let word = FrameColumn {
        name: "c".to_owned(),
        values: FrameValues::Words(words.finish()),
    };
    (
        Frame {
            columns: vec![numbers("a", a.into()), numbers("b", b.into()), word],
            rows,
            ..Frame::default()
        },
        y,
    )
}

struct Prepared {
    features: Vec<Feature>,
    train: Binned,
    stop: Binned,
}

fn prepare(frame: &Frame, at: u32) -> Prepared {
    let rows: Vec<u32> = (0..at).collect();
    let rest: Vec<u32> = (at..frame.rows as u32).collect();
    let features: Vec<Feature> = (0..3).map(|c| Feature::learn(frame, c, &rows)).collect();
    let cuts: Vec<Cut> = (0..3).map(|c| Cut::find(frame, c, &rows)).collect();
    let of = |rows: &[u32]| Binned::of(frame, &features, cuts.clone(), rows);
    Prepared {
        train: of(&rows),
        stop: of(&rest),
        features: features.clone(),
    }
}

fn fit_world(loss: Loss, targets: &[f32], prepared: &Prepared, options: &TreeOptions) -> Booster {
    let at = prepared.train.rows;
    let train = TreeRows {
        data: &prepared.train,
        targets: &targets[..at],
        weights: None,
        queries: None,
    };

    let stop = TreeRows {
        data: &prepared.stop,
        targets: &targets[at..],
        weights: None,
        queries: None,
    };

    fit(&train, Some(&stop), loss, options, &mut |_| {})
}

#[test]
fn trees_learn_values_and_classes_from_numbers_categories_and_missing_values() {
    let (frame, y) = world(8_000, 7);
    let prepared = prepare(&frame, 6_000);
    let booster = fit_world(Loss::Squared, &y, &prepared, &TreeOptions::default());
    let all = rows(&frame, &prepared.features);
    let error = |row: usize| f64::from(y[row]) - booster.scores(&all[row * 3..][..3])[0];
    let mse = (6_000..8_000).map(|row| error(row).powi(2)).sum::<f64>() / 2_000.0;
    assert!(mse < 0.01, "{mse}");
    let importances = booster.importances(3);
    assert!(importances.iter().all(|i| *i > 0.05), "{importances:?}");

    let classes: Vec<f32> = y.iter().map(|v| f32::from(u8::from(*v > 0.3))).collect();
    let booster = fit_world(Loss::Logistic, &classes, &prepared, &TreeOptions::default());
    let right =
        |row: usize| (booster.scores(&all[row * 3..][..3])[0] > 0.0) == (classes[row] > 0.5);
    let accuracy = (6_000..8_000).filter(|row| right(*row)).count() as f64 / 2_000.0;
    assert!(accuracy > 0.95, "{accuracy}");

    let three: Vec<f32> = y
        .iter()
        .map(|v| {
            if *v < -0.3 {
                0.0
            } else if *v < 0.7 {
                1.0
            } else {
                2.0
            }
        })
        .collect();
    let booster = fit_world(Loss::Softmax(3), &three, &prepared, &TreeOptions::default());

    let decided = |row: usize| {
        let scores = booster.scores(&all[row * 3..][..3]);
        (0..3)
            .max_by(|a, b| scores[*a].total_cmp(&scores[*b]))
            .expect("three")
    };

    let accuracy = (6_000..8_000)
        .filter(|row| decided(*row) == three[*row] as usize)
        .count() as f64
        / 2_000.0;
    assert!(accuracy > 0.93, "{accuracy}");
}

#[test]
fn binned_rows_and_numbers_reach_the_same_leaf() {
    let (frame, y) = world(3_000, 11);
    let prepared = prepare(&frame, 2_500);
    let options = TreeOptions {
        rounds_max: 20,
        ..TreeOptions::default()
    };
    let mut order: Vec<u32> = (0..2_500).collect();
    let gradients = Loss::Squared
        .gradients(&y[..2_500], None, &vec![0.0; 2_500])
        .remove(0);
    let GrownTree {
        tree,
        tests,
        leaves,
    } = grow(&prepared.train, &mut order, &gradients, &options);

    assert_eq!(tree.leaves.len(), options.leaves_max);
    let all = rows(&frame, &prepared.features);
    for (leaf, range) in leaves.iter().enumerate() {
        for row in &order[range.clone()] {
            let row = *row as usize;
            assert_eq!(
                tree.value(&all[row * 3..][..3]),
                tree.leaves[leaf],
                "row {row}"
            );
            assert_eq!(
                by_bytes(&tree, &tests, prepared.train.row(row)),
                tree.leaves[leaf],
                "row {row}"
            );
        }
    }

    for row in 0..500 {
        let by_numbers = tree.value(&all[(2_500 + row) * 3..][..3]);
        assert_eq!(
            by_bytes(&tree, &tests, prepared.stop.row(row)),
            by_numbers,
            "a row it has not seen"
        );
    }
}

#[test]
fn the_same_rows_give_the_same_trees_on_any_number_of_threads() {
    let (frame, y) = world(50_000, 3);
    let prepared = prepare(&frame, 45_000);
    let options = TreeOptions {
        rounds_max: 5,
        ..TreeOptions::default()
    };
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("threads");
        pool.install(|| fit_world(Loss::Squared, &y, &prepared, &options))
    };

    let one = with(1);
    assert!(one == with(3));
    assert_eq!(one.trees.len(), 5);
}

#[test]
fn each_leaf_knows_how_many_training_rows_it_has() {
    let (frame, y) = world(3_000, 17);
    let prepared = prepare(&frame, 3_000);
    let train = TreeRows {
        data: &prepared.train,
        targets: &y,
        weights: None,
        queries: None,
    };
    let options = TreeOptions {
        rounds_max: 3,
        ..TreeOptions::default()
    };
    let booster = fit(&train, None, Loss::Squared, &options, &mut |_| {});
    let values = rows(&frame, &prepared.features);
    for tree in &booster.trees {
        assert!(tree.leaves.len() > 10);
        for (leaf, known) in tree.leaf_rows.iter().enumerate() {
            let value = tree.leaves[leaf];
            let alike = tree.leaves.iter().filter(|other| **other == value);
            assert_eq!(alike.count(), 1, "leaves can be told apart");
            let of = values
                .chunks_exact(3)
                .filter(|row| tree.value(row) == value);
            assert_eq!(of.count(), *known as usize, "leaf {leaf}");
        }
    }
}

#[test]
fn boosting_stops_when_the_early_stopping_loss_no_longer_falls() {
    let (frame, _) = world(2_000, 5);
    let mut state = 99;
    let noise: Vec<f32> = (0..2_000).map(|_| random(&mut state)).collect();
    let prepared = prepare(&frame, 1_000);
    let mut rounds = 0;
    let train = TreeRows {
        data: &prepared.train,
        targets: &noise[..1_000],
        weights: None,
        queries: None,
    };

    let stop = TreeRows {
        data: &prepared.stop,
        targets: &noise[1_000..],
        weights: None,
        queries: None,
    };

    let booster = fit(
        &train,
        Some(&stop),
        Loss::Squared,
        &TreeOptions::default(),
        &mut |r| rounds = r.number,
    );

    assert!(
        rounds < 100 && booster.trees.len() < 10,
        "{rounds} {}",
        booster.trees.len()
    );
}

#[test]
fn a_row_of_weight_2_counts_as_two_rows() {
    let (frame, y) = world(4_000, 13);
    let rows: Vec<u32> = (0..2_000).collect();
    let twice: Vec<u32> = rows
        .iter()
        .flat_map(|r| if r % 2 == 0 { vec![*r, *r] } else { vec![*r] })
        .collect();
    let features: Vec<Feature> = (0..3).map(|c| Feature::learn(&frame, c, &rows)).collect();

    let cuts: Vec<Cut> = (0..3).map(|c| Cut::find(&frame, c, &rows)).collect();
    let of = |rows: &[u32], weights: Option<&[f32]>| {
        let data = Binned::of(&frame, &features, cuts.clone(), rows);
        let targets: Vec<f32> = rows.iter().map(|r| y[*r as usize]).collect();
        let options = TreeOptions {
            rounds_max: 1,
            leaf_rows_min: 1,
            category_rows_min: 1,
            ..TreeOptions::default()
        };
        fit(
            &TreeRows {
                data: &data,
                targets: &targets,
                weights,
                queries: None,
            },
            None,
            Loss::Squared,
            &options,
            &mut |_| {},
        )
    };

    let weights: Vec<f32> = rows
        .iter()
        .map(|r| if r % 2 == 0 { 2.0 } else { 1.0 })
        .collect();
    let (weighed, repeated) = (of(&rows, Some(&weights)), of(&twice, None));

    assert_eq!(
        weighed.trees[0].nodes[0].choice,
        repeated.trees[0].nodes[0].choice
    );
    assert!((weighed.base[0] - repeated.base[0]).abs() < 1e-6);
}
