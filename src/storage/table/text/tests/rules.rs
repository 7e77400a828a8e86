//! The rules of files: records, headers, settings and limits.

use super::*;

#[test]
fn records_follow_rfc_4180() {
    let read =
        read_text("a,b\r\n\"line one\nline \"\"two\"\", with comma\",1\r\n\r\n  \n\"\",2\r\n");
    assert_eq!(
        read.column("a"),
        words(&["line one\nline \"two\", with comma", ""])
    );
    assert_eq!(read.column("b"), whole(&[1, 2]));
    assert_eq!(read_text("a,b\r1,2\r3,4").column("b"), whole(&[2, 4]));
    assert_eq!(
        read_text("a, b\n 1, \"x, y\" \n").column("b"),
        words(&["x, y"])
    );
    // A quote within a field means nothing.
    assert_eq!(
        read_text("a,b\n5\" pipe,1\n").column("a"),
        words(&["5\" pipe"])
    );
    assert_eq!(
        read_set("a\tb\n\"open\t1\n", |f| f.quote = Some(String::new())).column("a"),
        words(&["\"open"])
    );
    let default = TextFormat::default();
    says(
        &refused("a,b\n1,2\n3,\"open\n4,5\n", &default),
        &[
            "rows.csv: line 3: a quoted field is not closed, after 'open 4,5",
            "quote = \"\"",
        ],
    );
    says(
        &refused("a,b\n\"x\"y,1\n", &default),
        &["line 2: text follows the closing quote of 'x'"],
    );
}

#[test]
fn ragged_rows_are_refused_skipped_or_filled() {
    let text = "a,b,c\n1,2,3\n4,5\n\"6\n\",7,8,9\n10,11,12\n";
    let with = |ragged: &str| TextFormat {
        ragged: Some(ragged.to_owned()),
        ..TextFormat::default()
    };
    says(
        &refused(text, &TextFormat::default()),
        &[
            "rows.csv: line 3: the row has 2 fields, the header has 3",
            "last field is '5'",
            "ragged = \"skip\"",
            "\"fill\"",
        ],
    );
    let read = read_bytes(text, &with("skip")).expect("reads");
    assert_eq!(read.column("a"), whole(&[1, 10]));
    says(&read.notes(), &["2 rows were skipped"]);
    // A long row has values without a column.
    says(
        &refused(text, &with("fill")),
        &["line 4: the row has 4 fields"],
    );
    let read = read_bytes("a,b,c\n1,2,3\n4,5\n", &with("fill")).expect("reads");
    assert_eq!(read.column("c"), [Value::Whole(3), Value::Missing]);
    says(&read.notes(), &["1 row was filled"]);
}

#[test]
fn headers_are_named_trimmed_and_left_out_when_repeated() {
    let read = read_text(" a ,,b\n1,2,3\n a,,b\n4,5,6\n");
    assert_eq!(read.column("a"), whole(&[1, 4]));
    assert_eq!(read.column("column_2"), whole(&[2, 5]));
    says(
        &read.notes(),
        &[
            "1 row was left out: the header again",
            "column_2: it has no name in the file",
        ],
    );

    let read = read_text("x1,x1 ,y\n1,2,3\n");
    assert_eq!(
        (read.column("x1"), read.column("x1 ")),
        (&whole(&[1])[..], &whole(&[2])[..])
    );
    says(&read.notes(), &["the blanks of its name stay"]);
    let default = TextFormat::default();
    says(
        &refused("a,b,a\n1,2,3\n", &default),
        &["columns 1 and 3 are both named 'a'"],
    );
    says(&refused("", &default), &["rows.csv: is empty"]);
    says(&refused("\n\r\n", &default), &["is empty"]);
    assert_eq!(read_text("x1,x2,y\n").scanned.rows, 0);
}

#[test]
fn the_index_of_pandas_is_left_out() {
    for name in ["", "Unnamed: 0"] {
        let read = read_text(&format!("{name},x\n0,5\n1,6\n2,7\n"));
        assert_eq!(read.columns.len(), 1);
        says(
            &read.notes(),
            &["the first column has no name and counts the rows"],
        );
    }
    assert_eq!(
        read_text(",x\n1,5\n2,6\n").column("column_1"),
        whole(&[1, 2])
    );
    assert_eq!(read_text("n,x\n0,5\n1,6\n").column("n"), whole(&[0, 1]));
    // Excel leaves empty columns behind.
    let read = read_text("a,\n1,\n2,\n");
    assert_eq!(read.columns.len(), 1);
    says(&read.notes(), &["column 2 has neither a name nor a value"]);
}

#[test]
fn files_of_one_source_are_one_table() {
    let source = |name: &str, text: &str| TextSource::memory(name, text.to_owned());
    let default = TextFormat::default();
    let two = [
        source("1.csv", "a,b\n1,x\n2,y\n"),
        source("2.csv", "b;a\nz;2,5\n"),
    ];
    let read = read_sources(&two, &default).expect("reads");
    assert_eq!(read.column("a"), number(&[1.0, 2.0, 2.5]));
    assert_eq!(read.column("b"), words(&["x", "y", "z"]));
    assert_eq!(
        read.scanned.dialect(),
        "commas, decimal comma; semicolons, decimal comma"
    );

    let differ = [source("1.csv", "a,b\n1,2\n"), source("2.csv", "a,c\n1,2\n")];
    let error = read_sources(&differ, &default).expect_err("differ").message;
    says(
        &error,
        &["1.csv and 2.csv differ: only the first has the column 'b'"],
    );
    let more = [
        source("1.csv", "a,b\n1,2\n"),
        source("2.csv", "a,b,c\n1,2,3\n"),
    ];
    let error = read_sources(&more, &default).expect_err("differ").message;
    says(&error, &["only the second has the column 'c'"]);
}

#[test]
fn other_files_are_refused_with_a_way_out() {
    let default = TextFormat::default();
    let check = |bytes: &[u8], parts: &[&str]| says(&refused(bytes.to_vec(), &default), parts);
    check(
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 and more",
        &["workbook of Excel (.xls)", "save it as CSV, or Parquet"],
    );
    check(b"PAR1....PAR1", &["is a Parquet file"]);
    check(b"BZh91AY", &["bzip2"]);
    check(b"\xfd7zXZ\x00\x00\x04", &["compressed with xz"]);
    check(
        b"a\x00\x00\x00b\x00\x00\x00,\x00,\x00\n\x00\x00\x00\x00\x00",
        &["is no text: it holds zero bytes"],
    );
    check(b"\x1f\x8b\x08\x00rubbish", &["cannot be read"]);
    check(b"PK\x03\x04rubbish", &["damaged zip archive"]);
    // UTF-8, and then not.
    check(
        "name\nM\u{fc}ller\n"
            .as_bytes()
            .iter()
            .copied()
            .chain(*b"M\xfcller\n")
            .collect::<Vec<_>>()
            .as_slice(),
        &[
            "is UTF-8 at first, but not after",
            "encoding = \"windows-1252\"",
        ],
    );
    let utf8 = TextFormat {
        encoding: Some("utf-8".to_owned()),
        ..TextFormat::default()
    };
    says(
        &refused(b"name\nM\xfcller\n".to_vec(), &utf8),
        &["is not UTF-8"],
    );
}

#[test]
fn settings_are_checked() {
    let check = |text: &str, part: &str| {
        let format: std::result::Result<TextFormat, _> = toml::from_str(text);
        let error = match format {
            Ok(format) => format.check().expect_err("must be refused").message,
            Err(error) => error.to_string(),
        };
        says(&error, &[part]);
    };
    check(
        "delimiter = \"ab\"",
        "'delimiter' is \"ab\"; it must be one character",
    );
    check("delimiter = \"\\\"\"", "'quote' is the same as 'delimiter'");
    check(
        "decimal = \"x\"",
        "'decimal' is \"x\"; it must be \".\" or \",\"",
    );
    check(
        "decimal = \",\"\nthousands = \",\"",
        "'thousands' is the same as 'decimal'",
    );
    check("encoding = \"nope\"", "'encoding' is \"nope\"");
    check(
        "ragged = \"maybe\"",
        "'ragged' is \"maybe\"; it must be \"error\", \"skip\" or \"fill\"",
    );
    check("dates = \"d/m\"", "'dates' is \"d/m\"");
    check("leading_zeros = \"no\"", "'leading_zeros' is \"no\"");
    check("seperator = \";\"", "unknown field");
    let all = TextFormat {
        delimiter: Some("tab".to_owned()),
        thousands: Some(" ".to_owned()),
        ..TextFormat::default()
    };
    assert!(all.check().is_ok());
    assert_eq!(toml::to_string(&TextFormat::default()).as_deref(), Ok(""));
}

#[test]
fn a_table_that_is_too_large_is_refused_while_it_is_scanned() {
    let check = |rows: u64, columns: usize| match rows as usize * columns > 4 {
        true => Err(Error::too_large("too many")),
        false => Ok(()),
    };
    let source = |text: &str| TextSource::memory("rows.csv", text.to_owned());
    let default = TextFormat::default();
    assert!(scan(&[source("a,b\n1,2\n3,4\n")], &default, &check).is_ok());
    let error = scan(&[source("a,b\n1,2\n3,4\n5,6\n")], &default, &check).expect_err("too large");
    assert_eq!(error.message, "rows.csv: too many");
}

#[test]
fn columns_are_read_by_choice() {
    let source = TextSource::memory("rows.csv", "a,b,c\n1,x,2\n3,y,4\n");
    let scanned = scan(&[source], &TextFormat::default(), &|_, _| Ok(())).expect("reads");
    let mut reader = TextReader::new(Arc::new(scanned), vec![2], 1);
    let first = reader.next_batch().expect("reads").expect("a row");
    assert_eq!((first.rows, first.columns.len()), (1, 1));
    assert_eq!(first.columns[0].values, TextValues::Whole(vec![2]));
    let second = reader.next_batch().expect("reads").expect("a row");
    assert_eq!(second.columns[0].values, TextValues::Whole(vec![4]));
    assert_eq!(reader.next_batch().expect("reads"), None);
}

#[test]
fn a_file_that_changes_between_the_passes_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rows.csv");
    std::fs::write(&path, "a\n1\n2\n").expect("written");
    let scanned = scan(
        &[TextSource::file(&path)],
        &TextFormat::default(),
        &|_, _| Ok(()),
    );
    let scanned = Arc::new(scanned.expect("reads"));
    for (text, part) in [
        ("a\n1\nx\n", "column 'a': line 3: 'x': changed"),
        ("a\n1\n", "changed"),
    ] {
        std::fs::write(&path, text).expect("written");
        let mut reader = TextReader::new(scanned.clone(), vec![0], 10);
        let mut read = || -> Result<()> {
            while reader.next_batch()?.is_some() {}
            Ok(())
        };
        says(&read().expect_err("changed").message, &["rows.csv", part]);
    }
}
