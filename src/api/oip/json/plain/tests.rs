//! What is read in one pass is what the general reader reads.

use super::*;
use crate::api::oip::json::decode_header;
use crate::api::oip::shared_memory::Regions;
use crate::core::tensor::json::document::{Json, read_body};
use proptest::prelude::*;

/// Plain headers, with the bytes of their tensors.
const PLAIN: [(&str, usize); 6] = [
    (
        r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}]}"#,
        8,
    ),
    (
        r#"{"id":"a1","parameters":{"binary_data_output":true},"inputs":[{"name":"x","shape":[3],"datatype":"INT8","parameters":{"binary_data_size":3}},{"parameters":{"binary_data_size":8},"name":"y","shape":[1],"datatype":"INT64"}],"outputs":[{"name":"z"},{"name":"w","parameters":{"binary_data":false}}]}"#,
        11,
    ),
    (
        r#" { "inputs" : [ { "name" : "ä b" , "datatype" : "BOOL" , "shape" : [ 0 , 2 ] , "parameters" : { "binary_data_size" : 0 } }, {"name":"u","datatype":"UINT8","shape":[1],"parameters":{"binary_data_size":1}} ] , "outputs" : [ ] } "#,
        1,
    ),
    (
        r#"{"inputs":[{"name":"t","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":6}}],"parameters":{}}"#,
        6,
    ),
    (
        r#"{"inputs":[{"name":"x","datatype":"FP64","shape":[1,1,1],"parameters":{"binary_data_size":8}}],"outputs":[{"name":"y","parameters":{"binary_data":true}}],"id":""}"#,
        8,
    ),
    (
        r#"{"inputs":[{"name":"x","datatype":"FP16","shape":[2],"parameters":{"binary_data_size":4}}]}"#,
        4,
    ),
];

fn tail(length: usize) -> Bytes {
    // As a text, it has two bytes.
    [&[2, 0, 0, 0][..], &vec![65; length.saturating_sub(4)]]
        .concat()
        .split_off(4_usize.saturating_sub(length))
        .into()
}

#[test]
fn plain_headers_are_read_in_one_pass() {
    for (header, length) in PLAIN {
        let read = read(header.as_bytes(), tail(length)).expect(header);
        let header_read = Json::parse(header.as_bytes()).expect("JSON");
        let general = decode_header(header_read, tail(length), &Regions::off()).expect(header);
        assert_eq!(format!("{read:?}"), format!("{general:?}"));
    }
}

#[test]
fn nothing_else_is_read_in_one_pass() {
    let header = PLAIN[0].0;
    for (part, other) in [
        ("[1,2]", "[01,2]"),
        ("[1,2]", "[1.0,2]"),
        ("[1,2]", "[1e0,2]"),
        ("[1,2]", "[+1,2]"),
        ("[1,2]", "[-1,2]"),
        ("[1,2]", "[,1,2]"),
        ("[1,2]", "[1,2,]"),
        ("[1,2]", "[1 2]"),
        ("[1,2]", "[1,2]]"),
        ("[1,2]", "[1,3]"),
        ("[1,2]", "[1,2000000000000000000]"),
        ("[1,2]", "null"),
        ("\"x\"", "\"\""),
        ("\"x\"", "\"\\u0078\""),
        ("\"x\"", "\"\u{1}\""),
        ("\"x\"", "'x'"),
        ("\"x\"", "\"x\",\"name\":\"y\""),
        ("FP32", "FP99"),
        (":8}", ":7}"),
        (":8}", ":9}"),
        (":8}", ":8,\"more\":1}"),
        ("\"inputs\"", "\"Inputs\""),
        ("\"inputs\":", "\"inputs\""),
        ("}]}", "}]} 1"),
        ("}]}", "}],\"inputs\":[]}"),
        ("}]}", "}]"),
    ] {
        let changed = header.replacen(part, other, 1);
        assert_ne!(changed, header, "{part}");
        assert!(read(changed.as_bytes(), tail(8)).is_none(), "{changed}");
    }
    let broken = [&header.as_bytes()[..20], &[0xff], &header.as_bytes()[20..]].concat();
    assert!(header[..20].ends_with("\""), "within the name");
    assert!(read(&broken, tail(8)).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]
    /// Whatever is changed in a header, one pass reads nothing that the general reader would not.
    #[test]
    fn one_pass_reads_what_the_general_reader_reads(
        seed in 0..PLAIN.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..5_usize, any::<u8>()), 0..4),
        more in 0..3_usize,
    ) {
        let (header, length) = PLAIN[seed];
        let mut header = header.as_bytes().to_vec();
        for (at, how, byte) in edits {
            let at = at.index(header.len());
            let marks = b"{}[],:\"\\0123456789tfn eE-+.";
            let mark = marks[usize::from(byte) % marks.len()];
            match how {
                0 => header[at] = byte,
                1 => header[at] = mark,
                2 => header.insert(at, mark),
                3 => drop(header.remove(at)),
                _ => {
                    let part = header[at..(at + usize::from(byte) % 40).min(header.len())].to_vec();
                    header.splice(at..at, part);
                }
            }
        }
        let tail = tail((length + more).saturating_sub(1));
        let Some(read) = read(&header, tail.clone()) else {
            return Ok(());
        };
        let general = read_body(&header, |header| decode_header(header, tail, &Regions::off()));
        prop_assert_eq!(format!("{:?}", read), format!("{:?}", general.expect("read in one pass")));
    }
}
