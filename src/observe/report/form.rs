//! The report that a page is made of, as the operator listener gives it.

use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
pub(super) struct Report {
    pub time: u64,
    pub hours: u64,
    pub watched: Vec<Watched>,
    pub measured: Vec<Measured>,
    pub times: BTreeMap<String, Vec<(f64, u64)>>,
}

#[derive(Deserialize)]
pub(super) struct Watched {
    pub model: String,
    pub version: u64,
    pub digest: String,
    pub baseline: String,
    pub baseline_rows: u64,
    pub rows: u64,
    pub sampled_rows: u64,
    pub windows: u64,
    pub columns: Vec<Column>,
    pub estimated: Option<Estimated>,
    pub shown: Shown,
}

#[derive(Deserialize)]
pub(super) struct Column {
    pub name: String,
    pub side: String,
    pub contract: BTreeMap<String, u64>,
    pub hints: Hints,
    pub tests: Vec<Test>,
}

#[derive(Deserialize)]
pub(super) struct Hints {
    pub constant: bool,
    pub scale: Option<f64>,
}

#[derive(Deserialize)]
pub(super) struct Test {
    pub metric: String,
    pub against: String,
    pub value: f64,
    pub lower: f64,
    pub threshold: f64,
    pub rows: u64,
    pub alarm: bool,
}

#[derive(Deserialize)]
pub(super) struct Estimated {
    pub rows: u64,
    pub measures: BTreeMap<String, f64>,
    pub margin: Option<f64>,
    pub calibrated: Option<bool>,
    pub assumption: String,
}

#[derive(Deserialize)]
pub(super) struct Shown {
    pub pictures: Vec<Picture>,
    pub history: Vec<Point>,
    pub calibration: Option<serde_json::Value>,
    pub performance: Option<BTreeMap<String, f64>>,
}

#[derive(Deserialize)]
pub(super) struct Picture {
    pub name: String,
    pub side: String,
    pub importance: Option<f64>,
    pub edges: Vec<f64>,
    pub words: Vec<String>,
    pub before: Vec<u64>,
    pub before_missing: u64,
    pub now: Vec<u64>,
    pub now_missing: u64,
}

#[derive(Deserialize)]
pub(super) struct Point {
    pub time: u64,
    pub columns: Vec<Option<(f64, f64)>>,
    pub estimated: Option<f64>,
}

#[derive(Deserialize)]
pub(super) struct Measured {
    pub version: u64,
    pub digest: String,
    pub window_days: u64,
    pub window: Summary,
    pub days: Vec<Summary>,
    pub slices: Vec<Part>,
    pub reliability: Vec<(f64, f64, u64)>,
    pub alarm: bool,
    pub loss_allowed: Option<f64>,
}

#[derive(Deserialize)]
pub(super) struct Summary {
    pub from: String,
    pub labelled_rows: u64,
    pub maturity: Option<f64>,
    pub measures: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
pub(super) struct Part {
    pub slice: String,
    pub part: String,
    pub rows: u64,
    pub measures: BTreeMap<String, f64>,
}
