//! Tests of `example`.

use super::*;
use ortus::core::tensor::Strings;

fn words(all: &[&str]) -> Tensor {
    let strings = Strings::from_parts(all).expect("text");
    Tensor::strings(vec![1, all.len()], strings).expect("fits")
}

#[test]
fn rows_are_arguments_of_a_shell() {
    let numbers = Tensor::from_f32(vec![1, 3], &[0.1, -3.0, 1e-7]).expect("fits");
    assert_eq!(
        argument("numbers", &numbers),
        "--input numbers:FP32:1,3:0.1,-3,0.0000001"
    );
    let times = 1_767_225_600.5_f64.to_le_bytes().to_vec();
    let times = Tensor::fixed(DType::F64, vec![1, 1], times.into()).expect("fits");
    assert_eq!(argument("ts", &times), "--input ts:FP64:1,1:1767225600.5");

    assert_eq!(
        argument("plan", &words(&["basic"])),
        "--input plan:BYTES:1,1:basic"
    );
    assert_eq!(
        argument("city", &words(&["a, \"b\"", "O'Hare"])),
        r#"--input 'city:BYTES:1,2:"a, ""b""",O'\''Hare'"#
    );
}
