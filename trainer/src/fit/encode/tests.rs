//! Tests of `encode`.

use super::super::super::frame::{Coder, FrameColumn};
use super::*;

#[test]
fn rare_categories_and_missing_values_have_different_codes() {
    let mut coder = Coder::default();
    // As many as are told apart, each twice, and one that is not.
    for word in (0..254).flat_map(|w| [w, w]) {
        coder.push(Some(&format!("w{word}")));
    }
    coder.push(Some("zzz"));
    coder.push(None);
    let column = FrameColumn {
        name: "c".to_owned(),
        values: FrameValues::Words(coder.finish()),
    };
    let frame = Frame {
        columns: vec![column],
        rows: 510,
        ..Frame::default()
    };
    let rows: Vec<u32> = (0..508).collect();
    let features = vec![Feature::learn(&frame, 0, &rows)];
    let scales = scales(&frame);
    let encoded = EncodedRows::of(&frame, &features, &scales);
    let places = |row: usize| encoded.categories(row).collect::<Vec<usize>>();
    assert_eq!((places(508), places(509)), (vec![], vec![254]));
    let terms = terms(&features, &scales, |place| vec![place as f32 + 1.0]);
    let value = |code: u8| {
        let mut sums = [0.0];
        add(&terms, &[f32::from(code)], &mut sums);
        sums[0]
    };

    assert_eq!(
        (value(0), value(253), value(features::OTHER), value(ABSENT)),
        (1.0, 254.0, 0.0, 255.0)
    );
}
