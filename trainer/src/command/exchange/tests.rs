//! Tests of `exchange`.

use super::*;
use crate::frame::{Frame, FrameColumn, SourceColumn};
use ortus::explain::derivation::{Derivation, DerivedValue};

#[test]
fn a_program_gets_numbers_that_fp32_would_merge_as_they_are() {
    let numbers = |name: &str, all: &[f32]| FrameColumn {
        name: name.to_owned(),
        values: FrameValues::Numbers(all.to_vec().into()),
    };
    let shift = Derivation {
        source: "account".to_owned(),
        how: DerivedValue::Minus(490_000_000_001.0),
    };
    let rows = Rows {
        frame: Frame {
            columns: vec![numbers("x", &[1.0, 2.0]), numbers("account", &[0.0, 1.0])],
            rows: 2,
            sources: vec![SourceColumn {
                name: "account".to_owned(),
                values: vec![490_000_000_001.0, 490_000_000_002.0].into(),
            }],
            derived: [("account".to_owned(), shift)].into(),
        },
        target: RowTarget::Values(vec![0.5, 1.5]),
        time: None,
        group: None,
        weight: None,
        manifest: crate::data::DataManifest::default(),
        notes: Vec::new(),
        unlabelled: None,
    };
    let mut spec = Spec::default();
    spec.schema.target = "y".to_owned();
    spec.program.rows = RowFormat::Csv;
    let fold = Fold {
        train: vec![1],
        stop: vec![0],
        test: vec![0],
    };

    let folder = tempfile::tempdir().expect("a folder");
    hand_over(folder.path(), &spec, &rows, &fold).expect("written");
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("a file");
    assert_eq!(read("train.csv"), "x,account,y\n2,490000000002,1.5\n");
    let order: serde_json::Value = serde_json::from_str(&read("spec.json")).expect("JSON");
    let names: Vec<_> = order["features"].as_array().into_iter().flatten().collect();
    assert_eq!(names.len(), 2, "each input once: {names:?}");
    assert_eq!(names[1]["name"], "account");
}
