//! The evidence page of a run as HTML: data, metrics beside those of the champion,
//! gates and plots. One file without external resources.

#[cfg(test)]
mod tests;

use crate::gate::Verdict;
use crate::record::{Importance, RunRecord, text_of};
use ortus::observe::report::chart::{Series, bars, intervals, lines, number};
use ortus::observe::report::{STYLE, escape};
use std::fmt::Write;

/// The most features that are drawn.
const FEATURES_MAX: usize = 25;

/// The points of a plot.
pub(crate) type Points = Vec<(f64, f64)>;

/// A line or a scatter of a plot.
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
    /// The labels of the left and the right end.
    pub ends: (String, String),
}

/// The difference of loss to the champion on a slice.
#[derive(Debug)]
pub(crate) struct Part {
    pub name: String,
    pub rows: usize,
    /// The lower bound, the mean and the upper bound.
    pub worse: (f64, f64, f64),
}

/// The content of a page.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub record: RunRecord,
    pub figures: Vec<Figure>,
    /// For regression: the shares of errors by size, with the middle of each bin.
    pub errors: Vec<(String, f64)>,
    /// All rows first, then the slices.
    pub parts: Vec<Part>,
}

/// Colours, in the order of series.
const COLOURS: [&str; 3] = ["now", "before", "other"];

/// Renders the page.
pub(crate) fn render(run: &Run) -> String {
    let record = &run.record;
    let model = escape(&text_of(&record.model));
    let mut body = format!(
        "<h1>{model}</h1><p class=\"quiet\">run <code>{}</code></p>",
        escape(&text_of(&record.run))
    );
    let (class, said) = match record.verdict.value() {
        Some(Verdict::Pass) => ("good", "All gates passed."),
        Some(Verdict::Fail) => ("bad", "A gate failed: nothing was published."),
        _ => ("bad", "A gate was inconclusive: nothing was published."),
    };

    let _ = write!(body, "<p class=\"verdict {class}\">{said}</p>");
    let facts = [
        ("trigger", text_of(&record.trigger)),
        ("algorithm", text_of(&record.algorithm)),
        ("training, stopping and test rows", record.split_rows()),
        ("split by", record.split_by()),
        ("data", text_of(&record.data_digest)),
        ("compared with version", text_of(&record.parent)),
    ];

    let rows = facts
        .iter()
        .map(|(name, fact)| [(*name).to_owned(), escape(fact)].into());
    table(&mut body, rows);

    body.push_str("<h2>Gates</h2>");
    let rows = record.gates().iter().map(|gate| {
        let (name, verdict) = (gate.name.as_str(), gate.verdict.word());
        let cells = [name, verdict].map(|cell| escape(&cell.replace('_', " ")));
        [cells.as_slice(), &[escape(&gate.reason)]].concat()
    });

    table(&mut body, rows);

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
        let title = "Prediction errors, as shares of rows";
        body.push_str(&bars(title, &labels, &[], &shares).into_string());
    }

    importances(&mut body, record);
    body.push_str("</div>");
    let key: String = COLOURS
        .iter()
        .zip(["this model", "the champion, or a perfect model", "another"])
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
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{}: training run</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>\n",
        model
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

fn measures(body: &mut String, record: &RunRecord) {
    body.push_str("<h2>Metrics on the test rows</h2><table><tr><th>measure</th><th>this model</th><th>the champion</th></tr>");
    for (name, value) in record.metrics() {
        let champion = record.champion_metrics.value();
        let champion = champion.and_then(|metrics| metrics.value(name));
        let _ = write!(
            body,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escape(name),
            shown(Some(value)),
            shown(champion)
        );
    }

    body.push_str("</table>");
}

fn shown(value: Option<f64>) -> String {
    value
        .filter(|value| !value.is_nan())
        .map_or_else(|| "-".to_owned(), number)
}

fn parts(body: &mut String, parts: &[Part]) {
    if parts.is_empty() {
        return;
    }
    body.push_str("<h2>Comparison with the champion</h2><p class=\"quiet\">Loss of this model minus loss of the champion, row by row, with the confidence bounds that gates use. Below 0 is better.</p>");
    let drawn: Vec<(String, (f64, f64, f64))> = parts
        .iter()
        .map(|p| (format!("{} ({} rows)", p.name, p.rows), p.worse))
        .collect();
    body.push_str(&intervals("difference of loss", &drawn).into_string());
}

fn importances(body: &mut String, record: &RunRecord) {
    let all = record.importances();
    if all.is_empty() {
        return;
    }
    let shown = &all[..all.len().min(FEATURES_MAX)];
    let labels: Vec<String> = shown
        .iter()
        .map(|Importance(feature, _)| feature.clone())
        .collect();
    let shares: Vec<f64> = shown.iter().map(|Importance(_, share)| *share).collect();

    body.push_str(&bars("Feature importance", &labels, &[], &shares).into_string());
    let rows = labels
        .iter()
        .zip(&shares)
        .map(|(label, share)| vec![escape(label), number(*share)]);
    body.push_str("</div><h3>Feature importance</h3><div>");

    table(body, rows);
}

fn notes(body: &mut String, record: &RunRecord) {
    let notes = record.notes();
    if notes.is_empty() {
        return;
    }
    let items: String = notes
        .iter()
        .map(|n| format!("<li>{}</li>", escape(n)))
        .collect();
    let _ = write!(body, "<h3>Notes</h3><ul>{items}</ul>");
}
