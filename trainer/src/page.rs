//! A page about a training run: what it learned from, how good the model is on
//! rows that it never saw, beside the champion, and what each gate said. Made of
//! the run's record and of points; one file, with nothing to fetch.

use ortus::observe::report::chart::{Series, bars, intervals, lines, number};
use ortus::observe::report::{STYLE, escape};
use serde_json::Value;
use std::fmt::Write;

/// Features that are drawn.
const FEATURES_MAX: usize = 25;

/// Points of a plot.
pub(crate) type Points = Vec<(f64, f64)>;

/// A line of a plot, or a cloud of dots.
#[derive(Debug)]
pub(crate) struct Line {
    pub name: String,
    pub is_joined: bool,
    pub points: Points,
}

/// A plot.
#[derive(Debug, Default)]
pub(crate) struct Figure {
    pub title: String,
    pub lines: Vec<Line>,
    /// What is at the left and the right.
    pub ends: (String, String),
}

/// How much worse than the champion a part of the rows is answered.
#[derive(Debug)]
pub(crate) struct Part {
    pub name: String,
    pub rows: usize,
    /// The lower bound, the mean and the upper bound.
    pub worse: (f64, f64, f64),
}

/// What a page is made of.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub record: Value,
    pub figures: Vec<Figure>,
    /// Of values: the shares of errors by size, with the middles.
    pub errors: Vec<(String, f64)>,
    /// The whole first, then the parts.
    pub parts: Vec<Part>,
}

/// Colours, in the order of series.
const COLOURS: [&str; 3] = ["now", "before", "other"];

/// Makes the page.
pub(crate) fn render(run: &Run) -> String {
    let record = &run.record;
    let word = |pointer: &str| match record.pointer(pointer) {
        Some(Value::String(word)) => escape(word),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => escape(&other.to_string()),
    };
    let mut body = format!(
        "<h1>{}</h1><p class=\"quiet\">run <code>{}</code></p>",
        word("/model"),
        word("/run")
    );
    let is_good = record["verdict"] == "pass";
    let class = if is_good { "good" } else { "bad" };
    let said = match record["verdict"].as_str() {
        Some("pass") => "Every gate that was set passed.",
        Some("fail") => "A gate failed: nothing was published.",
        _ => "A gate could not tell: nothing was published.",
    };
    let _ = write!(body, "<p class=\"verdict {class}\">{said}</p>");
    let facts = [
        ("why it ran", word("/trigger")),
        ("learned by", word("/algorithm")),
        (
            "rows learned from, stopped by, judged by",
            format!(
                "{}, {}, {}",
                word("/split/train"),
                word("/split/stop"),
                word("/split/test")
            ),
        ),
        ("split by", word("/split/by")),
        ("data", word("/data_digest")),
        ("held against version", word("/parent")),
    ];
    table(
        &mut body,
        facts
            .iter()
            .map(|(name, fact)| vec![(*name).to_owned(), fact.clone()]),
    );
    body.push_str("<h2>Gates</h2>");
    let gates = record["gates"].as_array().into_iter().flatten();
    let cell =
        |gate: &Value, key: &str| escape(&gate[key].as_str().unwrap_or_default().replace('_', " "));
    table(
        &mut body,
        gates.map(|g| {
            vec![
                cell(g, "name"),
                cell(g, "verdict"),
                escape(g["reason"].as_str().unwrap_or_default()),
            ]
        }),
    );
    measures(&mut body, record);
    parts(&mut body, &run.parts);
    body.push_str("<div class=\"plots\">");
    for figure in &run.figures {
        let series = figure
            .lines
            .iter()
            .zip(COLOURS)
            .map(|(line, class)| Series {
                name: &line.name,
                class,
                points: line.points.clone(),
                is_dots: !line.is_joined,
            });
        let series: Vec<Series<'_>> = series.collect();
        let (left, right) = &figure.ends;
        body.push_str(&lines(&figure.title, &series, left, right, None).into_string());
    }
    if !run.errors.is_empty() {
        let labels: Vec<String> = run.errors.iter().map(|(label, _)| label.clone()).collect();
        let shares: Vec<f64> = run.errors.iter().map(|(_, share)| *share).collect();
        let title = "Share of rows by size of the error";
        body.push_str(&bars(title, &labels, &[], &shares).into_string());
    }
    importances(&mut body, record);
    body.push_str("</div>");
    let key: String = COLOURS
        .iter()
        .zip([
            "this model",
            "the champion, or what would be perfect",
            "another",
        ])
        .map(|(class, what)| {
            format!(
                "<span style=\"background:{}\"></span>{what}",
                match *class {
                    "now" => "#2f6db5",
                    "before" => "#8a97a5",
                    _ => "#d98324",
                }
            )
        })
        .collect();
    let _ = write!(body, "<p class=\"key quiet\">{key}</p>");
    notes(&mut body, record);
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{}: a training run</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>\n",
        word("/model")
    )
}

fn table(body: &mut String, rows: impl Iterator<Item = Vec<String>>) {
    body.push_str("<table>");
    for row in rows {
        let cells: String = row.iter().map(|cell| format!("<td>{cell}</td>")).collect();
        let _ = write!(body, "<tr>{cells}</tr>");
    }
    body.push_str("</table>");
}

fn measures(body: &mut String, record: &Value) {
    body.push_str("<h2>On the rows that it is judged by</h2><table><tr><th>measure</th><th>this model</th><th>the champion</th></tr>");
    for (name, value) in record["metrics"].as_object().into_iter().flatten() {
        let shown = |v: &Value| v.as_f64().map_or_else(|| "-".to_owned(), number);
        let _ = write!(
            body,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escape(name),
            shown(value),
            shown(&record["champion_metrics"][name])
        );
    }
    body.push_str("</table>");
}

fn parts(body: &mut String, parts: &[Part]) {
    if parts.is_empty() {
        return;
    }
    body.push_str("<h2>Beside the champion, row by row</h2><p class=\"quiet\">How much worse than the champion, with the bounds that gates look at; below 0 is better.</p>");
    let drawn: Vec<(String, (f64, f64, f64))> = parts
        .iter()
        .map(|p| (format!("{} ({} rows)", p.name, p.rows), p.worse))
        .collect();
    body.push_str(&intervals("worse by", &drawn).into_string());
}

fn importances(body: &mut String, record: &Value) {
    let all = record["importances"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if all.is_empty() {
        return;
    }
    let shown = &all[..all.len().min(FEATURES_MAX)];
    let labels: Vec<String> = shown
        .iter()
        .map(|one| one[0].as_str().unwrap_or_default().to_owned())
        .collect();
    let shares: Vec<f64> = shown
        .iter()
        .map(|one| one[1].as_f64().unwrap_or(0.0))
        .collect();
    body.push_str(&bars("Feature importance", &labels, &[], &shares).into_string());
    let rows = shown
        .iter()
        .zip(&labels)
        .map(|(one, label)| vec![escape(label), number(one[1].as_f64().unwrap_or(0.0))]);
    body.push_str("</div><h3>Feature importance</h3><div>");
    table(body, rows);
}

fn notes(body: &mut String, record: &Value) {
    let notes = record["notes"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if notes.is_empty() {
        return;
    }
    let items: String = notes
        .iter()
        .map(|n| format!("<li>{}</li>", escape(n.as_str().unwrap_or_default())))
        .collect();
    let _ = write!(body, "<h3>Notes</h3><ul>{items}</ul>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_page_holds_what_happened_and_nothing_that_runs() {
        let evil = "<script>alert(1)</script>";
        let record = json!({
            "model": "m", "run": "sha256:ab", "verdict": "fail", "metrics": {"auc": 0.5}, "champion_metrics": {"auc": 0.75},
            "gates": [{"name": "bound", "verdict": "fail", "reason": evil}],
            "importances": [[evil, 0.75], ["b", 0.25]], "notes": [evil],
        });
        let figure = Figure {
            title: evil.to_owned(),
            lines: vec![Line {
                name: evil.to_owned(),
                is_joined: true,
                points: vec![(0.0, 0.0), (0.5, 0.8), (1.0, 1.0)],
            }],
            ends: ("0".to_owned(), evil.to_owned()),
        };
        let part = Part {
            name: evil.to_owned(),
            rows: 10,
            worse: (-0.1, 0.0, 0.2),
        };
        let page = render(&Run {
            record,
            figures: vec![figure],
            errors: vec![(evil.to_owned(), 1.0)],
            parts: vec![part],
        });
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
        assert!(
            page.contains("A gate failed")
                && page.contains("0.75")
                && page.matches("<svg").count() == 4,
            "{page}"
        );
    }
}
