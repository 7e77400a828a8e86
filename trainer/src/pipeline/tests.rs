//! Tests of the pipeline: every kind of model, exported and run by ONNX Runtime,
//! predicts like the fitted one on 100,000 rows at and beside each threshold.

mod explained;
mod objectives;
mod sources;

use super::key;
use crate::command::Code;
use crate::data::{DataManifest, RowTarget, Rows};
use crate::frame::{Coder, Frame, FrameColumn, FrameValues};
use crate::judge::losses::JudgedRows;
use crate::judge::measure::LossMeasure;
use crate::judge::{OpenModel, judge};
use crate::spec::{Algorithm, Spec};
use crate::{export, learn, package, parity, split};
use bytes::Bytes;
use ortus::observe::quality::measure::Measures;
use ortus::onnx::graph::Graph;
use ortus::onnx::runtime::onnx::OnnxRuntime;
use ortus::onnx::runtime::{Engine, SessionOptions, SessionSource};
use ortus::testing::engine;

/// Of each of three tasks.
const PARITY: usize = 34_000;

/// Numbers with missing ones and categories, seldom ones among them; the target
/// depends on all of them.
fn world(rows: usize, target: impl Fn(f32) -> f32, classes: usize) -> Rows {
    let (mut a, mut b, mut words, mut y) = (Vec::new(), Vec::new(), Coder::default(), Vec::new());
    let dice =
        |row: usize, of: u64| (crate::random::mix(of, row as u64) >> 40) as f32 / (1 << 24) as f32;
    for row in 0..rows {
        let (x, z) = (dice(row, 1) * 20.0 - 10.0, dice(row, 2));
        let word = (dice(row, 3).powi(3) * 400.0) as usize;
        a.push(if dice(row, 4) < 0.1 { f32::NAN } else { x });
        b.push(z * 1e4);
        words.push(
            (dice(row, 5) > 0.05)
                .then(|| format!("kind {word}"))
                .as_deref(),
        );
        y.push(
            (x / 3.0).sin()
                + z
                + if word.is_multiple_of(3) { 1.0 } else { 0.0 }
                + dice(row, 6) * 0.1,
        );
    }

    let target = if classes == 0 {
        RowTarget::Values(y)
    } else {
        let of = y.iter().map(|v| target(*v) as u32).collect();
        RowTarget::Classes {
            of,
            names: (0..classes).map(|c| format!("class {c}")).collect(),
        }
    };

    let columns = vec![
        FrameColumn {
            name: "a".to_owned(),
            values: FrameValues::Numbers(a.into()),
        },
        FrameColumn {
            name: "b".to_owned(),
            values: FrameValues::Numbers(b.into()),
        },
        FrameColumn {
            name: "kind".to_owned(),
            values: FrameValues::Words(words.finish()),
        },
    ];

    let frame = Frame {
        columns,
        rows,
        ..Frame::default()
    };
    let manifest = DataManifest {
        rows,
        ..DataManifest::default()
    };
    Rows {
        frame,
        target,
        time: None,
        group: None,
        weight: None,
        manifest,
        notes: Vec::new(),
        unlabelled: None,
    }
}

/// Learns from rows, and opens the graph.
fn served(engine: &OnnxRuntime, rows: &Rows, spec: &Spec) -> OpenModel {
    let (folds, _) = split::split(spec, rows).expect("splits");
    let model = learn::learn(spec, rows, &folds[0], &mut |_| {}).expect("learns");
    let bytes = Bytes::from(export::export(&model, "", &[]));
    let graph = Graph::read(bytes.clone()).expect("reads");
    let source = SessionSource {
        bytes,
        external_dir: None,
    };
    let session = engine.open(&source, &SessionOptions::single());
    let columns = export::columns(&model.features);
    OpenModel::new(&graph, &columns, session.expect("opens")).expect("a table")
}

/// Learns, exports, and holds the graph against what was learned.
fn prove(engine: &OnnxRuntime, rows: &Rows, spec: &Spec) -> Measures {
    let (folds, _) = split::split(spec, rows).expect("splits");
    let model = learn::learn(spec, rows, &folds[0], &mut |_| {}).expect("learns");
    let bytes = Bytes::from(export::export(
        &model,
        "a test",
        &[("key", "value".to_owned())],
    ));

    let graph = Graph::read(bytes.clone()).expect("reads");
    assert_eq!(
        graph.signature,
        export::signature(&model),
        "it declares what it should"
    );

    let session = engine
        .open(
            &SessionSource {
                bytes,
                external_dir: None,
            },
            &SessionOptions::single(),
        )
        .expect("opens");
    let mut predictor =
        OpenModel::new(&graph, &export::columns(&model.features), session).expect("a table");
    let parity = parity::check(&model, &mut predictor, &rows.frame, PARITY, 11).expect("the same");

    assert_eq!(parity.rows, PARITY);
    let is_class = rows.target.classes().is_some();
    let wrong = LossMeasure::parse(None, is_class, &spec.fit).expect("a measure");
    let test = rows.take(&folds[0].test);
    let measures = judge(&mut predictor, &JudgedRows::of(&test, &spec.fit), wrong)
        .expect("of its kind")
        .measures;
    let (name, least) = if rows.target.classes().is_some() {
        ("accuracy", 0.6)
    } else {
        ("r2", 0.2)
    };

    assert!(
        measures[name] > least,
        "{:?}: {measures:?}",
        spec.fit.algorithm
    );

    assert!(package::predicts_missing_row(&mut predictor, rows).expect("predicted"));
    let otherwise =
        package::batch_dependence(&mut predictor, rows, &folds[0].test).expect("predicted");
    assert_eq!(otherwise, None, "{:?}", spec.fit.algorithm);
    measures
}

#[test]
fn every_exported_graph_predicts_like_the_fitted_model_at_every_threshold() {
    let engine = engine();
    let two = |v: f32| f32::from(u8::from(v > 1.0));
    let three = |v: f32| {
        if v < 0.0 {
            0.0
        } else if v < 1.2 {
            1.0
        } else {
            2.0
        }
    };

    for algorithm in [Algorithm::Trees, Algorithm::Linear, Algorithm::Mlp] {
        let mut spec = Spec::default();
        (
            spec.fit.algorithm,
            spec.trees.rounds_max,
            spec.mlp.epochs_max,
        ) = (algorithm, 60, 20);
        (spec.mlp.hidden, spec.mlp.rate) = (16, 0.01);
        prove(&engine, &world(3_000, two, 0), &spec);
        prove(&engine, &world(3_000, two, 2), &spec);
        prove(&engine, &world(3_000, three, 3), &spec);
    }
}

#[test]
fn a_model_of_many_features_has_one_input_for_all_numbers() {
    let engine = engine();
    let mut rows = world(2_000, |_| 0.0, 0);
    for at in 0..80_u64 {
        let values = (0..2_000)
            .map(|row| (crate::random::mix(at + 100, row) >> 40) as f32)
            .collect();
        rows.frame.columns.insert(
            1,
            FrameColumn {
                name: format!("n{at}"),
                values: FrameValues::Numbers(values),
            },
        );
    }

    let mut spec = Spec::default();
    spec.trees.rounds_max = 40;
    prove(&engine, &rows, &spec);
    spec.fit.algorithm = Algorithm::Linear;
    prove(&engine, &rows, &spec);
}

#[test]
fn a_model_without_splits_predicts_the_same_for_every_row() {
    let engine = engine();
    let mut rows = world(200, |_| 0.0, 0);
    let RowTarget::Values(values) = &mut rows.target else {
        panic!("values")
    };
    values.fill(3.5);
    let spec = Spec::default();
    let (folds, _) = split::split(&spec, &rows).expect("splits");
    let model = learn::learn(&spec, &rows, &folds[0], &mut |_| {}).expect("learns");
    let bytes = Bytes::from(export::export(&model, "", &[]));
    let graph = Graph::read(bytes.clone()).expect("reads");
    let session = engine
        .open(
            &SessionSource {
                bytes,
                external_dir: None,
            },
            &SessionOptions::single(),
        )
        .expect("opens");
    let mut predictor =
        OpenModel::new(&graph, &export::columns(&model.features), session).expect("a table");
    parity::check(&model, &mut predictor, &rows.frame, 1_000, 11).expect("the same");

    assert!((model.answer(&[0.0, 0.0, 0.0])[0] - 3.5).abs() < 1e-6);
}

#[test]
fn the_same_inputs_are_the_same_run() {
    let manifest = |sql: &str| {
        DataManifest {
            sql: sql.to_owned(),
            ..DataManifest::default()
        }
        .digest()
    };

    let spec = Spec::default();
    let one = key(&spec, &[], &manifest("SELECT 1"));
    assert_eq!(key(&spec.clone(), &[], &manifest("SELECT 1")), one);
    assert_ne!(key(&spec, &[], &manifest("SELECT 2")), one);
    let code = Code {
        path: "train.py".to_owned(),
        digest: manifest("SELECT 1"),
    };
    assert_ne!(key(&spec, &[code], &manifest("SELECT 1")), one);
    let mut other = spec.clone();
    other.fit.seed = 8;
    assert_ne!(key(&other, &[], &manifest("SELECT 1")), one);
    other = spec.clone();
    other.fit.threads = 3;
    assert_eq!(
        key(&other, &[], &manifest("SELECT 1")),
        one,
        "threads change nothing"
    );
}

#[test]
fn a_tree_of_one_leaf_is_exported_with_the_others() {
    use crate::fit::trees::{Booster, Tree};
    let engine = engine();
    let rows = world(600, |_| 0.0, 0);
    let spec = Spec::default();
    let (folds, _) = split::split(&spec, &rows).expect("splits");
    let mut model = learn::learn(&spec, &rows, &folds[0], &mut |_| {}).expect("learns");
    let crate::model::Learned::Trees(Booster { base, mut trees }) = model.learned else {
        panic!("trees")
    };
    trees.truncate(3);
    trees.insert(
        1,
        Tree {
            nodes: Vec::new(),
            leaves: vec![0.25],
            leaf_rows: vec![600],
        },
    );

    trees.push(Tree {
        nodes: Vec::new(),
        leaves: vec![-1.5],
        leaf_rows: vec![600],
    });
    model.learned = crate::model::Learned::Trees(Booster { base, trees });
    let bytes = Bytes::from(export::export(&model, "", &[]));
    let graph = Graph::read(bytes.clone()).expect("reads");
    let session = engine
        .open(
            &SessionSource {
                bytes,
                external_dir: None,
            },
            &SessionOptions::single(),
        )
        .expect("opens");
    let mut predictor =
        OpenModel::new(&graph, &export::columns(&model.features), session).expect("a table");
    parity::check(&model, &mut predictor, &rows.frame, 2_000, 11).expect("the same");
}
