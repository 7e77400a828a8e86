//! Tests with rows, baselines and clocks that nobody means to have: the monitor stays right, and says
//! what it cannot know. In virtual time.

use super::baseline::Baseline;
use super::incident::IncidentLog;
use super::layout::Side;
use super::profile::profile;
use super::series::ColumnSeries;
use super::settings::MonitorSettings;
use super::watch::VersionWatch;
use super::watch::tests::{Random, baseline, subject};
use crate::core::tensor::{Strings, Tensor};
use crate::observe::report::drift::{ColumnDrift, VersionDrift};
use crate::observe::report::incident::Incident;
use crate::observe::report::status;
use chrono::{DateTime, TimeDelta, Utc};
use std::time::{Duration, Instant};

/// Rows of a request.
const ROWS: usize = 100;

/// A served version and its clocks: a request each second.
struct Served {
    watch: VersionWatch,
    incidents: IncidentLog,
    now: Instant,
    wall: DateTime<Utc>,
    random: Random,
}

type OddRow<'r> = &'r dyn Fn(&mut Random) -> ([f32; 2], &'static str);

fn settings() -> MonitorSettings {
    MonitorSettings::default()
}

fn usual(random: &mut Random) -> ([f32; 2], &'static str) {
    let word = ["red", "green", "blue"][(random.next() * 3.0) as usize];
    ([random.normal() as f32, random.next() as f32], word)
}

/// A baseline of such rows, as `profile` makes it.
fn baseline_of(rows: usize, row: OddRow<'_>) -> Baseline {
    let mut random = Random(3);
    let rows: Vec<_> = (0..rows).map(|_| row(&mut random)).collect();
    let numbers =
        |at: usize| ColumnSeries::Numbers(rows.iter().map(|(x, _)| f64::from(x[at])).collect());
    let sums = rows.iter().map(|(x, _)| f64::from(x[0] + x[1])).collect();
    let words = rows.iter().map(|(_, word)| (*word).to_owned()).collect();
    let inputs = vec![
        profile("x[0]", &numbers(0)),
        profile("x[1]", &numbers(1)),
        profile("word", &ColumnSeries::Words(words)),
    ];
    let outputs = vec![profile("y", &ColumnSeries::Numbers(sums))];
    let made = Baseline::of_columns(rows.len() as u64, inputs, outputs);
    // What is written must be readable.
    Baseline::read(&made.write()).expect("it reads its own")
}

impl Served {
    fn new(baseline: Option<Baseline>) -> Self {
        let now = Instant::now();
        Self {
            watch: VersionWatch::new(subject(baseline), 1, now).expect("fits"),
            incidents: IncidentLog::default(),
            now,
            wall: DateTime::from_timestamp(1_764_547_200, 0).expect("a time"),
            random: Random(11),
        }
    }

    /// Serves requests, and returns what the incidents tell.
    fn serve(&mut self, requests: usize, row: OddRow<'_>) -> Vec<Incident> {
        let mut told = Vec::new();
        for _ in 0..requests {
            let rows: Vec<_> = (0..ROWS).map(|_| row(&mut self.random)).collect();
            let numbers: Vec<f32> = rows.iter().flat_map(|(x, _)| *x).collect();
            let words = Strings::from_parts(rows.iter().map(|(_, word)| *word)).expect("text");
            let answers: Vec<f32> = rows.iter().map(|(x, _)| x[0] + x[1]).collect();
            let inputs = [
                Tensor::from_f32(vec![ROWS, 2], &numbers).expect("fits"),
                Tensor::strings(vec![ROWS], words).expect("fits"),
            ];
            let outputs = [Tensor::from_f32(vec![ROWS], &answers).expect("fits")];
            self.watch.contracts.count(Side::Input, &inputs);
            self.watch.contracts.count(Side::Output, &outputs);
            let at = (self.now, &settings());
            self.watch.observe(&inputs, &outputs, at);
            told.extend(self.tick(Duration::from_secs(1)));
        }
        told
    }

    /// Lets both clocks go on.
    fn tick(&mut self, time: Duration) -> Vec<Incident> {
        self.now += time;
        self.wall += TimeDelta::from_std(time).expect("short");
        let hour = u64::try_from(self.wall.timestamp() / 3_600).expect("after 1970");
        drop(self.watch.advance(self.now, hour, &settings()));
        let report = self.watch.report(&settings());
        self.incidents.step(&report, self.wall)
    }

    /// The report, which must be valid JSON that reads back.
    fn report(&self) -> VersionDrift {
        let report = self.watch.report(&settings());
        let text = serde_json::to_string(&report).expect("JSON");
        let read: VersionDrift = serde_json::from_str(&text).expect("reads back");
        assert_eq!(read.columns.len(), report.columns.len());
        report
    }
}

/// The sentences that were sent.
fn told(incidents: &[Incident]) -> Vec<&str> {
    incidents.iter().map(|i| i.summary.as_str()).collect()
}

/// Names the columns of incidents.
fn columns(incidents: &[Incident]) -> Vec<&str> {
    let all = incidents.iter().flat_map(|incident| &incident.columns);
    all.map(|column| column.name.as_str()).collect()
}

#[test]
fn a_baseline_of_three_rows_never_cries_wolf_and_says_what_it_cannot_show() {
    let mut served = Served::new(Some(baseline_of(3, &usual)));
    assert_eq!(told(&served.serve(600, &usual)), Vec::<&str>::new());
    let report = served.report();
    let coarse = status::coarse(&report);
    let named: Vec<&str> = coarse.iter().map(|(name, _)| *name).collect();
    assert_eq!(named, ["x[0]", "x[1]", "word", "y"], "{coarse:?}");
    // No distance is greater than 1, so nothing can be shown.
    assert!(coarse.iter().all(|(_, smallest)| *smallest == 1.0));
}

#[test]
fn a_fault_in_every_row_is_told_whatever_the_baseline_is() {
    let mut served = Served::new(Some(baseline_of(3, &usual)));
    served.serve(60, &usual);
    let sent = served.serve(60, &|random| ([f32::NAN, usual(random).0[1]], "red"));
    assert!(columns(&sent).contains(&"x[0]"), "{:?}", told(&sent));
}

#[test]
fn a_baseline_in_which_everything_is_missing_is_kept_and_shows_that_values_came() {
    let nothing: OddRow<'_> = &|_| ([f32::NAN, f32::NAN], "");
    let mut served = Served::new(Some(baseline_of(1_000, nothing)));
    assert_eq!(told(&served.serve(300, nothing)), Vec::<&str>::new());
    let sent = served.serve(300, &usual);
    for name in ["x[0]", "x[1]", "word"] {
        assert!(columns(&sent).contains(&name), "{name}: {:?}", told(&sent));
    }
}

#[test]
fn a_column_that_turns_constant_is_told_as_such() {
    let mut served = Served::new(Some(baseline()));
    served.serve(100, &usual);
    let sent = served.serve(100, &|random| ([0.25, usual(random).0[1]], usual(random).1));
    let first = told(&sent)[0];
    let expected = "x[0] has the same value in every row";
    assert!(first.starts_with(expected), "{first}");
}

#[test]
fn a_column_that_turns_infinite_is_told_and_harms_no_statistic() {
    let mut served = Served::new(Some(baseline()));
    served.serve(100, &usual);
    for bad in [f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
        let sent = served.serve(100, &|random| ([usual(random).0[0], bad], usual(random).1));
        assert!(columns(&sent).contains(&"x[1]"), "{bad}: {:?}", told(&sent));
        served.serve(2_000, &usual);
        let report = served.report();
        let raised = report.columns.iter().filter(|column| column.alarms() > 0);
        let of = |c: &ColumnDrift| -> Vec<String> {
            let tests = c.tests.iter().filter(|test| test.alarm);
            let tests = tests.map(|test| format!("{test:?}"));
            let breaches = c.breaches.iter().map(|breach| format!("{breach:?}"));
            tests.chain(breaches).collect()
        };
        let raised: Vec<_> = raised.map(|c| (&c.name, of(c))).collect();
        assert!(raised.is_empty(), "{bad}: it is over, but {raised:?}");
    }
}

#[test]
fn healthy_rows_stay_healthy_whatever_the_wall_clock_does() {
    let mut served = Served::new(Some(baseline()));
    served.serve(200, &usual);
    let day = 24 * 60;
    // A day back, a year on and back, an hour to and fro, and before 1980.
    for minutes in [-day, 365 * day, -365 * day, 60, -60, -45 * 365 * day] {
        served.wall += TimeDelta::minutes(minutes);
        let sent = served.serve(200, &usual);
        assert_eq!(told(&sent), Vec::<&str>::new(), "{minutes} minutes");
    }
    let sent = served.serve(60, &|random| ([9.0, usual(random).0[1]], usual(random).1));
    assert!(columns(&sent).contains(&"x[0]"), "{:?}", told(&sent));
}

#[test]
fn a_pause_of_the_monotonic_clock_closes_no_window_and_makes_no_alarm() {
    let mut served = Served::new(Some(baseline()));
    served.serve(200, &usual);
    let windows = served.report().windows;
    // Asleep for a week: no rows. Then a clock that stands: every row in the same moment.
    assert_eq!(
        told(&served.tick(Duration::from_secs(604_800))),
        Vec::<&str>::new()
    );
    assert_eq!(served.report().windows, windows);
    let at = served.now;
    for _ in 0..200 {
        served.now = at;
        let sent = served.serve(1, &usual);
        assert_eq!(told(&sent), Vec::<&str>::new());
    }
    served.now = at;
    let sent = served.serve(200, &|random| ([9.0, usual(random).0[1]], usual(random).1));
    assert!(columns(&sent).contains(&"x[0]"), "{:?}", told(&sent));
}
