//! Records against those of the crate `csv`, and the errors.

use super::*;
use proptest::prelude::*;

fn records(text: &str) -> Result<Vec<Vec<String>>> {
    let mut records = CsvRecords::of(text.as_bytes())?;
    let mut all = Vec::new();
    while records.next_record() {
        let mut cells = Vec::new();
        while let Some(cell) = records.next_cell()? {
            cells.push(cell.into_owned());
        }
        all.push(cells);
    }
    Ok(all)
}

/// What the crate `csv` reads.
fn expected(text: &str) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let records = reader.records().map(|record| record.expect("CSV"));
    records
        .map(|record| record.iter().map(str::to_owned).collect())
        .collect()
}

#[test]
fn quotes_lines_and_spaces_are_read_as_written() {
    for (text, cells) in [
        ("a,b\n1,2\n", vec![vec!["a", "b"], vec!["1", "2"]]),
        ("a,b\r\n\r\n1,", vec![vec!["a", "b"], vec!["1", ""]]),
        ("\u{feff}a, b \r1", vec![vec!["a", " b "], vec!["1"]]),
        ("\"a,\n\"\"b\"\"\",2", vec![vec!["a,\n\"b\"", "2"]]),
        ("\"\"\n\"\"\"\"", vec![vec![""], vec!["\""]]),
        ("a\"b,\"c\"d", vec![vec!["a\"b", "cd"]]),
        ("\n\n", vec![]),
        (",,\n", vec![vec!["", "", ""]]),
    ] {
        assert_eq!(records(text).expect(text), cells, "{text:?}");
    }
}

#[test]
fn a_quote_that_is_not_closed_is_refused_with_its_row() {
    for (text, needle) in [
        ("\"a,b\n1,2\n", "in the header is not closed"),
        ("a\n\n1\n\"2\n3\n", "in row 1 is not closed"),
    ] {
        let error = records(text).expect_err(text);
        assert!(error.message.contains(needle), "{text:?}: {error}");
    }
    assert!(CsvRecords::of(b"a\n\xff").is_err());
}

proptest! {
    #[test]
    fn records_are_those_of_the_crate_csv(text in "[a,\"\r\n ]{0,24}") {
        if let Ok(read) = records(&text) {
            prop_assert_eq!(read, expected(&text));
        }
    }
}
