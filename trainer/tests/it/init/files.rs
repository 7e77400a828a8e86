//! Files as people have them: the kinds that stopped a newcomer, each with what becomes of it.

use crate::place::noise;
use ortus::storage::table::columnar::{self, Notes};
use ortus::storage::table::{Column, Table};

/// What `init` makes of a file.
pub(super) enum Expected {
    /// A specification that `run` takes; `init` says this.
    Taken(&'static [&'static str]),
    /// An error that says this.
    Refused(&'static [&'static str]),
}

/// A file.
pub(super) struct MessyFile {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    pub target: &'static str,
    pub expected: Expected,
}

/// The rows of most files.
const ROWS: usize = 500;

/// Two numbers that tell the class, and the class.
struct BaseRow {
    x1: f64,
    x2: f64,
    y: u8,
}

fn base(row: usize) -> BaseRow {
    let normal = |of: usize| (0..6).map(|at| noise(row, of + at)).sum::<f64>() * 1.41 - 4.24;
    let (x1, x2) = (50.0 + 10.0 * normal(10), normal(20));
    let y = u8::from(x1 + 10.0 * x2 + 4.0 * normal(30) > 50.0);
    BaseRow { x1, x2, y }
}

/// Writes a table: the numbers, more columns, and the class.
fn csv(more: &str, cells: impl Fn(usize, &BaseRow) -> String) -> String {
    let mut text = format!("x1,x2,{more},y\n");
    for row in 0..ROWS {
        let base = base(row);
        let cells = cells(row, &base);
        text.push_str(&format!(
            "{:.2},{:.3},{cells},{}\n",
            base.x1, base.x2, base.y
        ));
    }
    text
}

/// Writes the numbers and a target.
fn targeted(target: impl Fn(usize, &BaseRow) -> String) -> String {
    let mut text = "x1,x2,y\n".to_owned();
    for row in 0..ROWS {
        let base = base(row);
        let target = target(row, &base);
        text.push_str(&format!("{:.2},{:.3},{target}\n", base.x1, base.x2));
    }
    text
}

fn plain() -> String {
    targeted(|_, base| base.y.to_string())
}

fn file(name: &'static str, text: impl Into<Vec<u8>>, expected: Expected) -> MessyFile {
    MessyFile {
        name,
        bytes: text.into(),
        target: "y",
        expected,
    }
}

use Expected::{Refused, Taken};

/// The same table in other dialects, and files that are none.
pub(super) fn dialects() -> Vec<MessyFile> {
    let german = plain().replace(',', ";").replace('.', ",");
    let thousands = csv("n", |_, base| {
        format!("\"{:.0},{:03.0}.50\"", base.x1.abs(), base.x1.abs())
    });
    let note = csv("note", |row, _| match row % 3 {
        0 => String::new(),
        _ => "\"line one\nline \"\"two\"\", with comma\"".to_owned(),
    });
    let bom = ["\u{feff}", &plain()].concat();
    let crlf = plain().replace('\n', "\r\n") + "\r\n\r\n";
    let ragged = plain().replacen(",1\n", ",1,extra\n", 1);
    vec![
        file(
            "plain.csv",
            plain(),
            Taken(&["read as: commas", "'y' is predicted as a class (0, 1)"]),
        ),
        file("bom.csv", bom, Taken(&[" x1 "])),
        file("crlf_blank_tail.csv", crlf, Taken(&["500 rows"])),
        file(
            "semicolon_decimal_comma.csv",
            german,
            Taken(&["semicolons, decimal comma"]),
        ),
        file("thousands.csv", thousands, Taken(&["feature"])),
        file("quoted_newline.csv", note, Taken(&["500 rows"])),
        file(
            "ragged.csv",
            ragged,
            Refused(&["the row has 4 fields", "ragged = \"skip\""]),
        ),
        file("empty.csv", "", Refused(&["is empty"])),
        file("header_only.csv", "x1,x2,y\n", Refused(&["no row"])),
        file(
            "twins.csv",
            "a,a,y\n1,2,0\n",
            Refused(&["both named 'a'", "rename"]),
        ),
        file(
            "three.csv",
            "x,y\n1,0\n2,1\n3,0\n",
            Refused(&["fewer than 20", "add rows"]),
        ),
    ]
}

/// Targets with holes, few rows, many classes.
pub(super) fn targets() -> Vec<MessyFile> {
    let holes = targeted(|row, base| match row % 10 {
        0 => String::new(),
        _ => format!("{}.0", base.y),
    });
    let words = targeted(|row, base| match (row, base.y) {
        (..5, _) => String::new(),
        (_, 1) => "yes".to_owned(),
        _ => "no".to_owned(),
    });
    let lonely = targeted(|row, base| {
        if row == 7 {
            "2".into()
        } else {
            base.y.to_string()
        }
    });
    let rare = targeted(|row, base| match row % 40 {
        0 => base.y.to_string(),
        _ => "0".to_owned(),
    });
    let late = targeted(|row, base| match row {
        450 => "unknown!".to_owned(),
        _ => base.y.to_string(),
    });
    let late_number = targeted(|row, base| match row {
        450 => "unknown!".to_owned(),
        _ => format!("{:.4}", base.x1),
    });
    let value = targeted(|row, base| format!("{:.3}", base.x1 + 5.0 * noise(row, 40)));
    vec![
        file(
            "target_missing.csv",
            holes,
            Taken(&["10.0 % of 500 rows have no 'y'"]),
        ),
        file(
            "target_text_starts_empty.csv",
            words,
            Taken(&["a class (no, yes)"]),
        ),
        file(
            "one_row_class.csv",
            lonely,
            Taken(&["'y' is '2' in 1 row only"]),
        ),
        file(
            "one_class.csv",
            targeted(|_, _| "0".into()),
            Refused(&["one value in all rows", "--target"]),
        ),
        file(
            "imbalanced_1pct.csv",
            rare,
            Taken(&["average_precision", "balanced = true"]),
        ),
        file(
            "late_text.csv",
            late,
            Taken(&["because of 'unknown!' (line 452)", "only, too few"]),
        ),
        file(
            "late_text_number.csv",
            late_number,
            Refused(&["'unknown!' (line 452)", "--format"]),
        ),
        file("regression.csv", value, Taken(&["a number (regression)"])),
    ]
}

/// Columns that are not what they look like.
pub(super) fn columns() -> Vec<MessyFile> {
    let zip = csv("zip", |row, _| format!("{:05.0}", 500.0 * noise(row, 41)));
    let shop = csv("shop", |row, _| format!("{:.0}", 40.0 * noise(row, 41)));
    let user = csv("user", |row, _| format!("u{row:06}"));
    let odd = csv("const,allnull,mixed", |row, _| {
        format!("1,,{}", if row % 2 == 0 { "n/a" } else { "3" })
    });
    let when = csv("when", |row, _| {
        format!(
            "{:02}/{:02}/2023 {:02}:00",
            1 + row / 24 % 28,
            1 + row / 672,
            row % 24
        )
    });
    let unix = csv("ts", |row, _| {
        format!("{:.0}", 1_700_000_000.0 + 3_600.0 * noise(row, 42))
    });
    let mixed = csv("qty,ok", |row, _| {
        let qty = if row % 7 == 0 {
            String::new()
        } else {
            format!("{:.0}", 9.0 * noise(row, 43))
        };
        let ok = ["True", "False", ""][row % 3];
        format!("{qty},{ok}")
    });
    vec![
        file("zip_leading_zero.csv", zip, Taken(&["codes"])),
        file("int_category.csv", shop, Taken(&["whole number"])),
        file(
            "id_like.csv",
            user,
            Taken(&["left out: identifies the row"]),
        ),
        file(
            "const_allnull_mixed.csv",
            odd,
            Taken(&["'const' has one value", "'allnull' has no value"]),
        ),
        file("dates_ddmm.csv", when, Taken(&["split by time"])),
        file(
            "unix_seconds.csv",
            unix,
            Taken(&["'ts' looks like seconds since 1970"]),
        ),
        file("int_bool_missing.csv", mixed, Taken(&["boolean"])),
    ]
}

/// Rows and columns that repeat, or that tell the target.
pub(super) fn copies() -> Vec<MessyFile> {
    let leak = csv("leak", |row, base| {
        format!("{:.3}", 100.0 * f64::from(base.y) + noise(row, 44))
    });
    let copies = plain()
        .split_once('\n')
        .map_or_else(String::new, |(head, rows)| {
            format!("{head}\n{}", rows.repeat(5))
        });
    let mut customers = "x1,x2,customer,y\n".to_owned();
    for row in 0..ROWS {
        let base = base(row / 4);
        let x1 = base.x1 + noise(row, 47);
        customers.push_str(&format!("{x1:.2},{:.3},c{},{}\n", base.x2, row / 4, base.y));
    }
    let unnumbered = plain();
    let index = unnumbered.lines().enumerate().map(|(at, line)| match at {
        0 => format!(",{line}\n"),
        at => format!("{},{line}\n", at - 1),
    });
    vec![
        file(
            "leak.csv",
            leak,
            Taken(&["'leak' alone predicts the target"]),
        ),
        file(
            "duplicates_x5.csv",
            copies,
            Taken(&[
                "80.0 % of 2500 rows are equal to another",
                "500 rows, split",
            ]),
        ),
        file(
            "customers.csv",
            customers,
            Taken(&["'customer' repeats: 125", "split by group"]),
        ),
        file(
            "pandas_index.csv",
            index.collect::<String>(),
            Taken(&["as pandas writes it", "2 features"]),
        ),
    ]
}

/// Parquet, and names.
pub(super) fn others() -> Vec<MessyFile> {
    let special = plain().replacen(
        "x1,x2,y",
        "\"дистанция, км\",\"[bio].rate:%/{a}\"\"b\"\"\",y",
        1,
    );
    let space = csv("\"x1 \"", |_, base| format!("{:.3}", base.x2 * 2.0));
    let reserved = plain().replacen("x1,x2,y", "value,label,y", 1);
    let lines = plain().replacen("x1,x2,y", "\"two\nlines\",numbers,y", 1);
    let target = plain().replacen("x1,x2,y", "probabilities,x2,\"la\nbel\"", 1);
    vec![
        file(
            "special_names.csv",
            special,
            Taken(&["дистанция, км", "2 features"]),
        ),
        file("trailing_space_name.csv", space, Taken(&["3 features"])),
        file(
            "reserved.csv",
            reserved,
            Taken(&["'value' becomes 'value_feature'", "'label' becomes"]),
        ),
        file(
            "lines.csv",
            lines,
            Taken(&["'two\\nlines' becomes 'two lines'", "'numbers' becomes"]),
        ),
        MessyFile {
            target: "la\nbel",
            ..file("target_name.csv", target, Taken(&["becomes 'la bel'"]))
        },
        file(
            "int_bool_missing.parquet",
            parquet(false),
            Taken(&["boolean"]),
        ),
        file(
            "categorical_tz.parquet",
            parquet(true),
            Taken(&["split by time"]),
        ),
    ]
}

fn parquet(is_timed: bool) -> Vec<u8> {
    let rows = || (0..ROWS).map(base);
    let number = |of: fn(&BaseRow) -> f64| Column::F64(rows().map(|row| of(&row)).collect());
    let mut columns = vec![
        ("x1".to_owned(), number(|row| row.x1)),
        ("x2".to_owned(), number(|row| row.x2)),
        (
            "y".to_owned(),
            Column::I64(rows().map(|row| row.y.into()).collect()),
        ),
    ];
    if is_timed {
        let words = (0..ROWS).map(|row| if noise(row, 45) < 0.5 { "a" } else { "b" }.to_owned());
        columns.push(("cat".to_owned(), Column::Words(words.collect())));
        let times = (0..ROWS).map(|row| 1_711_750_000_000_000 + row as i64 * 60_000_000);
        columns.push(("ts".to_owned(), Column::Time(times.collect())));
    } else {
        let quantity = |row: usize| {
            if row.is_multiple_of(7) {
                f64::NAN
            } else {
                (9.0 * noise(row, 43)).floor()
            }
        };
        columns.push((
            "qty".to_owned(),
            Column::F64((0..ROWS).map(quantity).collect()),
        ));
        columns.push((
            "ok".to_owned(),
            Column::Bool((0..ROWS).map(|row| noise(row, 46) < 0.5).collect()),
        ));
    }
    let table = Table {
        columns,
        rows: ROWS,
    };
    columnar::write(&table, &Notes::new()).expect("Parquet")
}

/// A table of many columns.
pub(super) fn wide(rows: usize, columns: usize) -> String {
    let names: Vec<String> = (0..columns).map(|at| format!("c{at}")).collect();
    let mut text = format!("{},y\n", names.join(","));
    for row in 0..rows {
        for at in 0..columns {
            text.push_str(&format!("{:.2},", noise(row, 100 + at)));
        }
        text.push_str(if noise(row, 1) < 0.5 { "0\n" } else { "1\n" });
    }
    text
}
