//! Text files as people have them, the format of a source, and types of Parquet.

use super::*;

#[test]
fn text_files_are_read_as_people_have_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let german =
        "kunde;betrag;am;y\n0012;1.234,50 €;31/01/2026 10:00;0\n0040;NA;01/02/2026 00:00;1\n";
    std::fs::write(folder.path().join("rows.txt"), german).expect("written");
    let rows = run(&spec(folder.path(), "rows.txt", &[("time", "am")])).expect("reads");
    assert_eq!(words(&rows, 0).map(|w| w.get(0)), Some(Some("0012")));
    let FrameValues::Numbers(amounts) = &rows.frame.columns[1].values else {
        panic!("numbers")
    };
    assert!(amounts[0] == 1234.5 && amounts[1].is_nan());
    assert_eq!(
        rows.time,
        Some(vec![1_769_853_600_000_000, 1_769_904_000_000_000])
    );
    let notes = rows.notes.join("\n");
    for part in [
        "the files are read as: semicolons, decimal comma",
        "'kunde': it is words because 2 values begin with a 0",
        "'betrag': the currency '€' is left out",
        "'NA' in 1 row",
    ] {
        assert!(notes.contains(part), "{notes} does not say {part}");
    }

    // A query may read none of the columns, or some.
    let text = "a,b,y\n1,x,0\n2,,1\n3.5,z,1\n4,q,1\n";
    std::fs::write(folder.path().join("rows.csv"), text).expect("written");
    let sql = "SELECT sum(a) AS a, count(*) AS n, count(b) AS y FROM rows GROUP BY y ORDER BY n";
    let more = [("sql", sql), ("task", "regression")];
    let counted = run(&spec(folder.path(), "rows.csv", &more)).expect("reads");
    assert_eq!(counted.target, RowTarget::Values(vec![1.0, 2.0]));
    let sums = &counted.frame.columns[0].values;
    assert_eq!(*sums, FrameValues::Numbers(vec![1.0, 9.5].into()));
}

#[test]
fn a_text_file_that_cannot_be_read_is_refused_with_its_line() {
    let refused = |text: &str, parts: &[&str]| {
        let message = refused(text, &[]);
        for part in parts {
            assert!(message.contains(part), "{message} does not say {part}");
        }
    };
    refused(
        "a,b,y\n1,2,0\n1,2,3,1\n",
        &[
            "the source 'rows'",
            "rows.csv: line 3: the row has 4 fields, the header has 3",
            "ragged = \"skip\"",
        ],
    );
    refused("a,a,y\n1,2,0\n", &["columns 1 and 2 are both named 'a'"]);
    refused("a,y\n\"1,0\n", &["line 2: a quoted field is not closed"]);
}

#[test]
fn the_format_of_a_source_is_set_in_the_specification() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(
        folder.path().join("rows.csv"),
        "a|w|y\n'1,234'|01/02/2026|0\n5|02/02/2026|1\n",
    )
    .expect("written");
    let format = "{ delimiter = \"|\", quote = \"'\", decimal = \",\", dates = \"dmy\" }";
    let text = |source: &str| {
        format!(
            "[model]\nname = \"m\"\n[data]\nrows_min = 2\n[data.sources]\n{source}[schema]\ntarget = \"y\"\ntime = \"w\"\n"
        )
    };
    let inline = format!("rows = {{ path = \"rows.csv\", format = {format} }}\n");
    let table = format!("[data.sources.rows]\npath = \"rows.csv\"\nformat = {format}\n");
    for source in [&inline, &table] {
        let spec = Spec::parse("train.toml", &text(source)).expect("a specification");
        let spec = Spec {
            folder: folder.path().to_owned(),
            ..spec
        };
        let rows = run(&spec).expect("reads");
        assert_eq!(
            rows.frame.columns[0].values,
            FrameValues::Numbers(vec![1.234, 5.0].into())
        );
        assert_eq!(
            rows.time,
            Some(vec![1_769_904_000_000_000, 1_769_990_400_000_000])
        );
    }
    let plain = Spec::parse("train.toml", &text("rows = \"rows.csv\"\n")).expect("a specification");
    let set = Spec::parse("train.toml", &text(&inline)).expect("a specification");
    assert_ne!(
        plain.canonical(),
        set.canonical(),
        "the format decides what is read"
    );
    assert!(!plain.canonical().contains("sources"), "as before");

    let refused = |source: &str, part: &str| {
        let error = Spec::parse("train.toml", &text(source)).expect_err("must be refused");
        assert!(error.message.contains(part), "{error} does not say {part}");
    };
    refused(
        "rows = { path = \"a.csv\", forma = 1 }\n",
        "a table of 'path' and 'format'; 'forma' is unknown",
    );
    refused(
        "rows = { path = \"a.csv\", format = { decimal = \";\" } }\n",
        "'decimal' is \";\"",
    );
    refused(
        "rows = { path = \"a.csv\", format = { sep = \";\" } }\n",
        "unknown field `sep`",
    );
    refused("rows = { format = {} }\n", "a path or an address");
    refused(
        "rows = { path = \"capture:m\", format = { decimal = \",\" } }\n",
        "captured predictions have none",
    );
}

#[test]
fn parquet_columns_of_other_types_are_converted_or_left_out() {
    use datafusion::arrow::array::{
        ArrayRef, Decimal128Array, DictionaryArray, Int64Array, ListArray, RecordBatch,
        StructArray, TimestampNanosecondArray,
    };
    use datafusion::arrow::datatypes::{DataType, Field, Int8Type, Int64Type};
    use std::sync::Arc;

    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![0, 1]));
    let amounts = Decimal128Array::from(vec![Some(12_345), None]).with_precision_and_scale(10, 2);
    let words: DictionaryArray<Int8Type> = vec![Some("red"), Some("blue")].into_iter().collect();
    let list = [Some(vec![Some(1)]), Some(vec![None, Some(2)])];
    let of_one = Arc::new(Field::new("n", DataType::Int64, true));
    let times = TimestampNanosecondArray::from(vec![1_769_904_000_000_000_000; 2]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("amount", Arc::new(amounts.expect("fits"))),
        ("color", Arc::new(words)),
        (
            "list",
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(list)),
        ),
        (
            "record",
            Arc::new(StructArray::from(vec![(of_one, numbers.clone())])),
        ),
        ("at", Arc::new(times.with_timezone("Europe/Berlin"))),
        ("y", numbers),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("a batch");

    let folder = tempfile::tempdir().expect("a folder");
    let file = std::fs::File::create(folder.path().join("rows.parquet")).expect("made");
    let writer = datafusion::parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None);
    let mut writer = writer.expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");

    let rows = run(&spec(folder.path(), "rows.parquet", &[("time", "at")])).expect("reads");
    let names: Vec<&str> = rows.frame.columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["amount", "color"]);
    let FrameValues::Numbers(amounts) = &rows.frame.columns[0].values else {
        panic!("numbers")
    };
    assert!(amounts[0] == 123.45 && amounts[1].is_nan());
    assert_eq!(rows.time, Some(vec![1_769_904_000_000_000; 2]));
    let notes = rows.notes.join("\n");
    assert!(
        notes.contains("'list' is left out: it is of type List")
            && notes.contains("'record' is left out"),
        "{notes}"
    );

    let mut named = spec(folder.path(), "rows.parquet", &[("time", "at")]);
    named.schema.features = vec!["list".to_owned()];
    let error = run(&named).err().expect("no feature").message;
    assert!(error.contains("'list' is of type List"), "{error}");
}
