//! Reports about served models: their types, which the operator API answers and
//! the command line reads, and one self-contained HTML page. Nothing in the page
//! is fetched or run. Does not measure anything and calls no server.

pub mod alarm;
pub mod chart;
pub mod column;
pub mod compared;
pub mod drift;
pub mod incident;
pub mod model;
mod page;
pub mod performance;
pub mod scheduler;
pub(crate) mod status;
pub(crate) mod story;

#[cfg(test)]
mod tests;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use model::ModelReport;

/// Writes the HTML page of a report.
pub(crate) fn render(report: &ModelReport) -> String {
    let name = report
        .watched
        .first()
        .map_or("", |version| version.drift.model.as_str());
    document(&format!("{name}: model report"), &page::body(name, report))
}

/// Writes a whole document.
pub fn document(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { (title) }
                // The style sheet is a constant of this program.
                style { (PreEscaped(STYLE)) }
            }
            body { main { (body) } }
        }
    };

    page.into_string() + "\n"
}

/// Style sheet of every page.
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;color:#1d2733;background:#fff;margin:0}\
main{max-width:1340px;margin:0 auto;padding:24px}h1{margin:0}h2{margin:36px 0 4px;border-top:1px solid #d7dde4;padding-top:24px}\
h3{margin:28px 0 4px}.quiet{color:#5b6875}.calm,.unknown{background:#f1f3f5;border-left:4px solid #8a97a5}.do{margin:4px 0 0}.do::before{content:'→ '}.verdict p{margin:6px 0 0}\
.bad{background:#fdeceb;border-left:4px solid #c4382e}\
.verdict{padding:10px 14px;margin:12px 0}.verdict,td,figcaption{overflow-wrap:anywhere}\
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(380px,1fr));gap:12px}figure{margin:0}\
figcaption{font-size:13px;text-align:center;color:#3b4855}svg{width:100%;height:auto;font-size:10px}\
svg text{fill:#5b6875}svg text.end{text-anchor:end}svg text.middle{text-anchor:middle}.grid{stroke:#e3e8ed}.level{stroke:#c4382e;stroke-dasharray:4 3}\
rect.before{fill:#b7c3cf}rect.now{fill:#2f6db5}polyline{fill:none;stroke-width:1.6}polyline.now,circle.now{stroke:#2f6db5}\
circle.now{fill:#2f6db5}polyline.before,circle.before{stroke:#8a97a5}circle.before{fill:#8a97a5}polyline.other{stroke:#d98324}circle.other{fill:#d98324}\
.wide{overflow-x:auto}td.alarm{color:#a3271d;font-weight:600}details{margin:8px 0}\
table{border-collapse:collapse;margin:8px 0}th,td{text-align:left;padding:3px 14px 3px 0;border-bottom:1px solid #e3e8ed;vertical-align:top}\
td.n{text-align:right;font-variant-numeric:tabular-nums}code{font-size:13px;overflow-wrap:anywhere}\
.columns td:first-child{min-width:9em}.columns td:last-child{min-width:15em}\
@media(max-width:700px){main{padding:14px}.plots{grid-template-columns:1fr}.columns tr{display:block;border-bottom:1px solid #e3e8ed;padding:6px 0}\
.columns tr:first-child{display:none}.columns td,.columns td.n{display:block;border:0;padding:0;text-align:left}.columns td:empty{display:none}\
.columns td:nth-child(2)::before{content:'Importance '}.columns td:nth-child(3)::before{content:'Baseline '}\
.columns td:nth-child(4)::before{content:'Now '}.columns td:nth-child(5)::before{content:'Distance '}}\
.key span{display:inline-block;width:12px;height:12px;margin:0 4px 0 12px;vertical-align:-1px}";
