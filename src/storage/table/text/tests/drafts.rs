//! Tables before they are written, of each kind that people have.

use fastrand::Rng;

pub(super) const ROWS: usize = 2_000;

/// A cell before it is written.
#[derive(Clone, Debug)]
pub(super) enum Draft {
    Empty,
    /// Digits with a decimal point.
    Number(String),
    Word(String),
}

/// A table before it is written.
#[derive(Clone)]
pub(super) struct DraftTable {
    pub(super) names: Vec<String>,
    pub(super) rows: Vec<Vec<Draft>>,
}

impl DraftTable {
    /// Two features and a target.
    pub(super) fn base(rows: usize) -> Self {
        let mut random = Rng::with_seed(5);
        let mut row = |at: usize| {
            // The first values have fewer than three decimals, and none is 0.
            let (x1, x2) = (random.i32(1_001..9_000), random.i32(-3_000..3_000) * 10 + 5);
            vec![
                Draft::Number(decimals(x1, 2)),
                Draft::Number(decimals(x2, 4)),
                Draft::Number(usize::from(x1 > 5_000 || at == 3).to_string()),
            ]
        };
        Self {
            names: ["x1", "x2", "y"].map(str::to_owned).to_vec(),
            rows: (0..rows).map(&mut row).collect(),
        }
    }

    pub(super) fn with(
        mut self,
        name: &str,
        mut cell: impl FnMut(usize, &[Draft]) -> Draft,
    ) -> Self {
        match self.names.iter().position(|known| known == name) {
            Some(at) => {
                for (row, cells) in self.rows.iter_mut().enumerate() {
                    cells[at] = cell(row, cells);
                }
            }
            None => {
                self.names.push(name.to_owned());
                for (row, cells) in self.rows.iter_mut().enumerate() {
                    let new = cell(row, cells);
                    cells.push(new);
                }
            }
        }
        self
    }
}

/// Writes a whole number of units as a decimal number.
pub(super) fn decimals(units: i32, places: u32) -> String {
    let unit = 10_i32.pow(places);
    let sign = if units < 0 { "-" } else { "" };
    let (whole, rest) = (units.abs() / unit, units.abs() % unit);
    format!("{sign}{whole}.{rest:0places$}", places = places as usize)
}

pub(super) fn word(text: impl Into<String>) -> Draft {
    Draft::Word(text.into())
}

pub(super) fn whole_draft(value: usize) -> Draft {
    Draft::Number(value.to_string())
}

/// Tables of each kind that people have.
pub(super) fn kinds() -> Vec<(&'static str, DraftTable)> {
    let all = [names_and_notes(), targets(), features(), times(), values()];
    all.into_iter().flatten().collect()
}

/// Odd names and texts.
fn names_and_notes() -> Vec<(&'static str, DraftTable)> {
    let base = || DraftTable::base(ROWS);
    let mut names = base().with("müll\"er, km", |row, _| whole_draft(row));
    names.names[0] = "größe [%]:{a}".to_owned();
    vec![
        ("plain", base()),
        (
            "quoted line breaks",
            base().with("note", |row, _| match row % 3 {
                0 => Draft::Empty,
                _ => word("line one\nline \"two\", with comma; and é"),
            }),
        ),
        ("special names", names),
    ]
}

/// Odd targets.
fn targets() -> Vec<(&'static str, DraftTable)> {
    let base = || DraftTable::base(ROWS);
    let few = |row: usize| ["yes", "no", "yes"][row % 3];
    vec![
        (
            "target missing",
            base().with("y", |row, cells| match row % 10 {
                0 => Draft::Empty,
                _ => cells[2].clone(),
            }),
        ),
        (
            "target of words that starts empty",
            base().with("y", |row, _| match row {
                0..5 => Draft::Empty,
                _ => word(few(row)),
            }),
        ),
        (
            "class of one row",
            base().with("y", |row, _| {
                whole_draft(if row == 7 { 2 } else { row % 2 })
            }),
        ),
        ("one class", base().with("y", |_, _| whole_draft(0))),
        (
            "one percent",
            base().with("y", |row, _| whole_draft(usize::from(row % 100 == 0))),
        ),
    ]
}

/// Codes and constants.
fn features() -> Vec<(&'static str, DraftTable)> {
    let base = || DraftTable::base(ROWS);
    let mut random = Rng::with_seed(6);
    let mut index = move |most: usize| random.usize(..most);
    vec![
        (
            "leading zeros",
            base().with("zip", |_, _| word(format!("{:05}", index(10_000)))),
        ),
        (
            "integer category",
            base().with("shop", |row, _| whole_draft(row * 7 % 40)),
        ),
        (
            "identifiers",
            base().with("user", |row, _| word(format!("u{row:06}"))),
        ),
        (
            "constant, empty, mixed",
            base()
                .with("const", |_, _| whole_draft(1))
                .with("empty", |_, _| Draft::Empty)
                .with("mixed", |row, _| {
                    if row % 2 == 1 {
                        whole_draft(3)
                    } else {
                        Draft::Empty
                    }
                }),
        ),
    ]
}

/// Times.
fn times() -> Vec<(&'static str, DraftTable)> {
    let base = || DraftTable::base(ROWS);
    vec![
        (
            "d/m/y",
            base().with("when", |row, _| {
                word(format!(
                    "{:02}/{:02}/2023 {:02}:00",
                    1 + row / 24 % 28,
                    1 + row / 672 % 12,
                    row % 24
                ))
            }),
        ),
        (
            "m/d/y",
            base().with("when", |row, _| {
                word(format!(
                    "{}/{}/23 {}:30 PM",
                    1 + row / 672 % 12,
                    1 + row / 24 % 28,
                    1 + row % 12
                ))
            }),
        ),
        (
            "ISO dates",
            base().with("when", |row, _| match row % 9 {
                0 => Draft::Empty,
                _ => word(format!(
                    "2023-{:02}-{:02}T12:00:00.5Z",
                    1 + row % 12,
                    1 + row % 28
                )),
            }),
        ),
        (
            "unix seconds",
            base().with("ts", |row, _| whole_draft(1_700_000_000 + row * 17)),
        ),
    ]
}

/// Missing, repeated, large and absent values.
fn values() -> Vec<(&'static str, DraftTable)> {
    let base = || DraftTable::base(ROWS);
    let mut five = base();
    five.rows = (0..5).flat_map(|_| five.rows.clone()).collect();
    vec![
        (
            "integers and booleans with missing",
            base()
                .with("qty", |row, _| {
                    if row % 7 == 0 {
                        Draft::Empty
                    } else {
                        whole_draft(row % 9)
                    }
                })
                .with("ok", |row, _| match row % 9 {
                    0 => Draft::Empty,
                    _ => word(if row % 2 == 0 { "True" } else { "False" }),
                }),
        ),
        (
            "leak",
            base().with("leak", |row, _| {
                Draft::Number(format!("{}.{:02}5", row % 2 * 100, row % 100))
            }),
        ),
        ("duplicates", five),
        (
            "large integers",
            base().with("account", |row, _| whole_draft((1 << 60) + row)),
        ),
        (
            "header only",
            DraftTable {
                rows: Vec::new(),
                ..base()
            },
        ),
    ]
}
