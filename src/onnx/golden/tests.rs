//! Golden files round-trip exactly, unknown members are refused, and a session with
//! other answers is found.

use super::*;
use crate::core::model::{Dim, TensorSpec};
use proptest::prelude::*;

fn spec(name: &str, dtype: DType) -> TensorSpec {
    TensorSpec {
        name: name.to_owned(),
        dtype,
        shape: Some(vec![Dim::Dynamic]),
    }
}

fn floats(values: &[f32]) -> Tensor {
    Tensor::from_f32(vec![values.len()], values).expect("fits")
}

/// Answers `x` times `factor`.
struct Times(f32);

impl Session for Times {
    fn run(&mut self, inputs: &[View<'_>]) -> Result<Vec<Tensor>> {
        let crate::core::tensor::ViewData::Fixed(bytes) = inputs[0].data else {
            panic!("numbers")
        };
        let values = bytes
            .as_chunks()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b) * self.0)
            .collect::<Vec<_>>();
        Ok(vec![floats(&values)])
    }
    fn provider(&self) -> &'static str {
        "cpu"
    }
}

#[test]
fn a_session_with_other_answers_is_found() {
    let signature = Signature {
        inputs: vec![spec("x", DType::F32)],
        outputs: vec![spec("y", DType::F32)],
        ..Signature::default()
    };

    let made = Golden::made(
        &signature,
        vec![floats(&[1.0, 2.0])],
        vec![floats(&[2.0, 4.0])],
    )
    .expect("small");

    let said = |golden: &Golden, factor| {
        golden
            .check(&signature, &mut Times(factor), 9)
            .map_err(|e| e.message)
    };

    assert_eq!((said(&made, 2.0), said(&made, 2.000_01)), (Ok(()), Ok(())));
    let refused = said(&made, 2.1).expect_err("another answer");
    assert!(
        refused.contains("golden case 0 failed: output 'y' is 2.1")
            && refused.contains("element 0"),
        "{refused}"
    );
    // A tolerance in the file overrides the datatype's.
    let file = |tolerance: &str, output: &str| {
        let text = format!(
            r#"{{"format":1,{tolerance}"cases":[
                {{"inputs":[{{"name":"x","datatype":"FP32","shape":[2],"data":[1,2]}}],
                  "outputs":[{{"name":"{output}","datatype":"FP32","shape":[2],"data":[2,4]}}]}}]}}"#
        );
        Golden::read(text.as_bytes()).expect("a golden file")
    };

    assert_eq!(
        said(&file(r#""tolerance":{"absolute":0.5},"#, "y"), 2.1),
        Ok(())
    );
    assert!(said(&file(r#""tolerance":{"relative":1e-9},"#, "y"), 2.000_01).is_err());
    assert!(said(&file("", "z"), 2.0).is_err_and(|e| e.contains("output 'z' is unknown")));
    let large = floats(&vec![0.0; MADE_BYTES_MAX / 4]);
    assert_eq!(
        Golden::made(&signature, vec![large.clone()], vec![large]),
        None
    );
}

#[test]
fn a_malformed_golden_file_is_refused() {
    let check = |text: &str, part: &str| {
        let error = Golden::read(text.as_bytes()).expect_err("must be refused");
        assert!(
            error.message.contains(part),
            "{error} does not say {part:?}"
        );
    };

    let tensor = r#"{"name":"x","datatype":"FP32","shape":[1],"data":[1]}"#;
    check("nonsense", "not valid JSON");
    check("{}", "has no format");
    check(
        r#"{"format":2,"of":"another kind"}"#,
        "format 2, but this ortus reads format 1",
    );
    check(r#"{"format":1}"#, "has no cases");
    check(r#"{"format":1,"cases":[]}"#, "1 to 1000 cases");
    check(r#"{"format":1,"cases":[{}]}"#, "no inputs");
    check(
        &format!(r#"{{"format":1,"cases":[{{"inputs":[{tensor}]}}]}}"#),
        "no outputs",
    );
    check(
        &format!(r#"{{"format":1,"cases":[{{"inputs":[{tensor}],"outputs":[]}}]}}"#),
        "no outputs",
    );
    check(r#"{"format":1,"caes":[]}"#, "unknown member 'caes'");
    check(
        r#"{"format":1,"tolerance":{"relative":-1},"cases":[]}"#,
        "does not hold",
    );
    let of = |tensor: &str| {
        format!(r#"{{"format":1,"cases":[{{"inputs":[{tensor}],"outputs":[{tensor}]}}]}}"#)
    };
    check(
        &of(r#"{"name":"x","datatype":"FP32","shape":[2],"data":[1]}"#),
        "tensor 'x': 1 elements do not fill",
    );
    check(
        &of(r#"{"name":"x","datatype":"FP31","shape":[1],"data":[1]}"#),
        "'FP31' is unknown",
    );
    check(
        &of(r#"{"name":"x","datatype":"FP16","shape":[1],"data":[1]}"#),
        "no JSON form",
    );
    check(
        &of(r#"{"name":"x","datatype":"FP32","shape":[1]}"#),
        "exactly one of data and raw",
    );
    check(
        &of(r#"{"name":"x","datatype":"FP32","shape":[1],"raw":"?"}"#),
        "not base64",
    );
    let negative = format!(
        r#"{{"format":1,"tolerance":{{"relative":-1}},"cases":[{{"inputs":[{tensor}],"outputs":[{tensor}]}}]}}"#
    );
    check(&negative, "tolerance.relative");
    Golden::read(of(tensor).as_bytes()).expect("this one holds");
}

proptest! {
    #[test]
    fn a_written_file_reads_back_bit_for_bit(bits in prop::collection::vec(any::<u64>(), 1..8), which in 0..DType::ALL.len()) {
        let dtype = DType::ALL[which];
        let tensor = match dtype.element_bytes() {
            None => {
                let texts: Vec<String> = bits.iter().map(|b| format!("\u{e9} \"{b}\\")).collect();
                let strings = crate::core::tensor::Strings::from_parts(&texts).expect("text");
                Tensor::strings(vec![bits.len()], strings)
            }
            Some(width) => {
                let bytes = bits.iter().flat_map(|b| b.to_le_bytes().into_iter().take(width));
                let bytes: Vec<u8> = if dtype == DType::Bool { bytes.map(|b| b % 2).collect() } else { bytes.collect() };
                Tensor::fixed(dtype, vec![bits.len()], bytes.into())
            }
        }.expect("fits");

        let signature = Signature { inputs: vec![spec("x", dtype)], outputs: vec![spec("y", dtype)], ..Signature::default() };
        let made = Golden::made(&signature, vec![tensor.clone()], vec![tensor]).expect("small");
        // NaN is not equal to itself, so bytes are compared.
        prop_assert_eq!(Golden::read(&made.write()).expect("reads back").write(), made.write());
    }
}
