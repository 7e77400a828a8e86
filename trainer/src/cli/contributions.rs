//! The command `explain` with rows: what each feature contributes to the prediction of a version.

use super::ExplainRunArguments;
use super::setup::history_of;
use crate::explanation::row;
use crate::history::RunStatus;
use ortus::cli::print::{TextTable, line};
use ortus::cli::registry::open;
use ortus::core::count::counted;
use ortus::core::error::{Error, Result};
use ortus::core::model::ModelName;
use ortus::explain::file;
use ortus::explain::model::{ExplainedModel, RowContributions};
use ortus::explain::request::largest_first;
use ortus::explain::trees::TreeScratch;
use ortus::registry::commands::Operator;
use ortus::registry::manifest::EXPLANATION_PATH;
use serde::Serialize;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// What the command prints as JSON.
#[derive(Serialize)]
struct ExplainedRows {
    model: String,
    version: u64,
    rows: Vec<ExplainedRow>,
}

/// One row.
#[derive(Serialize)]
struct ExplainedRow {
    /// A value, or a probability for each class.
    prediction: Value,
    /// One for each class of more than two, else one.
    scores: Vec<ExplainedScore>,
}

/// A score, and what it is made of.
#[derive(Serialize)]
struct ExplainedScore {
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    /// What the score is.
    scale: String,
    /// The mean score of the training rows.
    base: f64,
    score: f64,
    /// The largest first.
    contributions: Vec<FeatureContribution>,
}

/// What a feature contributes.
#[derive(Serialize)]
struct FeatureContribution {
    feature: String,
    value: Value,
    contribution: f64,
}

/// Explains rows that the arguments give.
pub(super) async fn explain(arguments: &ExplainRunArguments) -> Result<()> {
    let texts = texts(arguments)?;
    let operator = open(&arguments.common, None, false).await?;
    let name = ModelName::parse(&arguments.model)?;
    let which = match &arguments.run {
        Some(run) => Some(version_of(&operator, &arguments.model, run).await?),
        None => arguments.version.clone(),
    };
    let (version, model) = pull(&operator, &name, which.as_deref()).await?;

    let one = |(number, text): (usize, &String)| {
        let read = row::read(&model, text);
        let read = read.map_err(|e| match arguments.rows.is_some() {
            true => e.context(format_args!("line {}", number + 1)),
            false => e,
        })?;
        Ok(explained(&model, &read, arguments.top))
    };
    let rows = texts.iter().enumerate().map(one).collect::<Result<_>>()?;
    let explained = ExplainedRows {
        model: arguments.model.clone(),
        version,
        rows,
    };
    if arguments.common.json {
        let text = serde_json::to_string(&explained);
        line(&text.map_err(|e| Error::internal("write the rows").with_source(e))?);
    } else {
        print(&explained, model.features().len());
    }
    Ok(())
}

/// Reads the rows as they are written: one, or the lines of a file.
fn texts(arguments: &ExplainRunArguments) -> Result<Vec<String>> {
    if let Some(row) = &arguments.row {
        return Ok(vec![row.clone()]);
    }
    let path = arguments.rows.as_deref().unwrap_or(Path::new("-"));
    let failed = |e| Error::invalid(format!("read {}", path.display())).with_source(e);
    let lines: Box<dyn BufRead> = match path == Path::new("-") {
        true => Box::new(std::io::stdin().lock()),
        false => Box::new(BufReader::new(std::fs::File::open(path).map_err(failed)?)),
    };
    let lines = lines.lines().take(arguments.limit);
    lines.collect::<std::io::Result<_>>().map_err(failed)
}

/// Returns the version that a run published.
async fn version_of(operator: &Operator, model: &str, run: &str) -> Result<String> {
    let ran = history_of(operator, model)?.find(run).await?;
    match ran.record.version.value() {
        Some(version) => Ok(version.to_string()),
        None if ran.status == RunStatus::Published => Err(Error::internal(
            "the record of a run that published has no version",
        )),
        None => Err(Error::precondition(format!(
            "run {} published no version, and only versions keep what explains rows; name one with --version",
            ran.key()
        ))),
    }
}

/// Copies a version from the registry, and reads what explains its predictions.
async fn pull(
    operator: &Operator,
    name: &ModelName,
    which: Option<&str>,
) -> Result<(u64, ExplainedModel)> {
    let folder = crate::scratch::folder()?;
    let into = folder.path().join("version");
    let pulled = operator.pull(name, which, &into, &|_| {}).await?;
    let path = into.join(EXPLANATION_PATH);
    if !path.is_file() {
        return Err(Error::precondition(format!(
            "version {} of {name} has no explanation: only trees and linear models have one, unless 'explanations' in [publish] is false",
            pulled.number()
        )));
    }
    let bytes = std::fs::read(&path)
        .map_err(|e| Error::unavailable("read the explanation").with_source(e))?;
    Ok((pulled.number(), file::read(&bytes)?))
}

fn explained(model: &ExplainedModel, row: &[f32], top: usize) -> ExplainedRow {
    let mut found = RowContributions::default();
    model.contribute(row, &mut TreeScratch::default(), &mut found);
    let scores = model.scores(&found);
    let (parts, width) = (model.parts(), row.len());
    let prediction = parts.scale.prediction(&scores);
    let prediction = match (parts.classes.as_slice(), prediction.as_slice()) {
        ([], [value]) => Value::from(*value),
        ([], values) => Value::from(values),
        (classes, values) => {
            let all = classes.iter().cloned().zip(values.iter().copied());
            Value::from_iter(all.map(|(class, p)| (class, Value::from(p))))
        }
    };

    let one = |(at, score): (usize, &f64)| {
        let values = &found.values[at * width..][..width];
        let mut order = Vec::new();
        largest_first(values, top, &mut order);
        let contribution = |place: &usize| FeatureContribution {
            feature: model.features()[*place].name.clone(),
            value: row::shown(&model.features()[*place], row[*place]),
            contribution: values[*place],
        };
        ExplainedScore {
            class: parts.classes.get(at).filter(|_| scores.len() > 1).cloned(),
            scale: parts.scale_text(),
            base: model.base()[at],
            score: *score,
            contributions: order.iter().map(contribution).collect(),
        }
    };
    ExplainedRow {
        scores: scores.iter().enumerate().map(one).collect(),
        prediction,
    }
}

fn print(explained: &ExplainedRows, features: usize) {
    for (number, row) in explained.rows.iter().enumerate() {
        if number > 0 {
            line("");
        }
        line(&format!(
            "{} version {}: {}",
            explained.model,
            explained.version,
            predicted(&row.prediction)
        ));
        // Of several classes the one that is predicted.
        let best = row.scores.iter().max_by(|a, b| a.score.total_cmp(&b.score));
        let Some(score) = best else { continue };
        let class = score.class.as_ref();
        let class = class.map_or_else(String::new, |class| format!(" {class}"));
        line(&format!(
            "{}{class} {:.5} = base {:.5} and contributions of",
            score.scale, score.score, score.base
        ));

        let mut table = TextTable::new(&["feature", "value", "contribution"]);
        for one in &score.contributions {
            let value = match &one.value {
                Value::Null => "-".to_owned(),
                Value::String(word) => word.clone(),
                other => other.to_string(),
            };
            table.row(&[&one.feature, &value, &format!("{:+.5}", one.contribution)]);
        }
        table.print();
        let left = features - score.contributions.len();
        if left > 0 {
            let shown: f64 = score.contributions.iter().map(|one| one.contribution).sum();
            line(&format!(
                "{} more: {:+.5}",
                counted(left, "feature"),
                score.score - score.base - shown
            ));
        }
    }
}

fn predicted(prediction: &Value) -> String {
    let digits = |value: &Value| format!("{:.5}", value.as_f64().unwrap_or(f64::NAN));
    match prediction {
        Value::Object(classes) if classes.is_empty() => {
            "the probability is calibrated by the graph; ask a server for it".to_owned()
        }
        Value::Object(classes) => {
            let all = classes
                .iter()
                .map(|(class, p)| format!("{class} {}", digits(p)));
            all.collect::<Vec<_>>().join(", ")
        }
        Value::Array(values) => values.iter().map(digits).collect::<Vec<_>>().join(", "),
        value => digits(value),
    }
}
