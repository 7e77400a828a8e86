//! What scenarios found: figures with their bars and verdicts, and plots. Written
//! as a table, as JSON, and as one HTML page.

mod page;
mod plot;

use crate::Result;
use serde_json::{Value, json};
use std::path::Path;

pub(crate) use plot::{Plot, Series};

/// The limit that a figure is held to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bar {
    AtMost(f64),
    AtLeast(f64),
}

/// Whether a figure met its bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Standing {
    Met,
    Missed,
    /// The measurement itself cannot be trusted.
    Void,
    /// There is no bar.
    Noted,
}

/// One figure.
pub(crate) struct Finding {
    pub case: String,
    /// What the figure is.
    pub name: &'static str,
    pub figure: f64,
    pub bar: Option<Bar>,
    /// Why the figure cannot be trusted.
    pub void: Option<String>,
    /// The figures that it was made of.
    pub detail: Value,
}

/// All that one scenario found.
pub(crate) struct Outcome {
    pub id: &'static str,
    pub title: &'static str,
    pub findings: Vec<Finding>,
    pub plots: Vec<Plot>,
}

impl Bar {
    fn text(self) -> String {
        match self {
            Self::AtMost(limit) => format!("≤ {}", number(limit)),
            Self::AtLeast(limit) => format!("≥ {}", number(limit)),
        }
    }
}

impl Standing {
    fn text(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "MISSED",
            Self::Void => "void",
            Self::Noted => "-",
        }
    }
}

impl Finding {
    /// A figure without doubts.
    pub(crate) fn new(
        case: String,
        name: &'static str,
        figure: f64,
        bar: Option<Bar>,
        detail: Value,
    ) -> Self {
        Self {
            case,
            name,
            figure,
            bar,
            void: None,
            detail,
        }
    }

    /// The same figure, not to be trusted where `why` is given.
    pub(crate) fn doubted(mut self, why: Option<String>) -> Self {
        self.void = self.void.or(why);
        self
    }

    pub(crate) fn standing(&self) -> Standing {
        let is_met = |bar| match bar {
            Bar::AtMost(limit) => self.figure <= limit,
            Bar::AtLeast(limit) => self.figure >= limit,
        };
        match self.bar {
            _ if self.void.is_some() => Standing::Void,
            None => Standing::Noted,
            // A figure that is no number meets nothing.
            Some(bar) if is_met(bar) => Standing::Met,
            Some(_) => Standing::Missed,
        }
    }

    fn json(&self) -> Value {
        json!({
            "case": self.case, "name": self.name, "figure": self.figure,
            "bar": self.bar.map(Bar::text), "verdict": self.standing().text(),
            "void": self.void, "detail": self.detail,
        })
    }
}

impl Outcome {
    fn json(&self) -> Value {
        let findings: Vec<Value> = self.findings.iter().map(Finding::json).collect();
        let plots: Vec<Value> = self.plots.iter().map(Plot::json).collect();
        json!({"scenario": self.id, "title": self.title, "findings": findings, "plots": plots})
    }

    /// The findings as lines of text.
    pub(crate) fn table(&self) -> String {
        let mut lines = vec![format!("\n{}  {}", self.id, self.title)];
        let width = self.findings.iter().map(|f| f.case.chars().count()).max();
        let width = width.unwrap_or_default();
        for finding in &self.findings {
            let bar = finding.bar.map(Bar::text).unwrap_or_default();
            let why = finding.void.as_deref().unwrap_or_default();
            lines.push(format!(
                "  {:width$}  {:<34} {:>9} {:>9}  {} {why}",
                finding.case,
                finding.name,
                number(finding.figure),
                bar,
                finding.standing().text(),
            ));
        }
        lines.join("\n")
    }
}

/// Writes `report.json` and `report.html` into `folder`.
pub(crate) fn write(folder: &Path, machine: &Value, outcomes: &[Outcome]) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let scenarios: Vec<Value> = outcomes.iter().map(Outcome::json).collect();
    let all = json!({"machine": machine, "scenarios": scenarios});
    std::fs::write(folder.join("report.json"), format!("{all:#}\n"))?;
    let page = page::page(machine, outcomes).into_string();
    std::fs::write(folder.join("report.html"), page)?;
    Ok(())
}

/// A number with the digits that a person reads.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "none".to_owned(),
        size if size < 1e6 && size.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 1e6 => format!("{value:.2e}"),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.01 => format!("{value:.2}"),
        _ => format!("{value:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(figure: f64, bar: Option<Bar>) -> Finding {
        Finding::new("a <b>".to_owned(), "ratio", figure, bar, json!({}))
    }

    #[test]
    fn verdicts_follow_the_bar() {
        let standing = |figure, bar| finding(figure, bar).standing();
        assert_eq!(standing(1.4, Some(Bar::AtMost(1.4))), Standing::Met);
        assert_eq!(standing(1.41, Some(Bar::AtMost(1.4))), Standing::Missed);
        assert_eq!(standing(0.98, Some(Bar::AtLeast(0.98))), Standing::Met);
        assert_eq!(standing(0.97, Some(Bar::AtLeast(0.98))), Standing::Missed);
        assert_eq!(standing(f64::NAN, Some(Bar::AtMost(9.0))), Standing::Missed);
        assert_eq!(standing(1.0, None), Standing::Noted);
        let void = finding(1.0, Some(Bar::AtMost(2.0))).doubted(Some("late".to_owned()));
        assert_eq!(void.standing(), Standing::Void);
    }

    #[test]
    fn numbers_are_as_long_as_they_need() {
        let texts = [0.0, 8.0, 1234.5, 12.34, 1.234, 0.001_234, 2e7, f64::NAN].map(number);
        let expected = ["0", "8", "1234", "12.3", "1.23", "1.2e-3", "2.00e7", "none"];
        assert_eq!(texts, expected);
    }

    #[test]
    fn report_holds_every_finding_and_escapes_text() {
        let folder = tempfile::tempdir().unwrap();
        let outcome = Outcome {
            id: "P1",
            title: "cost",
            findings: vec![finding(1.5, Some(Bar::AtMost(1.4)))],
            plots: vec![Plot {
                title: "t".to_owned(),
                x: "in flight",
                y: "µs",
                is_log: true,
                series: vec![Series {
                    name: "s".to_owned(),
                    points: vec![(1.0, 2.0), (64.0, 3.0)],
                }],
                level: Some(1.0),
            }],
        };
        assert!(outcome.table().contains("MISSED"), "{}", outcome.table());
        write(folder.path(), &json!({"cores": 2}), &[outcome]).unwrap();
        let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
        assert!(
            page.contains("a &lt;b&gt;") && page.contains("<svg"),
            "{page}"
        );
        let json = std::fs::read(folder.path().join("report.json")).unwrap();
        let json: Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["scenarios"][0]["findings"][0]["verdict"], "MISSED");
    }
}
