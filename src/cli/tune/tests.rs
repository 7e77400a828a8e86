//! Tests of what `ortus tune` finds and prints.

use super::*;

fn point(lanes: usize, rows: usize, rows_per_second: f64) -> TunePoint {
    TunePoint {
        threads: LaneThreads {
            lanes,
            intra_op_threads: 2 / lanes,
        },
        rows,
        runs: 9,
        rows_per_second,
        p50_seconds: 0.010,
        p95_seconds: 0.0125,
    }
}

#[test]
fn the_model_file_of_a_folder_is_that_of_its_highest_version() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = folder.path().join("house/prices");
    for version in ["2", "10", "draft"] {
        std::fs::create_dir_all(model.join(version)).expect("a folder");
        std::fs::write(model.join(version).join("model.onnx"), version).expect("written");
    }
    std::fs::create_dir(model.join("11")).expect("a folder without a file");
    let found =
        |path: &Path| model_file(path).map(|file| std::fs::read_to_string(file).expect("read"));
    assert_eq!(found(&model).expect("the highest"), "10");
    assert_eq!(found(&model.join("2")).expect("this one"), "2");
    assert_eq!(found(&model.join("2/model.onnx")).expect("this one"), "2");
    assert!(
        found(&model.join("11"))
            .expect_err("none")
            .message
            .contains("give a model file")
    );
    assert!(found(&folder.path().join("none")).is_err());

    let named = |path: &str| model_name(&model.join(path)).as_str().to_owned();
    assert_eq!(named("2/model.onnx"), "prices");
    assert_eq!(named("draft/model.onnx"), "draft");
    std::fs::write(model.join("net.onnx"), "").expect("written");
    assert_eq!(named("net.onnx"), "net");
}

#[test]
fn what_is_printed_says_what_was_chosen_and_can_be_pasted() {
    let points = [point(2, 8, 100.0), point(1, 4, 150.0)];
    let choice = |slo: Option<u64>| {
        let default = LaneThreads {
            lanes: 2,
            intra_op_threads: 1,
        };
        tuning::choose(&points, default, slo.map(Duration::from_millis)).expect("a point")
    };
    let name = ModelName::parse("net").expect("legal");
    let pasted = settings(&name, &choice(None));
    assert_eq!(pasted, "[model.net]\nlanes = 1\nintra_op_threads = 2\n");
    // No batch was late, so that no limit is needed.
    let pasted = settings(&name, &choice(Some(30)));
    assert_eq!(pasted, "[model.net]\nlanes = 1\nintra_op_threads = 2\n");
    let pasted: toml::Table = toml::from_str(&settings(&name, &choice(Some(9)))).expect("TOML");
    let limit = &pasted["model"]["net"]["batch_rows_max"];
    assert!(limit.as_integer().is_some());
    assert!(said(&choice(None), None).starts_with("* 1.50 × the rows"));

    let slo = Some(Duration::from_millis(9));
    let text = said(&choice(Some(9)), slo);
    assert!(
        text.starts_with("No setting answers within 9ms") && text.contains("25.0 ms, with"),
        "{text}"
    );
    assert_eq!(
        [0.12345, 1.2345, 12.345, 1234.5].map(figures),
        ["0.123", "1.23", "12.3", "1234"]
    );
    assert_eq!(toml_key("a.b"), "\"a.b\"");
}
