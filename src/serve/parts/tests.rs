//! Parts whose outputs are joined.

use super::*;
use crate::core::tensor::{DType, Strings};

#[test]
fn outputs_are_joined_in_their_order() {
    let part = |values: &[f32]| Tensor::from_f32(vec![values.len() / 2, 2], values).expect("fits");
    let parts = [part(&[1.0, 2.0]), part(&[]), part(&[3.0, 4.0, 5.0, 6.0])];
    let joined = join(&parts.each_ref()).expect("alike");
    assert_eq!(joined, part(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    assert_eq!(split(&joined, &[1, 0, 2]).expect("fits"), parts);

    let words = |words: &[&str]| {
        let strings = Strings::from_parts(words.iter()).expect("short");
        Tensor::strings(vec![words.len()], strings).expect("fits")
    };
    let joined = join(&[&words(&["a"]), &words(&["", "bc"])]).expect("alike");
    assert_eq!(joined, words(&["a", "", "bc"]));
    assert_eq!(joined.dtype(), DType::String);
}

#[test]
fn outputs_that_differ_in_more_than_their_rows_are_refused() {
    let short = Tensor::from_f32(vec![1, 1], &[1.0]).expect("fits");
    let long = Tensor::from_f32(vec![1, 2], &[1.0, 2.0]).expect("fits");
    let alone = Tensor::from_f32(vec![], &[1.0]).expect("fits");
    for parts in [[&short, &long], [&alone, &alone]] {
        let error = join(&parts).expect_err("not alike");
        assert!(error.message.contains("send fewer rows"), "{error}");
    }
}
