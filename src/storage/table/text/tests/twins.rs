//! The files of people, and their twins in other dialects: each is read to the same typed columns as the
//! plain file.

use super::dialects::{DIALECTS, Dialect, GERMAN, PLAIN, gzip, zip, zip_deflated};
use super::drafts::{DraftTable, ROWS, kinds, whole_draft, word};
use super::*;
use encoding_rs::WINDOWS_1252;

#[test]
fn twins_in_other_dialects_are_read_as_the_plain_file() {
    for (kind, table) in kinds() {
        let plain = read_bytes(PLAIN.write(&table), &TextFormat::default()).expect("reads");
        assert_eq!(plain.scanned.rows, table.rows.len() as u64, "{kind}");
        for (name, dialect) in DIALECTS {
            let twin = read_bytes(dialect.write(&table), &TextFormat::default());
            let twin = twin.unwrap_or_else(|e| panic!("{kind}, {name}: {e}"));
            assert_eq!(twin.columns.len(), plain.columns.len(), "{kind}, {name}");
            for (twin_column, column) in twin.columns.iter().zip(&plain.columns) {
                assert_eq!(twin_column.0, column.0, "{kind}, {name}");
                assert_eq!(
                    twin_column.1,
                    column.1,
                    "{kind}, {name}, {}: {}",
                    column.0,
                    twin.notes()
                );
                let differs = twin_column
                    .2
                    .iter()
                    .zip(&column.2)
                    .position(|(a, b)| a != b);
                assert!(
                    differs.is_none(),
                    "{kind}, {name}, {}: row {differs:?}",
                    column.0
                );
                assert_eq!(twin_column.2.len(), column.2.len(), "{kind}, {name}");
            }
        }
    }
}

#[test]
fn plain_files_have_the_types_that_people_mean() {
    let expected: &[(&str, &str, TextType)] = &[
        ("plain", "x1", TextType::Number),
        ("plain", "y", TextType::Whole),
        ("target missing", "y", TextType::Whole),
        ("target of words that starts empty", "y", TextType::Words),
        ("leading zeros", "zip", TextType::Words),
        ("constant, empty, mixed", "empty", TextType::Missing),
        ("constant, empty, mixed", "mixed", TextType::Whole),
        ("d/m/y", "when", TextType::Time { zoned: false }),
        ("m/d/y", "when", TextType::Time { zoned: false }),
        ("ISO dates", "when", TextType::Time { zoned: true }),
        ("unix seconds", "ts", TextType::Whole),
        ("integers and booleans with missing", "qty", TextType::Whole),
        ("integers and booleans with missing", "ok", TextType::Bool),
        ("large integers", "account", TextType::Whole),
    ];
    let kinds = kinds();
    for (kind, column, of) in expected {
        let (_, table) = kinds.iter().find(|(name, _)| name == kind).expect("a kind");
        let read = read_bytes(PLAIN.write(table), &TextFormat::default()).expect("reads");
        assert_eq!(read.kind(column), *of, "{kind}: {}", read.notes());
    }
}

/// Writes the first column in another way.
fn rewritten(write: impl Fn(i64, i64) -> String) -> DraftTable {
    // Whole parts of one to seven digits, and two decimals.
    let number = |row: usize| (row as i64 * row as i64 * 7 % 9_000_000, (row % 100) as i64);
    DraftTable::base(ROWS).with("x1", |row, _| {
        let (whole, rest) = number(row);
        word(write(whole, rest))
    })
}

fn grouped(whole: i64, mark: &str) -> String {
    match whole {
        1_000_000.. => format!(
            "{}{mark}{:03}{mark}{:03}",
            whole / 1_000_000,
            whole / 1_000 % 1_000,
            whole % 1_000
        ),
        1_000.. => format!("{}{mark}{:03}", whole / 1_000, whole % 1_000),
        _ => whole.to_string(),
    }
}

#[test]
fn marks_and_signs_of_numbers_do_not_change_them() {
    let plain = rewritten(|whole, rest| format!("{whole}.{rest:02}"));
    let plain = read_bytes(PLAIN.write(&plain), &TextFormat::default()).expect("reads");
    assert_eq!(plain.kind("x1"), TextType::Number);
    let check = |name: &str, dialect: Dialect, write: &dyn Fn(i64, i64) -> String| {
        let twin = read_bytes(dialect.write(&rewritten(write)), &TextFormat::default());
        let twin = twin.unwrap_or_else(|e| panic!("{name}: {e}"));
        let differs = twin
            .column("x1")
            .iter()
            .zip(plain.column("x1"))
            .position(|(a, b)| a != b);
        assert_eq!(differs, None, "{name}: {}", twin.notes());
        assert_eq!(twin.column("x2"), plain.column("x2"), "{name}");
    };
    check("thousands", PLAIN, &|w, r| {
        format!("{}.{r:02}", grouped(w, ","))
    });
    check("German", GERMAN, &|w, r| {
        format!("{},{r:02}", grouped(w, "."))
    });
    check("Swiss", PLAIN, &|w, r| {
        format!("{}.{r:02}", grouped(w, "'"))
    });
    check("French", GERMAN, &|w, r| {
        format!("{},{r:02}", grouped(w, "\u{202f}"))
    });
    let old = Dialect {
        encode: |text| WINDOWS_1252.encode(text).0.into_owned(),
        ..GERMAN
    };
    check("French in windows-1252", old, &|w, r| {
        format!("{},{r:02} €", grouped(w, "\u{a0}"))
    });
    check("dollars", PLAIN, &|w, r| {
        format!("$ {}.{r:02}", grouped(w, ","))
    });
    check("euros", GERMAN, &|w, r| {
        format!("{},{r:02} EUR", grouped(w, "."))
    });
    check("percent", PLAIN, &|w, r| format!("{w}.{r:02} %"));
}

#[test]
fn files_that_are_no_table_are_refused() {
    let default = TextFormat::default();
    let base = DraftTable::base(ROWS);
    let mut ragged = String::from_utf8(PLAIN.write(&base)).expect("text");
    let at = ragged.match_indices('\n').nth(1501).expect("a line").0;
    ragged.insert_str(at, ",extra");
    says(
        &refused(ragged.clone(), &default),
        &[
            "rows.csv: line 1502: the row has 4 fields, the header has 3",
            "'extra'",
        ],
    );
    says(&refused(gzip(ragged.as_bytes()), &default), &["line 1502"]);
    says(&refused(String::new(), &default), &["is empty"]);
    let text = PLAIN.write(&base);
    let two = zip(&[("a.csv", &text), ("b.csv", &text)], true);
    says(
        &refused(two, &default),
        &["zip archive of 2 files (a.csv, b.csv)"],
    );
    let workbook = zip(
        &[
            ("[Content_Types].xml", b"<a/>"),
            ("xl/workbook.xml", b"<b/>"),
        ],
        true,
    );
    says(
        &refused(workbook, &default),
        &["workbook of Excel (.xlsx)", "save it as CSV"],
    );
    let mut damaged = zip_deflated(&text);
    let at = damaged
        .windows(4)
        .position(|four| four == b"PK\x01\x02")
        .expect("a directory");
    damaged[at + 16] ^= 1;
    says(&refused(damaged, &default), &["checksum"]);
    let changed = |offset: usize, byte: u8| {
        let mut archive = zip_deflated(&text);
        archive[at + offset] = byte;
        archive
    };
    says(
        &refused(changed(8, 1), &default),
        &["encrypted zip archive"],
    );
    says(
        &refused(changed(10, 12), &default),
        &["packed by the method", "deflate is read"],
    );
    let same = zip(&[("a.csv", &text), ("a.csv", &text)], true);
    says(&refused(same, &default), &["several files of one name"]);
}

#[test]
fn the_dialect_is_shown() {
    let base = DraftTable::base(20);
    let shown = |dialect: Dialect, table: &DraftTable| {
        let read = read_bytes(dialect.write(table), &TextFormat::default()).expect("reads");
        read.scanned.dialect()
    };
    assert_eq!(shown(PLAIN, &base), "commas");
    let named = base.with("größe", |row, _| whole_draft(row));
    let old = Dialect {
        encode: |text| WINDOWS_1252.encode(text).0.into_owned(),
        pack: gzip,
        ..GERMAN
    };
    assert_eq!(
        shown(old, &named),
        "semicolons, decimal comma, windows-1252, gzip"
    );
}
