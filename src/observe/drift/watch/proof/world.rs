//! A simulated world: the columns that real tables have, as functions of time and of the rows before.
//! Healthy by itself; a defect changes one column from its start on.

use crate::core::hash::SplitMix;
use crate::core::model::{Dim, Signature, TensorSpec};
use crate::core::tensor::{DType, Strings, Tensor};
use std::f64::consts::TAU;

pub(super) const DAY: f64 = 86_400.0;
/// The world begins at this second since 1970, a Monday at midnight.
pub(super) const START: f64 = 1_735_516_800.0;

/// The columns of numbers.
pub(super) const NUMBERS: [&str; 16] = [
    "normal", "sticky", "slow", "steps", "daily", "trend", "tail", "zeros", "code", "same",
    "holes", "hour", "ts", "cauchy", "rounded", "paired",
];
/// The columns of words.
pub(super) const WORDS: [&str; 3] = ["region", "weekday", "merchant"];

/// Random numbers that are always the same.
#[derive(Clone)]
pub(super) struct Random(SplitMix);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        // Not a multiple of the generator's step, or the seeds would be parts of one sequence.
        Self(SplitMix(seed))
    }

    pub(super) fn next(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn normal(&mut self) -> f64 {
        let (a, b) = (self.next(), self.next());
        (-2.0 * (1.0 - a).ln()).sqrt() * (TAU * b).cos()
    }
}

/// What is wrong with one column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Defect {
    Nothing,
    /// The column is moved by so many of its standard deviations.
    Moved(&'static str, f64),
    /// The column is so many times what it was.
    Times(&'static str, f64),
    /// The column has one value.
    Stuck(&'static str, f64),
    /// A share of the values is missing.
    Missing(&'static str, f64),
    /// A share of the values is this code, which the baseline does not have.
    Code(f64, f64),
    /// A share of the regions is new.
    NewRegion(f64),
    /// A share of the rows of the first region comes from the second.
    OtherMix(f64),
    /// The column is moved by so many of its standard deviations in the rows of a region.
    MovedIn(&'static str, &'static str, f64),
    /// The paired column no longer goes with the normal one; each alone is as before.
    Parted,
}

/// One row.
pub(super) struct WorldRow {
    pub numbers: [f64; NUMBERS.len()],
    pub words: [String; WORDS.len()],
}

/// The state from which the next row follows.
#[derive(Clone)]
pub(super) struct SimulatedWorld {
    pub random: Random,
    sticky: f64,
    slow: f64,
    levels: Vec<f64>,
    is_hole: bool,
    merchants: u64,
}

impl SimulatedWorld {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        // The level of a column that changes with each month, within what months before showed.
        let mut levels: Vec<f64> = (0..12).map(|_| 0.5 * random.normal()).collect();
        let (least, greatest) = levels
            .iter()
            .fold((0.0_f64, 0.0_f64), |(a, b), v| (a.min(*v), b.max(*v)));
        levels.extend((0..4).map(|_| least + (greatest - least) * random.next()));
        Self {
            sticky: random.normal(),
            slow: random.normal(),
            levels,
            is_hole: false,
            merchants: 20_000,
            random,
        }
    }

    /// Draws the row of a moment, in seconds since 1970.
    pub(super) fn row(&mut self, time: f64, defect: Defect) -> WorldRow {
        let passed = time - START;
        let (day, month) = (passed / DAY, (passed / DAY / 30.0) as usize);
        let r = &mut self.random;
        self.sticky = 0.9 * self.sticky + 0.19_f64.sqrt() * r.normal();
        self.slow = 0.999 * self.slow + (1.0_f64 - 0.999 * 0.999).sqrt() * r.normal();
        // Values are missing in runs of about twenty rows, one in twenty of all.
        self.is_hole = if self.is_hole {
            r.next() >= 0.05
        } else {
            r.next() < 0.05 * 0.05 / 0.95
        };

        let hour = day.fract() * 24.0;
        let (normal, noise) = (r.normal(), r.normal());
        let numbers = [
            normal,
            self.sticky,
            self.slow,
            self.levels[month.min(self.levels.len() - 1)] + r.normal(),
            (day * TAU).sin() + 0.3 * (day / 7.0 * TAU).sin() + 0.5 * r.normal(),
            day / 30.0 + r.normal(),
            (2.0 + 1.5 * r.normal()).exp(),
            if r.next() < 0.88 {
                0.0
            } else {
                (6.0 + 1.5 * r.normal()).exp()
            },
            (1.0 + 8.0 * r.next().powi(2)).floor(),
            3.0,
            if self.is_hole { f64::NAN } else { r.normal() },
            hour.floor(),
            time.floor(),
            r.normal() / r.normal(),
            (r.normal() * 10.0).round() / 10.0,
            0.9 * normal + 0.19_f64.sqrt() * noise,
        ];

        let region = ["north", "south", "east", "west"][(r.next().powf(1.5) * 4.0) as usize];
        let weekday = [
            "Monday",
            "Tuesday",
            "Wednesday",
            "Thursday",
            "Friday",
            "Saturday",
            "Sunday",
        ][day as usize % 7];
        // One row in two hundred has a merchant that nobody saw before.
        let merchant = if r.next() < 0.005 {
            self.merchants += 1;
            self.merchants
        } else {
            (r.next().powi(4) * 20_000.0) as u64
        };
        let words = [region.into(), weekday.into(), format!("m{merchant}")];
        let mut row = WorldRow { numbers, words };
        self.spoil(&mut row, defect);
        row
    }

    fn spoil(&mut self, row: &mut WorldRow, defect: Defect) {
        let at = |name: &str| NUMBERS.iter().position(|n| *n == name).expect("a column");
        let chance = self.random.next();
        match defect {
            Defect::Nothing => {}
            Defect::Moved(name, by) => row.numbers[at(name)] += by,
            Defect::Times(name, by) => row.numbers[at(name)] *= by,
            Defect::Stuck(name, value) => row.numbers[at(name)] = value,
            Defect::Missing(name, share) => {
                if chance < share {
                    row.numbers[at(name)] = f64::NAN;
                }
            }
            Defect::MovedIn(region, name, by) => {
                if row.words[0] == region {
                    row.numbers[at(name)] += by;
                }
            }
            Defect::Parted => row.numbers[at("paired")] = self.random.normal(),
            Defect::Code(code, share) => {
                if chance < share {
                    row.numbers[at("code")] = code;
                }
            }
            Defect::NewRegion(share) => {
                if chance < share {
                    row.words[0] = "centre".into();
                }
            }
            Defect::OtherMix(share) => {
                if chance < share && row.words[0] == "north" {
                    row.words[0] = "south".into();
                }
            }
        }
    }
}

/// The signature of a model of these columns: an input for each, as the trainer makes them.
pub(super) fn signature() -> Signature {
    let spec = |name: &str, dtype| TensorSpec {
        name: name.to_owned(),
        dtype,
        shape: Some(vec![Dim::Dynamic, Dim::Fixed(1)]),
    };
    // A time since 1970 needs double precision.
    let dtype = |name: &str| {
        if name == "ts" { DType::F64 } else { DType::F32 }
    };
    let numbers = NUMBERS.iter().map(|name| spec(name, dtype(name)));
    let words = WORDS.iter().map(|name| spec(name, DType::String));
    Signature {
        inputs: numbers.chain(words).collect(),
        outputs: Vec::new(),
        ..Signature::default()
    }
}

/// Puts rows into the tensors of a request.
pub(super) fn tensors(rows: &[WorldRow]) -> Vec<Tensor> {
    let numbers = (0..NUMBERS.len()).map(|at| {
        if NUMBERS[at] == "ts" {
            let bytes: Vec<u8> = rows
                .iter()
                .flat_map(|r| r.numbers[at].to_le_bytes())
                .collect();
            return Tensor::fixed(DType::F64, vec![rows.len(), 1], bytes.into()).expect("fits");
        }
        let values: Vec<f32> = rows.iter().map(|r| r.numbers[at] as f32).collect();
        Tensor::from_f32(vec![rows.len(), 1], &values).expect("fits")
    });
    let words = (0..WORDS.len()).map(|at| {
        let text = Strings::from_parts(rows.iter().map(|r| r.words[at].as_str())).expect("text");
        Tensor::strings(vec![rows.len(), 1], text).expect("fits")
    });
    numbers.chain(words).collect()
}
