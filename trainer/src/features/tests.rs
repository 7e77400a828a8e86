//! Tests of `features`.

use super::*;
use crate::frame::{Coder, FrameColumn};

#[test]
fn categories_are_the_most_frequent_words_of_the_training_rows() {
    let mut coder = Coder::default();
    for word in ["b", "a", "b", "c", "z"] {
        coder.push(Some(word));
    }
    coder.push(None);
    let column = FrameColumn {
        name: "c".to_owned(),
        values: FrameValues::Words(coder.finish()),
    };
    let frame = Frame {
        columns: vec![column],
        rows: 6,
        ..Frame::default()
    };
    let feature = Feature::learn(&frame, 0, &[0, 1, 2, 3]);
    assert_eq!(
        feature.categories.as_deref(),
        Some(&["b", "a", "c"].map(str::to_owned)[..])
    );
    let FrameValues::Words(words) = &frame.columns[0].values else {
        panic!("words")
    };
    let codes = feature.codes(&words.list);
    let all: Vec<u8> = words.codes.iter().map(|w| code(&codes, *w)).collect();
    assert_eq!(all, [0, 1, 0, 2, OTHER, ABSENT], "'z' was not among them");
}
