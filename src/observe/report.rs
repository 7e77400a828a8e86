//! A page about a model, for a person who has never seen Ortus: what it was
//! made of and what it is asked now, how good it is, and what needs a look. One
//! file, with nothing to fetch and nothing to run. Made of the operator
//! listener's report; asks nobody.

pub mod alarm;
pub mod chart;
pub mod drift;
pub mod model;
pub mod performance;

#[cfg(test)]
mod tests;

use crate::observe::drift::alarm::{Against, Metric};
use crate::observe::drift::layout::Side;
use chart::{Series, bars, lines, number};
use drift::{BaselineSource, ColumnDrift, ColumnHistogram, DriftCharts, DriftTest, VersionDrift};
use model::{ModelReport, VersionReport};
use performance::{CohortPerformance, MeasuredPerformance};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Columns that are drawn; the others are listed.
const DRAWN_MAX: usize = 40;

/// Makes the page of a report.
pub(crate) fn render(report: &ModelReport) -> String {
    let name = report
        .watched
        .first()
        .map(|w| escape(&w.drift.model))
        .unwrap_or_default();
    let mut body = format!(
        "<h1>{name}</h1><p class=\"quiet\">Made {} from what the server has seen; lines go back {} hours at most.</p>",
        time(report.time),
        report.hours
    );
    for watched in &report.watched {
        let measured = report
            .measured
            .iter()
            .find(|m| m.version == watched.drift.version && m.digest == watched.drift.digest);
        let times = report.times.get(&watched.drift.version.to_string());
        version(&mut body, watched, measured, times);
    }
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{name}: how the model does</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )
}

/// Style sheet of every page.
pub const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;color:#1d2733;background:#fff;margin:0}\
main{max-width:1340px;margin:0 auto;padding:24px}h1{margin:0}h2{margin:36px 0 4px;border-top:1px solid #d7dde4;padding-top:24px}\
h3{margin:28px 0 4px}.quiet{color:#5b6875}.good{background:#e7f5ec;border-left:4px solid #2c8a55}\
.bad{background:#fdeceb;border-left:4px solid #c4382e}.verdict{padding:10px 14px;margin:12px 0}\
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(380px,1fr));gap:12px}figure{margin:0}\
figcaption{font-size:13px;text-align:center;color:#3b4855}svg{width:100%;height:auto;font-size:10px}\
svg text{fill:#5b6875}svg text.end{text-anchor:end}.grid{stroke:#e3e8ed}.level{stroke:#c4382e;stroke-dasharray:4 3}\
rect.before{fill:#b7c3cf}rect.now{fill:#2f6db5}polyline{fill:none;stroke-width:1.6}polyline.now,circle.now{stroke:#2f6db5}\
circle.now{fill:#2f6db5}polyline.before,circle.before{stroke:#8a97a5}circle.before{fill:#8a97a5}polyline.other{stroke:#d98324}circle.other{fill:#d98324}\
table{border-collapse:collapse;margin:8px 0}th,td{text-align:left;padding:3px 14px 3px 0;border-bottom:1px solid #e3e8ed;vertical-align:top}\
td.n{text-align:right;font-variant-numeric:tabular-nums}code{font-size:13px;word-break:break-all}\
.key span{display:inline-block;width:12px;height:12px;margin:0 4px 0 12px;vertical-align:-1px}";

fn version(
    body: &mut String,
    watched: &VersionReport,
    measured: Option<&MeasuredPerformance>,
    times: Option<&Vec<(f64, u64)>>,
) {
    let VersionDrift {
        version,
        digest,
        rows,
        sampled_rows,
        windows,
        baseline,
        baseline_rows,
        ..
    } = &watched.drift;
    let origin = match baseline {
        BaselineSource::Training => {
            format!("{baseline_rows} rows that came with the model, from when it was made")
        }
        BaselineSource::Own => {
            format!("the first {baseline_rows} rows that it was asked, for none came with it")
        }
        BaselineSource::Gathering => "nothing yet: its first rows are being gathered".to_owned(),
    };
    let _ = write!(
        body,
        "<h2>Version {version}</h2><p class=\"quiet\"><code>{}</code><br>{rows} rows answered, {sampled_rows} of them counted, in {windows} windows. Compared with {origin}.</p>",
        escape(digest)
    );
    verdict(body, watched, measured);
    goodness(body, watched, measured);
    drift(body, watched);
    quality(body, watched);
    speed(body, times);
}

/// What a person should know first.
fn verdict(body: &mut String, watched: &VersionReport, measured: Option<&MeasuredPerformance>) {
    let mut found: Vec<String> = Vec::new();
    if measured.is_some_and(|m| m.alarm) {
        found.push(
            "Labels say that the model is wrong more often than it was when it was made."
                .to_owned(),
        );
    }
    for column in &watched.drift.columns {
        let name = escape(&column.name);
        // The one that says most: how many times over what matters it is, at least.
        let surest = |t: &&DriftTest| t.lower / t.threshold.max(f64::MIN_POSITIVE);
        let raised = column
            .tests
            .iter()
            .filter(|t| t.alarm)
            .max_by(|a, b| surest(a).total_cmp(&surest(b)));
        if let Some(first) = raised {
            let against = if first.against == Against::LastWeek {
                "the same hour a week ago"
            } else {
                "the baseline"
            };
            let side = if column.side == Side::Input {
                "What the model is asked"
            } else {
                "What it answers"
            };
            found.push(format!(
                "{side} has changed: <b>{name}</b> is not distributed as in {against} ({} is {}, at least {} with the promised certainty; {} would matter; {} rows).",
                metric(first.metric),
                number(first.value),
                number(first.lower),
                number(first.threshold),
                first.rows
            ));
        }
        if let Some(scale) = column.hints.scale {
            found.push(format!(
                "<b>{name}</b> looks as if it were in another unit: {} times what it was.",
                number(scale)
            ));
        }
        if column.hints.constant {
            found.push(format!(
                "<b>{name}</b> has the same value in every row, which it had not before."
            ));
        }
    }
    if found.is_empty() {
        let text = if watched.drift.windows == 0 {
            "Too few rows were seen to say anything yet."
        } else {
            "Nothing needs a look: what the model is asked and what it answers is as it was."
        };
        let _ = write!(body, "<p class=\"verdict good\">{text}</p>");
        return;
    }
    let things = if found.len() == 1 {
        "One thing needs".to_owned()
    } else {
        format!("{} things need", found.len())
    };
    let items: String = found.iter().map(|f| format!("<li>{f}</li>")).collect();
    let _ = write!(
        body,
        "<div class=\"verdict bad\">{things} a look.<ul>{items}</ul></div>"
    );
}

/// How a distance is called in a sentence.
fn metric(metric: Metric) -> &'static str {
    match metric {
        Metric::Ks => "the largest gap between the two distributions",
        Metric::Wasserstein => "the mean distance that values moved, in interquartile ranges,",
        Metric::Psi => "the population stability index",
        Metric::Js => "the Jensen-Shannon distance",
        Metric::Largest => "the largest change of a category's share",
        Metric::Missing => "the change of the share of missing values",
    }
}

fn goodness(body: &mut String, watched: &VersionReport, measured: Option<&MeasuredPerformance>) {
    let then = watched.shown.performance.as_ref().filter(|p| !p.is_empty());
    let measured = measured.filter(|m| m.window.labelled_rows > 0);
    let estimated = watched.drift.estimated.as_ref();
    if then.is_none() && measured.is_none() && estimated.is_none() {
        return;
    }
    body.push_str("<h3>How good it is</h3>");
    let mut names: Vec<&String> = Vec::new();
    let found = [
        measured.map(|m| &m.window.measures),
        estimated.map(|e| &e.measures),
    ];
    found
        .into_iter()
        .flatten()
        .flat_map(BTreeMap::keys)
        .for_each(|name| {
            if !names.contains(&name) {
                names.push(name);
            }
        });
    body.push_str(
        "<table><tr><th></th><th>when it was made</th><th>measured by labels</th><th>estimated without</th></tr>",
    );
    let cell = |of: Option<&BTreeMap<String, f64>>, name: &str| {
        of.and_then(|m| m.get(name))
            .map_or_else(String::new, |v| number(*v))
    };
    for name in names {
        let _ = write!(
            body,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escape(&name.replace('_', " ")),
            cell(then, name),
            cell(measured.map(|m| &m.window.measures), name),
            cell(estimated.map(|e| &e.measures), name)
        );
    }
    body.push_str("</table>");
    if let Some(m) = measured {
        let share = m.window.maturity.map_or_else(String::new, |s| {
            format!(", {} % of the rows that could have one", number(s * 100.0))
        });
        let bound = m.loss_allowed.map_or_else(String::new, |b| {
            format!(
                " It may lose {} % of its rows before it is called worse.",
                number(b * 100.0)
            )
        });
        let _ = write!(
            body,
            "<p class=\"quiet\">Measured on {} rows with labels, predicted within the last {} days{share}.{bound}</p>",
            m.window.labelled_rows, m.window_days
        );
    }
    if let Some(e) = estimated {
        let (how, of) = match e.calibrated {
            Some(true) => ("by how often its scores were right", "accuracy"),
            Some(false) => (
                "taking its scores as they are, for no calibration came with it",
                "accuracy",
            ),
            None => ("by the errors that its companion expects", "mae"),
        };
        let margin = e
            .margin
            .map_or_else(String::new, |m| format!("; {of} ± {}", number(m)));
        let _ = write!(
            body,
            "<p class=\"quiet\">Estimated on {} rows, {how}{margin}. An estimate {}.</p>",
            e.rows,
            escape(&e.assumption)
        );
    }
    body.push_str("<div class=\"plots\">");
    over_time(body, watched, measured);
    if let Some(m) = measured.filter(|m| !m.reliability.is_empty()) {
        reliability(body, watched, m);
    }
    body.push_str("</div>");
    if let Some(m) = measured.filter(|m| !m.slices.is_empty()) {
        slices(body, m);
    }
}

fn over_time(body: &mut String, watched: &VersionReport, measured: Option<&MeasuredPerformance>) {
    let estimated: Vec<(f64, f64)> = watched
        .shown
        .history
        .iter()
        .filter_map(|p| Some((p.time as f64, p.estimated?)))
        .collect();
    let now = watched
        .shown
        .history
        .last()
        .map_or(f64::INFINITY, |p| p.time as f64);
    let day = |s: &CohortPerformance| {
        let begun = chrono::DateTime::parse_from_rfc3339(&s.from.replace('Z', ":00Z"))
            .ok()?
            .timestamp();
        let name = if s.measures.contains_key("accuracy") {
            "accuracy"
        } else {
            "mae"
        };
        // At its end, or where that is still to come, now.
        Some(((begun as f64 + 86_400.0).min(now), *s.measures.get(name)?))
    };
    let real: Vec<(f64, f64)> = measured
        .iter()
        .flat_map(|m| &m.days)
        .filter_map(day)
        .collect();
    let told = [
        measured.map(|m| &m.window.measures),
        watched.drift.estimated.as_ref().map(|e| &e.measures),
    ];
    let of_values = told.into_iter().flatten().any(|m| m.contains_key("mae"));
    let what = if of_values {
        "mean absolute error"
    } else {
        "accuracy"
    };
    if estimated.is_empty() && real.is_empty() {
        return;
    }
    let ends = ends(estimated.iter().chain(&real).map(|p| p.0));
    let series = [
        Series {
            name: "estimated",
            class: "other",
            points: estimated,
            is_dots: false,
        },
        Series {
            name: "measured by day",
            class: "now",
            points: real,
            is_dots: true,
        },
    ];
    let title = format!("{what} over time: measured by labels (dots), estimated (line)");
    body.push_str(&lines(&title, &series, (&ends.0, &ends.1), None));
}

fn reliability(body: &mut String, watched: &VersionReport, measured: &MeasuredPerformance) {
    let dots = measured
        .reliability
        .iter()
        .map(|(score, share, _)| (*score, *share))
        .collect();
    // The first curve is enough to see.
    let curves = watched.shown.calibration.as_deref().unwrap_or_default();
    let curve = curves.first().map(|c| c.points.clone()).unwrap_or_default();
    let series = [
        Series {
            name: "a score that means what it says",
            class: "before",
            points: vec![(0.0, 0.0), (1.0, 1.0)],
            is_dots: false,
        },
        Series {
            name: "when it was made",
            class: "other",
            points: curve,
            is_dots: false,
        },
        Series {
            name: "rows with labels",
            class: "now",
            points: dots,
            is_dots: true,
        },
    ];
    body.push_str(&lines(
        "calibration: how often a score was right. Dots below the diagonal are too sure",
        &series,
        ("score 0", "score 1"),
        None,
    ));
}

fn slices(body: &mut String, measured: &MeasuredPerformance) {
    let names: Vec<&String> = measured
        .slices
        .iter()
        .flat_map(|s| s.measures.keys())
        .collect();
    let shown: Vec<&str> = ["accuracy", "f1", "log_loss", "mae", "rmse"]
        .into_iter()
        .filter(|name| names.iter().any(|n| n == name))
        .collect();
    body.push_str("<table><tr><th>slice</th><th>part</th><th>rows</th>");
    let heads: String = shown
        .iter()
        .map(|name| format!("<th>{}</th>", name.replace('_', " ")))
        .collect();
    body.push_str(&heads);
    body.push_str("</tr>");
    for part in &measured.slices {
        let _ = write!(
            body,
            "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td>",
            escape(&part.slice),
            escape(&part.part),
            part.rows
        );
        for name in &shown {
            let value = part
                .measures
                .get(*name)
                .map_or_else(String::new, |v| number(*v));
            let _ = write!(body, "<td class=\"n\">{value}</td>");
        }
        body.push_str("</tr>");
    }
    body.push_str("</table>");
}

fn drift(body: &mut String, watched: &VersionReport) {
    let DriftCharts {
        pictures, history, ..
    } = &watched.shown;
    if pictures.is_empty() {
        return;
    }
    body.push_str(
        "<h3>What it is asked and what it answers</h3><p class=\"key quiet\"><span style=\"background:#b7c3cf\"></span>in the baseline <span style=\"background:#2f6db5\"></span>in the last windows. Each bar is the share of rows with a value there.</p><div class=\"plots\">",
    );
    // What moved most comes first.
    let last = history.last();
    let distance = |at: usize| {
        last.and_then(|p| p.columns.get(at).copied().flatten())
            .map_or(0.0, |d| f64::from(d.0))
    };
    let mut order: Vec<usize> = (0..pictures.len()).collect();
    order.sort_by(|a, b| distance(*b).total_cmp(&distance(*a)));
    for at in order.iter().take(DRAWN_MAX) {
        histogram(body, &pictures[*at]);
    }
    body.push_str("</div>");
    if pictures.len() > DRAWN_MAX {
        let _ = write!(
            body,
            "<p class=\"quiet\">{} further columns are not drawn; those that moved most are.</p>",
            pictures.len() - DRAWN_MAX
        );
    }
    let ends = ends(history.iter().map(|p| p.time as f64));
    body.push_str("<h3>How far it moved, over time</h3><p class=\"quiet\">The distance of each window from the baseline: 0 is the same, 1 is nothing in common. The dashed line is where it begins to matter.</p><div class=\"plots\">");
    for at in order.iter().take(DRAWN_MAX.min(12)) {
        let points = history
            .iter()
            .filter_map(|p| Some((p.time as f64, f64::from(p.columns.get(*at)?.as_ref()?.0))))
            .collect();
        let series = [Series {
            name: "distance",
            class: "now",
            points,
            is_dots: false,
        }];
        let name = &pictures[*at].name;
        let level = watched
            .drift
            .columns
            .iter()
            .find(|c| c.name == *name)
            .and_then(|c| {
                c.tests
                    .iter()
                    .find(|t| matches!(t.metric, Metric::Ks | Metric::Largest))
                    .map(|t| t.threshold)
            });
        body.push_str(&lines(&escape(name), &series, (&ends.0, &ends.1), level));
    }
    body.push_str("</div>");
}

fn histogram(body: &mut String, picture: &ColumnHistogram) {
    let shares = |counts: &[u64], missing: u64| {
        let all = counts.iter().sum::<u64>() + missing;
        let share = |n: u64| if all == 0 { 0.0 } else { n as f64 / all as f64 };
        counts
            .iter()
            .copied()
            .chain([missing])
            .map(share)
            .collect::<Vec<_>>()
    };
    let mut labels: Vec<String> = if picture.words.is_empty() {
        let edges = &picture.edges;
        let between =
            |at: usize| match (at.checked_sub(1).and_then(|i| edges.get(i)), edges.get(at)) {
                (None, Some(high)) => format!("≤ {}", number(*high)),
                (Some(low), Some(high)) => format!("{} to {}", number(*low), number(*high)),
                (Some(low), None) => format!("> {}", number(*low)),
                (None, None) => "all".to_owned(),
            };
        (0..picture.before.len()).map(between).collect()
    } else {
        picture
            .words
            .iter()
            .map(|w| escape(w))
            .chain(["other".to_owned(), "unseen".to_owned()])
            .collect()
    };
    labels.push("missing".to_owned());
    let side = if picture.side == Side::Input {
        "asked"
    } else {
        "answered"
    };
    let weight = picture
        .importance
        .map_or_else(String::new, |i| format!(", importance {}", number(i)));
    let title = format!("{} ({side}{weight})", escape(&picture.name));
    let (before, now) = (
        shares(&picture.before, picture.before_missing),
        shares(&picture.now, picture.now_missing),
    );
    body.push_str(&bars(&title, &labels, &before, &now));
}

fn quality(body: &mut String, watched: &VersionReport) {
    let broken = |c: &&ColumnDrift| c.contract.counts().iter().any(|(_, n)| *n > 0);
    let columns: Vec<&ColumnDrift> = watched.drift.columns.iter().filter(broken).collect();
    body.push_str("<h3>Values that the model was not made for</h3>");
    if columns.is_empty() {
        body.push_str("<p class=\"quiet\">None: every value of every row was within what the baseline has.</p>");
        return;
    }
    body.push_str("<table><tr><th>column</th><th>values, of all rows</th></tr>");
    for column in columns.iter().take(200) {
        let kinds: Vec<String> = column
            .contract
            .counts()
            .iter()
            .filter(|(_, n)| *n > 0)
            .map(|(kind, n)| format!("{n} {kind}"))
            .collect();
        let _ = write!(
            body,
            "<tr><td>{}</td><td>{}</td></tr>",
            escape(&column.name),
            kinds.join(", ")
        );
    }
    body.push_str("</table><p class=\"quiet\">below and above: outside the range of the baseline; unseen: a category that it does not have.</p>");
}

fn speed(body: &mut String, times: Option<&Vec<(f64, u64)>>) {
    let Some(all) = times.and_then(|t| t.last()).map(|t| t.1).filter(|n| *n > 0) else {
        return;
    };
    let times = times.map(Vec::as_slice).unwrap_or_default();
    let quantile = |share: f64| {
        let wanted = (all as f64 * share).ceil() as u64;
        let bound = times
            .iter()
            .find(|(_, n)| *n >= wanted)
            .map_or(f64::INFINITY, |(bound, _)| *bound);
        if bound.is_finite() {
            format!("{} ms", number(bound * 1e3))
        } else {
            "over 80 s".to_owned()
        }
    };
    let _ = write!(
        body,
        "<h3>How long answers take</h3><p>Of {all} predictions since the server started, half took at most {}, 90 % at most {}, 99 % at most {}.</p>",
        quantile(0.5),
        quantile(0.9),
        quantile(0.99)
    );
    let mut before = 0;
    let shares: Vec<(String, f64)> = times
        .iter()
        .map(|(bound, n)| {
            let share = (n - before) as f64 / all as f64;
            before = *n;
            (format!("≤ {} ms", number(bound * 1e3)), share)
        })
        .collect();
    let from = shares.iter().position(|s| s.1 > 0.0).unwrap_or(0);
    let to = shares.iter().rposition(|s| s.1 > 0.0).unwrap_or(0);
    let (labels, shares): (Vec<String>, Vec<f64>) = shares[from..=to].iter().cloned().unzip();
    let _ = write!(
        body,
        "<div class=\"plots\">{}</div>",
        bars(
            "share of predictions by the time they took",
            &labels,
            &[],
            &shares
        )
    );
}

/// The ends of a time axis.
fn ends(times: impl Iterator<Item = f64>) -> (String, String) {
    let (low, high) = times.fold((f64::INFINITY, 0.0_f64), |(low, high), t| {
        (low.min(t), high.max(t))
    });
    if low.is_finite() {
        (time(low as u64), time(high as u64))
    } else {
        Default::default()
    }
}

fn time(seconds: u64) -> String {
    let at = i64::try_from(seconds)
        .ok()
        .and_then(|s| chrono::DateTime::from_timestamp(s, 0));
    at.map_or_else(String::new, |t| t.format("%Y-%m-%d %H:%M UTC").to_string())
}

/// Text that a page may hold.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
