//! Tests of rules that drop or hash columns.

use super::*;
use crate::observe::capture::sheet::{ColumnForm, Keep};

#[test]
fn dropped_columns_are_nowhere_in_the_file_and_hashed_ones_only_as_hashes() {
    let subject = subject(
        vec![
            spec("name", DType::String, &[-1]),
            spec("ssn", DType::String, &[-1]),
            spec("x", DType::F32, &[-1, 2]),
        ],
        vec![spec("y", DType::F32, &[-1])],
    );

    let words = |w: &str| words(&[1], [w]);
    let x = Tensor::from_f32(vec![1, 2], &[1.0, 2.0]).expect("fits");
    let y = Tensor::from_f32(vec![1], &[3.0]).expect("fits");
    let settings = CaptureSettings {
        drop: vec!["m/ssn".to_owned(), "x[1]".to_owned()],
        hash: vec!["name".to_owned()],
        ..settings()
    };

    let written = Written::default();
    let (capture, _) = start(settings, &written);
    show(
        &capture,
        &subject,
        &[words("Ada Byron"), words("123-45-6789"), x],
        std::slice::from_ref(&y),
    );

    capture.lock().finish();
    let bytes = written.files.lock()[0].1.clone();
    let has = |text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(!has("123-45-6789") && !has("Ada") && !has("Byron"));
    let file = read(&written).remove(0);
    assert_eq!(file.table.column("name").map(|c| c.word(0).len()), Some(32));
    assert!(file.table.column("ssn").is_none() && file.table.column("x[1]").is_none());
    assert_eq!(file.table.column("x[0]"), Some(&Column::F32(vec![1.0])));
    let request = file.requests().expect("requests").remove(0);
    let refused = file.inputs(&request).expect_err("cannot be sent again");
    assert!(refused.message.contains("'name' was hashed"), "{refused}");
    assert_eq!(
        file.outputs(&request).expect("whole"),
        [("y".to_owned(), y)]
    );
}

#[test]
fn rules_for_one_model_do_not_apply_to_another_with_the_same_bytes() {
    let of = |model: &str| {
        let one = subject(
            vec![spec("ssn", DType::String, &[-1])],
            vec![spec("y", DType::F32, &[-1])],
        );
        Arc::new(WatchSubject {
            model: ModelName::parse(model).expect("legal"),
            ..one.as_ref().clone()
        })
    };

    let word = words(&[1], ["123-45"]);
    let y = Tensor::from_f32(vec![1], &[3.0]).expect("fits");
    let settings = CaptureSettings {
        drop: vec!["patients/ssn".to_owned()],
        ..settings()
    };
    let written = Written::default();
    let (capture, _) = start(settings, &written);
    for model in ["demo", "patients"] {
        show(
            &capture,
            &of(model),
            std::slice::from_ref(&word),
            std::slice::from_ref(&y),
        );
    }

    capture.lock().finish();
    for file in read(&written) {
        assert_eq!(
            file.table.column("ssn").is_some(),
            file.head.model == "demo",
            "{}",
            file.head.model
        );
    }

    assert_eq!(read(&written).len(), 2);
}

#[test]
fn a_rule_for_one_column_of_a_tensor_stored_whole_drops_the_tensor() {
    // Its first axis is fixed: there are no rows to tell apart.
    let one = subject(
        vec![spec("x", DType::F32, &[1, 2])],
        vec![spec("y", DType::F32, &[1])],
    );

    let one = Arc::new(WatchSubject {
        features: vec!["age".to_owned(), "ssn".to_owned()],
        ..one.as_ref().clone()
    });
    let settings = CaptureSettings {
        drop: vec!["m/ssn".to_owned()],
        ..settings()
    };
    let sheet = Sheet::new(&one, &settings).expect("the model has it");
    let ColumnForm::Whole(kept) = &sheet.tensors[0].form else {
        panic!("whole")
    };
    assert_eq!(kept.keep, Keep::Nothing);
    let kept = Sheet::new(&one, &CaptureSettings::default()).expect("fits");
    assert!(matches!(&kept.tensors[0].form, ColumnForm::Whole(k) if k.keep == Keep::Value));
}

#[test]
fn a_rule_that_names_no_column_of_its_model_stops_the_capture_of_that_model() {
    let subject = subject(
        vec![spec("x", DType::F32, &[-1])],
        vec![spec("y", DType::F32, &[-1])],
    );
    let x = Tensor::from_f32(vec![1], &[1.0]).expect("fits");
    let settings = CaptureSettings {
        drop: vec!["m/z".to_owned(), "other/x".to_owned()],
        ..settings()
    };
    let written = Written::default();
    let (capture, metrics) = start(settings, &written);
    show(
        &capture,
        &subject,
        std::slice::from_ref(&x),
        std::slice::from_ref(&x),
    );

    capture.lock().finish();
    assert!(written.files.lock().is_empty());
    assert!(text(&metrics).contains("ortus_capture_dropped_total{reason=\"refused\"} 1"));
}
