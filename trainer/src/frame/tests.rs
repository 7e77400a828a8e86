//! Tests of `frame`.

use super::*;

#[test]
fn words_become_codes_and_a_missing_word_stays_missing() {
    let mut coder = Coder::default();
    [Some("a"), None, Some("b"), Some("a"), Some("")]
        .into_iter()
        .for_each(|w| coder.push(w));
    let words = coder.finish();
    assert_eq!(words.codes[..], [0, MISSING, 1, 0, MISSING]);
    let column = FrameColumn {
        name: "c".to_owned(),
        values: FrameValues::Words(words),
    };
    let frame = Frame {
        columns: vec![column],
        rows: 5,
        ..Frame::default()
    };
    let FrameValues::Words(taken) = &frame.take(&[2, 4]).columns[0].values else {
        panic!("words")
    };
    assert_eq!((taken.get(0), taken.get(1)), (Some("b"), None));
}
