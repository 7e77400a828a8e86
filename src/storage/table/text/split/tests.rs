//! Tests of `split`.

use super::*;

/// Splits a text that comes in pieces of a length.
fn split(text: &str, piece: usize) -> Vec<(u64, Vec<String>)> {
    let mut splitter = RecordSplitter::new(b',', Some(b'"'));
    let (mut buffer, mut at, mut taken) = (Vec::new(), 0, 0);
    let (mut fields, mut records) = (Vec::new(), Vec::new());
    loop {
        fields.clear();
        let line = splitter.line;
        let is_end = taken == text.len();
        let step = splitter.step(&mut buffer, at, is_end, &mut fields);
        match step.expect("splits") {
            SplitStep::Record(next) => {
                let text = |f: &FieldSpan| String::from_utf8_lossy(f.of(&buffer)).into_owned();
                records.push((line, fields.iter().map(text).collect()));
                at = next;
            }
            SplitStep::Blank(next) => at = next,
            SplitStep::More => {
                let next = text.len().min(taken + piece);
                buffer.extend_from_slice(&text.as_bytes()[taken..next]);
                taken = next;
            }
            SplitStep::End => return records,
        }
    }
}

#[test]
fn pieces_do_not_change_the_records() {
    let text =
        "a,b\r\n\"1\",\"two\r\nlines\"\r\n\r\n , x \n\"say \"\"so\"\"\",\"\"\r3,\r\n\"\"\n4,5";
    let whole = split(text, text.len());
    let expected: Vec<(u64, Vec<&str>)> = vec![
        (1, vec!["a", "b"]),
        (2, vec!["1", "two\r\nlines"]),
        (5, vec!["", "x"]),
        (6, vec!["say \"so\"", ""]),
        (7, vec!["3", ""]),
        (8, vec![""]),
        (9, vec!["4", "5"]),
    ];
    let plain: Vec<(u64, Vec<&str>)> = whole
        .iter()
        .map(|(line, fields)| (*line, fields.iter().map(String::as_str).collect()))
        .collect();
    assert_eq!(plain, expected);
    for piece in 1..text.len() {
        assert_eq!(split(text, piece), whole, "{piece}");
    }
}
