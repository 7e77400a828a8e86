//! Writes a first `train.toml` from the columns of the data.

use crate::data::{self, Reach, RowTarget, Rows};
use crate::frame::FrameValues;
use crate::spec::Spec;
use ortus::core::error::{Result, short};
use ortus::core::model::ModelName;
use std::fmt::Write as _;
use std::path::Path;

/// The rows from which a column may be found to identify or to count the rows.
const ROWS_MIN: usize = 50;

/// What follows the schema.
const REST: &str = "
[split]
by = \"{by}\"
test = 0.2

[fit]
algorithm = \"trees\"
seed = 7

[gates]
first = \"champion\" # the first version serves if its gates pass
regression_max = 0.02 # of the champion's loss

[publish]
policy = \"challenger\" # a later version waits for `ortus promote`

[triggers] # what starts a run under `ortus-trainer watch`; remove a # to switch it on
# cron = \"0 3 * * *\" # every night at 3:00 UTC
# new_rows = 10000 # so many rows since the last run
# drift = true # an alarm that inputs or answers changed, once 500 labelled rows of after it are there
# loss = true # an alarm that answers are wrong more often, once 500 labelled rows of after it are there
# spec = true # a change of this file
";

/// Inspects a file or folder, and returns a specification for it.
pub(crate) async fn init(path: &Path, target: &str) -> Result<String> {
    let at = path.to_string_lossy().into_owned();
    let mut spec = Spec::default();
    spec.sources.0.insert("rows".to_owned(), at.clone());
    spec.folder = Path::new("").to_owned();
    spec.schema.target = target.to_owned();
    spec.data.unlabelled_max = 1.0;

    let looked = data::read_columns(&spec).await?;
    let is_other_time = |name: &&String| Some(*name) != looked.time.as_ref();
    let other_times = looked.times.iter().filter(is_other_time);
    spec.schema.ignore = other_times.chain(&looked.unfit).cloned().collect();
    spec.schema.time = looked.time;
    let rows = data::read(&spec, &Reach::files()).await?;

    Ok(text(&spec, &model_name(path), &at, &rows))
}

/// Writes the specification.
fn text(spec: &Spec, name: &str, at: &str, rows: &Rows) -> String {
    let mut out = format!(
        "# The training specification of a model. `ortus-trainer plan` shows what a run would do.\n\n\
         [model]\nname = {}\n\n[data.sources]\nrows = {}\n\n[schema]\ntarget = {}\n",
        quoted(name),
        quoted(at),
        quoted(&spec.schema.target)
    );
    if let Some(time) = &spec.schema.time {
        let _ = writeln!(out, "time = {}", quoted(time));
    }
    let task = match &rows.target {
        RowTarget::Values(_) => "regression",
        RowTarget::Classes { .. } => "classification",
    };
    let _ = writeln!(out, "task = \"{task}\"");
    out.push_str(&ignored(&spec.schema.ignore, rows));

    let by = match &spec.schema.time {
        Some(_) => "time",
        None => "random",
    };
    out + &REST.replace("{by}", by)
}

/// Returns the line of columns to ignore: those that hold no value or another time, and
/// those that only identify or count the rows, with the reason. Empty if there are none.
fn ignored(unfit: &[String], rows: &Rows) -> String {
    let mut names: Vec<String> = unfit.iter().map(|name| quoted(name)).collect();
    let mut remarks = Vec::new();
    for column in &rows.frame.columns {
        if let Some(what) = only_names_rows(&column.values, rows.len()) {
            names.push(quoted(&column.name));
            remarks.push(format!("'{}' {what}", short(&column.name)));
        }
    }
    if names.is_empty() {
        return String::new();
    }

    let why = if remarks.is_empty() {
        String::new()
    } else {
        format!(" # {}", remarks.join(", ").replace(char::is_control, " "))
    };
    format!("ignore = [{}]{why}\n", names.join(", "))
}

/// Returns how a column only names the rows, and so predicts nothing.
fn only_names_rows(values: &FrameValues, rows: usize) -> Option<&'static str> {
    if rows <= ROWS_MIN {
        return None;
    }
    match values {
        // Nearly every row has its own value.
        FrameValues::Words(words) if words.list.len() * 10 > rows * 9 => Some("identifies the row"),
        FrameValues::Numbers(all) if all.windows(2).all(|pair| pair[1] == pair[0] + 1.0) => {
            Some("counts the rows")
        }
        _ => None,
    }
}

/// Returns a name for the model, after the file.
fn model_name(path: &Path) -> String {
    let legal = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
            c
        } else {
            '-'
        }
    };
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    let name: String = stem.unwrap_or("model").chars().map(legal).collect();
    if ModelName::parse(&name).is_ok() {
        name
    } else {
        "model".to_owned()
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
