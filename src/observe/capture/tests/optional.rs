//! Optional inputs in captured files: given, left out, hashed, dropped, and not listed.

use super::*;
use crate::core::model::optional::{OptionalInput, OptionalTensor};

/// Takes x, and optionally k, a vector, s, a text, and w, which metadata does not list.
fn scaled() -> Arc<WatchSubject> {
    let optional = |name: &str, dtype, dims: &[i64]| OptionalInput {
        spec: spec(name, dtype, dims),
        is_listed: name != "w",
    };
    let plain = subject(
        vec![spec("x", DType::F32, &[-1, 2])],
        vec![spec("y", DType::F32, &[-1, 2])],
    );
    let signature = Signature {
        optional: vec![
            optional("k", DType::F32, &[-1]),
            optional("s", DType::String, &[]),
            optional("w", DType::F32, &[1]),
        ],
        ..plain.signature.clone()
    };
    Arc::new(WatchSubject {
        signature,
        features: Vec::new(),
        baseline: None,
        task: None,
        slices: Vec::new(),
        rules: Default::default(),
        model: plain.model.clone(),
        ..*plain
    })
}

/// Inputs of two rows with these optional ones.
fn with(optional: &[(&str, Tensor)]) -> CheckedInputs {
    let given = |(name, tensor): &(&str, Tensor)| OptionalTensor {
        name: (*name).to_owned(),
        tensor: tensor.clone(),
    };
    let x = Tensor::from_f32(vec![2, 2], &[1.0, 2.0, 3.0, 4.0]).expect("fits");
    CheckedInputs {
        required: vec![x],
        optional: optional.iter().map(given).collect(),
    }
}

fn floats(values: &[f32]) -> Tensor {
    Tensor::from_f32(vec![values.len()], values).expect("fits")
}

/// Captures requests, and returns the file with what the metrics say.
fn captured(settings: CaptureSettings, requests: &[CheckedInputs]) -> (Captured, String) {
    let written = Written::default();
    let (capture, metrics) = start(settings, &written);
    let subject = scaled();
    for inputs in requests {
        show_checked(&capture, &subject, inputs, &inputs.required);
    }
    capture.lock().finish();
    (read(&written).remove(0), text(&metrics))
}

/// The inputs of a request, as text.
fn inputs(file: &Captured, at: usize) -> Result<String> {
    let request = &file.requests().expect("requests")[at];
    let inputs = file.inputs(request)?;
    let shown = inputs
        .iter()
        .map(|(name, tensor)| format!("{name}{:?}{:?}", tensor.shape(), tensor.to_raw()));
    Ok(shown.collect::<Vec<_>>().join(" "))
}

#[test]
fn optional_inputs_come_back_as_they_were_given_or_left_out() {
    let requests = [
        with(&[]),
        with(&[("k", floats(&[5.0, 6.0]))]),
        with(&[("k", floats(&[])), ("s", words(&[], [""]))]),
        with(&[("s", words(&[], ["low"]))]),
    ];
    let (file, _) = captured(settings(), &requests);
    for (at, request) in requests.iter().enumerate() {
        let mut wanted = vec![("x", &request.required[0])];
        let optional = request.optional.iter();
        wanted.extend(optional.map(|given| (given.name.as_str(), &given.tensor)));
        let wanted: Vec<String> = wanted
            .iter()
            .map(|(name, tensor)| format!("{name}{:?}{:?}", tensor.shape(), tensor.to_raw()))
            .collect();
        assert_eq!(inputs(&file, at).expect("whole"), wanted.join(" "));
    }
}

#[test]
fn hashed_and_dropped_optional_inputs_are_left_out_or_refused() {
    let requests = [with(&[]), with(&[("k", floats(&[5.0]))])];
    let hashed = CaptureSettings {
        hash: vec!["k".to_owned()],
        ..settings()
    };
    let (file, _) = captured(hashed, &requests);
    assert!(inputs(&file, 0).is_ok());
    let error = inputs(&file, 1).expect_err("hashed");
    assert!(error.message.contains("'k' was hashed"), "{error}");

    let dropped = CaptureSettings {
        drop: vec!["k".to_owned()],
        ..settings()
    };
    let (file, _) = captured(dropped, &requests);
    let error = inputs(&file, 1).expect_err("dropped");
    assert!(error.message.contains("'k' was dropped"), "{error}");
}

#[test]
fn a_request_with_an_input_that_has_no_column_is_not_captured() {
    let requests = [with(&[("w", floats(&[5.0]))]), with(&[])];
    let (file, metrics) = captured(settings(), &requests);
    assert_eq!(file.requests().expect("requests").len(), 1);
    assert!(
        metrics.contains(r#"ortus_capture_dropped_total{reason="refused"} 1"#),
        "{metrics}"
    );
}
