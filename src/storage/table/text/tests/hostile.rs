//! Bytes of any kind: nothing panics, and no row is lost.

use super::*;
use fastrand::Rng;

/// Pieces that mean something to the reader.
const PIECES: [&[u8]; 34] = [
    b",",
    b";",
    b"\t",
    b"|",
    b"\"",
    b"\"\"",
    b"\n",
    b"\r\n",
    b"\r",
    b"1",
    b"-",
    b"0",
    b"1.5",
    b"1,234",
    b"1.234,5",
    b"NA",
    b"true",
    b"2023-01-02",
    b"01/02/2023 10:00",
    b" ",
    b"\xff",
    b"\xc3\xa4",
    b"\xe2\x82\xac",
    b"\x00",
    b"%",
    b"$",
    b"e",
    b"sep=;\n",
    b"PK\x03\x04",
    b"\x1f\x8b\x08",
    b"\x28\xb5\x2f\xfd",
    b"\xff\xfe",
    b"99999999999999999999",
    b"word",
];

#[test]
fn any_bytes_are_read_or_refused() {
    let mut random = Rng::with_seed(7);
    let formats = [
        TextFormat::default(),
        TextFormat {
            ragged: Some("skip".to_owned()),
            quote: Some(String::new()),
            ..TextFormat::default()
        },
        TextFormat {
            ragged: Some("fill".to_owned()),
            decimal: Some(",".to_owned()),
            missing: Some(vec!["1".to_owned()]),
            dates: Some("dmy".to_owned()),
            zone: Some("-03:30".to_owned()),
            leading_zeros: Some("numbers".to_owned()),
            ..TextFormat::default()
        },
    ];
    let mut read = 0;
    for round in 0..6_000 {
        let mut bytes = Vec::new();
        for _ in 0..random.usize(..60) {
            bytes.extend_from_slice(PIECES[random.usize(..PIECES.len())]);
        }
        // `read_bytes` checks that rows and missing values are the same in both passes.
        let format = &formats[round % formats.len()];
        read += usize::from(read_bytes(bytes, format).is_ok());
    }
    assert!(read > 1_000, "{read} were read");
}

#[test]
fn compressed_bytes_that_are_damaged_are_refused() {
    let mut random = Rng::with_seed(8);
    let text = "a,b,c\n1,2.5,word\n3,4.5,other\n".repeat(200);
    for packing in [dialects::gzip, dialects::zstd, dialects::zip_deflated] {
        let whole = packing(text.as_bytes());
        for _ in 0..300 {
            let mut bytes = whole.clone();
            let at = random.usize(..bytes.len());
            bytes[at] ^= 1 << random.u8(..8);
            bytes.truncate(random.usize(bytes.len() / 2..=bytes.len()));
            let _ = read_bytes(bytes, &TextFormat::default());
        }
    }
}

#[test]
fn any_table_is_read_as_it_was_written() {
    let mut random = Rng::with_seed(9);
    for round in 0..300 {
        let (width, rows) = (1 + random.usize(..6), random.usize(..40));
        let delimiter = [",", ";", "\t", "|"][round % 4];
        let mut cell = || {
            let pieces = ["a", "b c", "\"", ",", ";", "\t|", "\n", "ü", "7"];
            let mut text: String = (0..1 + random.usize(..4))
                .map(|_| pieces[random.usize(..9)])
                .collect();
            // Neither a number nor blanks at an end.
            text.insert(0, 'w');
            text.push('w');
            text
        };
        let table: Vec<Vec<String>> = (0..rows)
            .map(|_| (0..width).map(|_| cell()).collect())
            .collect();
        let mut text: String = (0..width)
            .map(|at| format!("c{at}"))
            .collect::<Vec<_>>()
            .join(delimiter);
        for row in &table {
            let quoted: Vec<String> = row
                .iter()
                .map(|c| format!("\"{}\"", c.replace('"', "\"\"")))
                .collect();
            text += &format!("\n{}", quoted.join(delimiter));
        }
        let read = read_set(&text, |f| f.delimiter = Some(delimiter.to_owned()));
        assert_eq!(read.scanned.rows, rows as u64);
        for at in 0..width {
            let expected: Vec<&str> = table.iter().map(|row| row[at].as_str()).collect();
            assert_eq!(read.column(&format!("c{at}")), words(&expected));
        }
    }
}

#[test]
fn records_that_cross_blocks_are_whole() {
    // Each row is longer than what is read at once, and ends with a quote or a line break there.
    let long = "x\"\"y\n".repeat(70_000);
    let text: String = (0..8)
        .map(|row| format!("{row},\"{long}\",\"{row}\"\r\n"))
        .collect();
    let read = read_text(&format!("a,b,c\n{text}"));
    assert_eq!(read.column("a"), whole(&[0, 1, 2, 3, 4, 5, 6, 7]));
    assert_eq!(read.column("a"), read.column("c"));
    let Value::Word(word) = &read.column("b")[7] else {
        panic!("a word")
    };
    assert_eq!(*word, "x\"y\n".repeat(70_000));
}
