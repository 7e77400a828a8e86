//! One table in the dialects that people have: `init` and `run` give each the score of the plain file. Prints
//! the table of scores.

use crate::place::{Place, noise, trainer};
use crate::support::optional::run;
use std::io::Write;

const ROWS: usize = 900;

/// A row: a number with decimals, a large one, a missing one, a word, a code with leading zeros, a time, a class.
struct Line {
    x: f64,
    price: f64,
    qty: Option<u32>,
    town: &'static str,
    zip: String,
    at: chrono::NaiveDateTime,
    class: &'static str,
}

fn line(row: usize) -> Line {
    let x = (noise(row, 1) * 200.0 - 100.0).round() / 4.0;
    let price = 1_000.0 + (noise(row, 2) * 900_000.0).round() / 100.0;
    let qty = (noise(row, 3) > 0.15).then(|| (noise(row, 4) * 9.0) as u32);
    let town = ["Köln", "Berlin", "Saint-Étienne"][(noise(row, 5) * 3.0) as usize];
    let zip = format!("0{:04}", (noise(row, 6) * 6.0) as u32);
    let score = x / 8.0 + (price - 5_500.0) / 2_000.0 + if town == "Köln" { 1.0 } else { -0.5 }
        - f64::from(qty.unwrap_or(8)) / 4.0;
    let is_one = noise(row, 7) < 1.0 / (1.0 + (-score).exp());
    let start =
        chrono::NaiveDate::from_ymd_opt(2026, 1, 1).and_then(|day| day.and_hms_opt(6, 0, 0));
    Line {
        x,
        price,
        qty,
        town,
        zip,
        at: start.expect("a time") + chrono::TimeDelta::minutes(37 * row as i64),
        class: if is_one { "yes" } else { "no" },
    }
}

/// How a table is written.
#[derive(Clone)]
struct Dialect {
    separator: char,
    decimal: char,
    /// Between groups of three digits of the price.
    thousands: Option<char>,
    currency: &'static str,
    missing: &'static str,
    date: &'static str,
    is_quoted: bool,
    end: &'static str,
    /// Whether each row begins with its number, under no name.
    has_index: bool,
    /// Whether the header stands again in the middle.
    repeats_header: bool,
}

const PLAIN: Dialect = Dialect {
    separator: ',',
    decimal: '.',
    thousands: None,
    currency: "",
    missing: "",
    date: "%Y-%m-%d %H:%M:%S",
    is_quoted: false,
    end: "\n",
    has_index: false,
    repeats_header: false,
};

impl Dialect {
    fn price(&self, price: f64) -> String {
        let text = format!("{price:.2}").replace('.', &self.decimal.to_string());
        let whole = text.len() - 3;
        match self.thousands {
            Some(mark) => format!(
                "{}{}{mark}{}",
                self.currency,
                &text[..whole - 3],
                &text[whole - 3..]
            ),
            None => format!("{}{text}", self.currency),
        }
    }

    fn row(&self, cells: &[String]) -> String {
        let quoted = |cell: &String| match self.is_quoted || cell.contains(self.separator) {
            true => format!("\"{cell}\""),
            false => cell.clone(),
        };
        let cells: Vec<String> = cells.iter().map(quoted).collect();
        cells.join(&self.separator.to_string()) + self.end
    }

    fn write(&self) -> String {
        let names = ["x", "price", "qty", "town", "zip", "at", "left"];
        let mut header: Vec<String> = names.map(str::to_owned).into();
        if self.has_index {
            header.insert(0, String::new());
        }
        let mut text = self.row(&header);
        for row in 0..ROWS {
            if self.repeats_header && row == ROWS / 2 {
                text += &self.row(&header);
            }
            let of = line(row);
            let mut cells = vec![
                format!("{:.2}", of.x).replace('.', &self.decimal.to_string()),
                self.price(of.price),
                of.qty
                    .map_or(self.missing.to_owned(), |qty| qty.to_string()),
                of.town.to_owned(),
                of.zip,
                of.at.format(self.date).to_string(),
                of.class.to_owned(),
            ];
            if self.has_index {
                cells.insert(0, row.to_string());
            }
            text += &self.row(&cells);
        }
        text
    }
}

fn with(change: impl FnOnce(&mut Dialect)) -> Vec<u8> {
    let mut dialect = PLAIN.clone();
    change(&mut dialect);
    dialect.write().into_bytes()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).expect("packed");
    packed.finish().expect("packed")
}

fn utf16(text: &str) -> Vec<u8> {
    let units = std::iter::once(0xfeff).chain(text.encode_utf16());
    units.flat_map(u16::to_le_bytes).collect()
}

/// Each letter of these words is one byte of Latin-1, which is its code.
fn latin1(text: &str) -> Vec<u8> {
    text.chars()
        .map(|letter| u8::try_from(u32::from(letter)).expect("Latin-1"))
        .collect()
}

/// The twins of the plain file: name, file, bytes.
fn twins() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let plain = PLAIN.write();
    let german = |d: &mut Dialect| {
        (d.separator, d.decimal, d.date) = (';', ',', "%d.%m.%Y %H:%M:%S");
    };
    vec![
        ("plain", "rows.csv", plain.clone().into_bytes()),
        ("semicolons, decimal comma, d.m.y", "rows.csv", with(german)),
        (
            "the same with thousands and euros",
            "rows.csv",
            with(|d| {
                german(d);
                (d.thousands, d.currency) = (Some('.'), "€ ");
            }),
        ),
        ("tabs", "rows.tsv", with(|d| d.separator = '\t')),
        ("pipes", "rows.txt", with(|d| d.separator = '|')),
        (
            "thousands and dollars",
            "rows.csv",
            with(|d| (d.thousands, d.currency) = (Some(','), "$")),
        ),
        ("NA", "rows.csv", with(|d| d.missing = "NA")),
        ("?", "rows.csv", with(|d| d.missing = "?")),
        ("-", "rows.csv", with(|d| d.missing = "-")),
        ("None", "rows.csv", with(|d| d.missing = "None")),
        (
            "every cell in quotes",
            "rows.csv",
            with(|d| d.is_quoted = true),
        ),
        ("CRLF", "rows.csv", with(|d| d.end = "\r\n")),
        (
            "an index without a name",
            "rows.csv",
            with(|d| d.has_index = true),
        ),
        (
            "a header in the middle",
            "rows.csv",
            with(|d| d.repeats_header = true),
        ),
        ("d/m/y", "rows.csv", with(|d| d.date = "%d/%m/%Y %H:%M:%S")),
        ("m/d/y", "rows.csv", with(|d| d.date = "%m/%d/%Y %H:%M:%S")),
        ("unix seconds", "rows.csv", with(|d| d.date = "%s")),
        (
            "BOM",
            "rows.csv",
            ["\u{feff}", &plain].concat().into_bytes(),
        ),
        ("UTF-16", "rows.csv", utf16(&plain)),
        ("Latin-1", "rows.csv", latin1(&plain)),
        ("gzip", "rows.csv.gz", gzip(plain.as_bytes())),
    ]
}

/// Returns the log loss of the file, by what `init` makes of it; none if it is refused, with the reason.
fn score(file: &str, bytes: &[u8]) -> Result<f64, String> {
    let place = Place::new();
    std::fs::write(place.at(file), bytes).expect("written");
    let spec = place.at("train.toml");
    let mut command = trainer();
    command
        .arg("init")
        .arg(place.at(file))
        .args(["--target", "left"]);
    run(command.arg("-o").arg(&spec))?;
    let (_, said, error) = place.run(&spec);
    let loss = said["record"]["metrics"]["log_loss"].as_f64();
    loss.ok_or_else(|| format!("{error} {said}"))
}

#[test]
fn twins_in_other_dialects_have_the_score_of_the_plain_file() {
    let twins = twins();
    let mut scores: Vec<Option<Result<f64, String>>> = vec![None; twins.len()];
    for (places, twins) in scores.chunks_mut(6).zip(twins.chunks(6)) {
        std::thread::scope(|scope| {
            for (place, (_, file, bytes)) in places.iter_mut().zip(twins) {
                scope.spawn(move || *place = Some(score(file, bytes)));
            }
        });
    }
    let scores: Vec<Result<f64, String>> = scores.into_iter().flatten().collect();
    let plain = scores[0].clone().expect("the plain file is learned from");
    println!("{:36} log loss", "dialect");
    let mut failed = Vec::new();
    for ((name, ..), score) in twins.iter().zip(&scores) {
        match score {
            Ok(score) => println!("{name:36} {score:.9}"),
            Err(why) => println!("{name:36} {why}"),
        }
        if *score != Ok(plain) {
            failed.push((*name, score));
        }
    }
    assert!(plain < 0.6, "the rows tell something: {plain}");
    assert!(failed.is_empty(), "not {plain}: {failed:?}");
}
