//! The rules of values: types, numbers, times, and what is missing.

use super::super::format::DateOrder;
use super::super::time_tally::TimeFacts;
use super::*;

#[test]
fn types_are_decided_over_all_rows() {
    let mut text = "a,b,c,d\n".to_owned();
    for row in 0..150_000 {
        let late = row == 149_999;
        text += &format!(
            "{row},{},{},{}\n",
            if late { "1.5" } else { "1" },
            if late { "x" } else { "2" },
            if late { "NA" } else { "3" },
        );
    }
    let read = read_text(&text);
    assert_eq!(read.kind("a"), TextType::Whole);
    assert_eq!(read.kind("b"), TextType::Number);
    assert_eq!(read.kind("c"), TextType::Words);
    assert_eq!(read.kind("d"), TextType::Whole);
    assert_eq!(read.column("d")[149_999], Value::Missing);
    says(
        &read.notes(),
        &[
            "c: it is words because of 'x' (line 150001) in 1 of 150000 rows; the others are numbers",
            "'NA' in 1 row",
        ],
    );
    assert_eq!(read.scanned.columns[0].range, Some((0.0, 149_999.0)));
}

#[test]
fn missing_values_have_many_spellings() {
    for token in [
        "", "  ", "NA", "N/A", "n/a", "#N/A", "null", "NULL", "NaN", "nan", "None", "?", "-", "--",
        ".",
    ] {
        let read = read_text(&format!(
            "x,w,t\n1,a,true\n\"{token}\",{token},{token}\n3,b,False\n"
        ));
        let name = format!("'{token}'");
        assert_eq!(
            read.column("x"),
            [Value::Whole(1), Value::Missing, Value::Whole(3)],
            "{name}"
        );
        assert_eq!(read.column("w"), words(&["a", "", "b"]), "{name}");
        assert_eq!(
            read.column("t"),
            [Value::Bool(true), Value::Missing, Value::Bool(false)]
        );
    }
    let read = read_set("x,w\n-999,NA\n5,no\n", |format| {
        format.missing = Some(vec!["-999".to_owned()]);
    });
    assert_eq!(read.column("x"), [Value::Missing, Value::Whole(5)]);
    assert_eq!(read.column("w"), words(&["NA", "no"]));
    let read = read_set("x,t\ninf,true\n5,false\n", |format| {
        format.missing = Some(vec!["inf".to_owned(), "true".to_owned()]);
    });
    assert_eq!(read.column("x"), [Value::Missing, Value::Whole(5)]);
    assert_eq!(read.column("t"), [Value::Missing, Value::Bool(false)]);
    let read = read_text("x,y\n,1\nNA,2\n");
    assert_eq!(read.kind("x"), TextType::Missing);
}

#[test]
fn numbers_are_read_as_people_write_them() {
    let check = |cells: &[&str], expected: &[f64]| {
        let rows: String = cells.iter().map(|cell| format!("\"{cell}\",x\n")).collect();
        let read = read_text(&format!("n,w\n{rows}"));
        let all: Vec<Value> = read.column("n").to_vec();
        assert_eq!(all, number(expected), "{cells:?}: {}", read.notes());
    };
    check(
        &["1.5", "-2", "+3", "1e3", "2.5E-2"],
        &[1.5, -2.0, 3.0, 1000.0, 0.025],
    );
    check(
        &["1,234.50", "7", "12,345,678.9"],
        &[1234.5, 7.0, 12_345_678.9],
    );
    check(&["1.234,50", "7", "0,5"], &[1234.5, 7.0, 0.5]);
    check(
        &["1 234,5", "7,25", "1\u{a0}000,0"],
        &[1234.5, 7.25, 1000.0],
    );
    check(&["1'234.5", "7", "1’000"], &[1234.5, 7.0, 1000.0]);
    check(&["$5", "$ 1,200.50", "-$3"], &[5.0, 1200.5, -3.0]);
    check(&["5,00 €", "1.200,50 €", "3 EUR"], &[5.0, 1200.5, 3.0]);
    check(&["12.5 %", "3%"], &[12.5, 3.0]);
    check(&["6,1e-05", "0,25"], &[6.1e-5, 0.25]);
    check(
        &["inf", "-Infinity", "1.0"],
        &[f64::INFINITY, f64::NEG_INFINITY, 1.0],
    );
    check(
        &["0.1", "0.30000000000000004", "123456789.123456789"],
        &[0.1, 0.300_000_000_000_000_04, 123_456_789.123_456_79],
    );
}

#[test]
fn whole_numbers_stay_exact() {
    let read = read_text(
        "a,b,c,d\n9007199254740993,18446744073709551615,-9223372036854775808,1\n1,2,3,123456789012345678901\n",
    );
    assert_eq!(read.column("a"), whole(&[9_007_199_254_740_993, 1]));
    assert_eq!(
        read.column("b"),
        [Value::Unsigned(u64::MAX), Value::Unsigned(2)]
    );
    assert_eq!(read.column("c"), whole(&[i64::MIN, 3]));
    assert_eq!(read.kind("d"), TextType::Words);
    let read = read_text("a,b\n\"1,234\",1.5\n\"2,000,000\",2.5\n");
    assert_eq!(read.column("a"), whole(&[1234, 2_000_000]));
}

#[test]
fn signs_that_differ_within_a_column_make_words() {
    let read = read_text("p,c,n\n5 %,$5,\"1,5\"\n0.05,€5,2.5\n");
    for name in ["p", "c", "n"] {
        assert_eq!(read.kind(name), TextType::Words, "{name}");
    }
    says(
        &read.notes(),
        &[
            "p: it is words because only some values have a percent sign: 1 of 2, first '5 %' (line 2)",
            "c: it is words because its values are in several currencies",
            "n: it is words because some numbers have a decimal point, first '2.5' (line 3), and others a decimal comma, first '1,5' (line 2)",
        ],
    );
}

#[test]
fn thousands_or_decimals_are_told_by_other_columns() {
    // Nothing tells.
    let read = read_text("a,w\n\"1,234\",x\n\"5,678\",y\n");
    assert_eq!(read.kind("a"), TextType::Words);
    says(
        &read.notes(),
        &["'1,234' may be thousands or decimals; set decimal = \".\" or decimal = \",\""],
    );
    // Another column does.
    let read = read_text("a,b\n\"1,234\",1.5\n\"5,678\",2\n");
    assert_eq!(read.column("a"), whole(&[1234, 5678]));
    let read = read_text("a,b\n\"1,234\",\"1,5\"\n\"5,678\",2\n");
    assert_eq!(read.column("a"), number(&[1.234, 5.678]));
    let read = read_text("a;b\n1.234;1,5\n5.678;2\n");
    assert_eq!(read.column("a"), whole(&[1234, 5678]));
    // Semicolons do where nothing else tells.
    let read = read_text("a;w\n1,234;x\n5,678;y\n");
    assert_eq!(read.column("a"), number(&[1.234, 5.678]));
    says(&read.notes(), &["the comma is taken as its decimal mark"]);
    // A point alone is a decimal point.
    assert_eq!(
        read_text("a,b\n1.234,1\n5.678,2\n").column("a"),
        number(&[1.234, 5.678])
    );
    // It is set.
    let set = |mark: &str| {
        read_set("a,w\n\"1,234\",x\n\"5,678\",y\n", |f| {
            f.decimal = Some(mark.to_owned())
        })
    };
    assert_eq!(set(".").column("a"), whole(&[1234, 5678]));
    assert_eq!(set(",").column("a"), number(&[1.234, 5.678]));
    let read = read_set("a\n1.5\n", |f| f.decimal = Some(",".to_owned()));
    says(
        &read.notes(),
        &["does not have the number format that is set"],
    );
}

#[test]
fn leading_zeros_make_words() {
    let text = "zip,n\n00123,0\n12345,0.5\n";
    let read = read_text(text);
    assert_eq!(read.column("zip"), words(&["00123", "12345"]));
    says(
        &read.notes(),
        &["zip: it is words because 1 value begins with a 0, first '00123' (line 2)"],
    );
    assert_eq!(read.column("n"), number(&[0.0, 0.5]));
    let read = read_set(text, |f| f.leading_zeros = Some("numbers".to_owned()));
    assert_eq!(read.column("zip"), whole(&[123, 12_345]));
}

#[test]
fn times_are_decided_over_the_whole_column() {
    const DAY: i64 = 1_675_209_600_000_000; // 2023-02-01
    let check = |cells: &[&str], expected: Option<&[i64]>| {
        let rows: String = cells.iter().map(|cell| format!("\"{cell}\",x\n")).collect();
        let read = read_text(&format!("t,w\n{rows}"));
        match expected {
            Some(times) => {
                let times: Vec<Value> = times
                    .iter()
                    .map(|t| Value::Time(DAY + t * 1_000_000))
                    .collect();
                assert_eq!(read.column("t"), times, "{cells:?}");
            }
            None => assert_eq!(read.kind("t"), TextType::Words, "{cells:?}"),
        }
    };
    let hour = 3600;
    check(&["2023-02-01", "2023-02-02"], Some(&[0, 24 * hour]));
    check(
        &[
            "2023-02-01T01:00:00Z",
            "2023-02-01 01:00",
            "2023-02-01T02:00:00+01:00",
        ],
        Some(&[hour; 3]),
    );
    check(&["2023-02-01 00:00:01.000", "2023/02/01"], Some(&[1, 0]));
    check(
        &["01/02/2023 01:00", "13/02/2023 00:00"],
        Some(&[hour, 12 * 24 * hour]),
    );
    check(
        &["02/01/2023 01:00 PM", "02/13/2023 12:00 AM"],
        Some(&[13 * hour, 12 * 24 * hour]),
    );
    check(&["1.2.23", "13.2.23"], Some(&[0, 12 * 24 * hour]));
    check(
        &["1-2-2023 1:00", "13-2-2023"],
        Some(&[hour, 12 * 24 * hour]),
    );
    // Either is possible, or neither.
    check(&["01/02/2023", "02/01/2023"], None);
    check(&["13/02/2023", "02/13/2023"], None);
    check(&["2023-02-30"], None);
    check(&["2023-02-01 24:00"], None);

    let text = "t\n01/02/2023\n02/02/2023\n";
    says(
        &read_text(text).notes(),
        &[
            "'01/02/2023' (line 2) could be day/month/year or month/day/year: set dates = \"dmy\" or dates = \"mdy\"",
        ],
    );
    let read = read_set(text, |f| f.dates = Some("dmy".to_owned()));
    assert_eq!(read.column("t")[0], Value::Time(DAY));
    let read = read_set(text, |f| f.dates = Some("mdy".to_owned()));
    assert_eq!(read.column("t")[0], Value::Time(DAY - 30 * 86_400_000_000));
    assert_eq!(read.kind("t"), TextType::Time { zoned: false });
    assert_eq!(
        read_text("t\n2023-02-01T00:00Z\n").kind("t"),
        TextType::Time { zoned: true }
    );
}

#[test]
fn whole_numbers_that_look_like_times_are_told_by_their_range() {
    use crate::storage::table::text::scan::UnixUnit;
    let read = read_text(
        "s,m,u,n\n1700000000,1700000000000,1700000000000000,17\n1700000001,1700000001000,1700000000000001,1700000000\n",
    );
    let units: Vec<_> = read.scanned.columns.iter().map(|c| c.unix_unit()).collect();
    assert_eq!(
        units,
        [
            Some(UnixUnit::Seconds),
            Some(UnixUnit::Millis),
            Some(UnixUnit::Micros),
            None
        ]
    );
}

#[test]
fn booleans_are_true_and_false_only() {
    let read = read_text("a,b,c\nTrue,yes,true\nFALSE,no,1\n");
    assert_eq!(read.column("a"), [Value::Bool(true), Value::Bool(false)]);
    assert_eq!(read.kind("b"), TextType::Words);
    assert_eq!(read.kind("c"), TextType::Words);
}

/// What was understood of the only column, which holds times.
fn time_facts(cells: &[&str], set: impl FnOnce(&mut TextFormat)) -> TimeFacts {
    let read = read_set(&format!("t\n{}\n", cells.join("\n")), set);
    let facts = read.scanned.columns[0].times.clone();
    facts.unwrap_or_else(|| panic!("{cells:?} are no times"))
}

#[test]
fn what_is_understood_of_times_is_told() {
    let facts = time_facts(&["01/02/2023 10:00", "soon", "", "13/02/2023"], |_| ());
    assert_eq!(facts.order, Some(DateOrder::Dmy));
    assert_eq!((facts.readable, facts.unreadable), (2, 1));
    let first = facts.first_unreadable.map(|cell| (cell.value, cell.line));
    assert_eq!(first, Some(("soon".to_owned(), 3)));
    assert_eq!(facts.example.map(|cell| cell.line), Some(2));
    assert!(facts.clock && facts.zoned == 0 && facts.zone == 0);

    let either = time_facts(&["01/02/2023", "02/01/2023"], |_| ());
    assert!(either.is_ambiguous() && !either.clock);
    assert_eq!(either.fits, [DateOrder::Dmy, DateOrder::Mdy]);
    let set = time_facts(&["01/02/2023", "02/01/2023"], |f| {
        f.dates = Some("mdy".to_owned());
        f.zone = Some("+01:00".to_owned());
    });
    assert_eq!((set.order, set.zone), (Some(DateOrder::Mdy), 3_600));

    // A short year with dashes may be first; with slashes it is, if that is set.
    let dashes = time_facts(&["25-12-23", "24-01-31"], |_| ());
    assert_eq!(dashes.fits, [DateOrder::Dmy, DateOrder::Ymd]);
    assert_eq!(
        time_facts(&["25/12/23"], |_| ()).order,
        Some(DateOrder::Dmy)
    );
    let ymd = |f: &mut TextFormat| f.dates = Some("ymd".to_owned());
    assert_eq!(time_facts(&["25/12/23"], ymd).order, Some(DateOrder::Ymd));
    let read = read_set("t\n25/12/23\n2025-12-23\n", ymd);
    let says = "not all of its times have the order that 'dates' sets";
    assert!(read.notes().contains(says), "{}", read.notes());

    let few = read_text("t\n2023-01-01\nx\ny\n");
    assert_eq!(few.scanned.columns[0].times, None, "mostly words");
}

#[test]
fn times_without_an_offset_are_of_the_zone_that_is_set() {
    let text = "t\n01.03.2023 02:00\n01.03.2023 00:00Z\n";
    let read = read_set(text, |f| f.zone = Some("+02:00".to_owned()));
    let times = read.column("t");
    assert_eq!(times[0], times[1]);
    let range = read.scanned.columns[0]
        .range
        .map(|(least, most)| most - least);
    assert_eq!(range, Some(0.0), "the range is of the same times");

    let format = TextFormat {
        zone: Some("Europe/Berlin".to_owned()),
        ..TextFormat::default()
    };
    says(
        &refused("t\n1\n", &format),
        &[
            "'zone' is \"Europe/Berlin\"",
            "AT TIME ZONE 'Europe/Berlin'",
        ],
    );
}

#[test]
fn different_words_are_read_as_times_of_one_order() {
    let words = ["13/02/2023", "01/02/2023", "?"];
    let facts = TimeFacts::of_words(words.into_iter()).expect("times");
    assert_eq!((facts.readable, facts.unreadable), (2, 1));
    assert_eq!(facts.read("01/02/2023"), Some(1_675_209_600_000_000));
    assert_eq!(facts.read("2023-02-01"), None, "another order");
    assert_eq!(TimeFacts::of_words(["a", "2023-01-01"].into_iter()), None);
}
