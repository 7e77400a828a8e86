//! Writes a first `train.toml` from the columns of the data.

use crate::data::{self, Reach, Target};
use crate::frame::Values;
use crate::spec::Spec;
use ortus::core::error::Result;
use ortus::core::error::short;
use ortus::core::model::ModelName;
use std::fmt::Write as _;
use std::path::Path;

/// Inspects a file or folder, and returns a specification for it.
pub(crate) async fn init(path: &Path, target: &str) -> Result<String> {
    let mut spec = Spec::default();
    let at = path.to_string_lossy().into_owned();
    spec.sources.0.insert("rows".to_owned(), at.clone());
    spec.folder = Path::new("").to_owned();
    spec.schema.target = target.to_owned();
    spec.data.unlabelled_max = 1.0;
    let looked = data::look(&spec).await?;
    let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or("model");
    let legal = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
            c
        } else {
            '-'
        }
    };

    let name: String = stem.chars().map(legal).collect();
    let name = if ModelName::parse(&name).is_ok() {
        name
    } else {
        "model".to_owned()
    };

    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut out = format!(
        "# What is learned, from what, and what it must show. `ortus-trainer plan` says what would run.\n\n[model]\nname = {}\n\n",
        quoted(&name)
    );
    let _ = writeln!(
        out,
        "[data.sources]\nrows = {}\n\n[schema]\ntarget = {}",
        quoted(&at),
        quoted(target)
    );

    if let Some(time) = &looked.time {
        let _ = writeln!(out, "time = {}", quoted(time));
    }
    let mut spec = Spec {
        schema: crate::spec::Schema {
            time: looked.time.clone(),
            ..spec.schema.clone()
        },
        ..spec
    };

    let more_times = looked
        .times
        .iter()
        .filter(|t| Some(*t) != looked.time.as_ref())
        .cloned();
    spec.schema.ignore = more_times.chain(looked.unfit.iter().cloned()).collect();

    let rows = data::read(&spec, &Reach::files()).await?;
    let mut ignore = spec.schema.ignore.clone();
    let mut remarks = Vec::new();
    for column in &rows.frame.columns {
        match &column.values {
            // Nearly every row has its own value: it identifies the row and predicts nothing.
            Values::Words(words) if words.list.len() * 10 > rows.len() * 9 && rows.len() > 50 => {
                ignore.push(column.name.clone());
                remarks.push(format!("'{}' identifies the row", short(&column.name)));
            }
            Values::Numbers(all)
                if all.windows(2).all(|w| w[1] == w[0] + 1.0) && all.len() > 50 =>
            {
                ignore.push(column.name.clone());
                remarks.push(format!("'{}' counts the rows", short(&column.name)));
            }
            _ => {}
        }
    }

    let task = match &rows.target {
        Target::Values(_) => "regression",
        Target::Classes { .. } => "classification",
    };
    let _ = writeln!(out, "task = \"{task}\"");
    if !ignore.is_empty() {
        let all: Vec<String> = ignore.iter().map(|name| quoted(name)).collect();
        let why = if remarks.is_empty() {
            String::new()
        } else {
            format!(" # {}", remarks.join(", ").replace(char::is_control, " "))
        };
        let _ = writeln!(out, "ignore = [{}]{why}", all.join(", "));
    }

    let by = if looked.time.is_some() {
        "time"
    } else {
        "random"
    };

    let _ = writeln!(
        out,
        "\n[split]\nby = \"{by}\"\ntest = 0.2\n\n[fit]\nalgorithm = \"trees\"\nseed = 7"
    );
    let _ = writeln!(
        out,
        "\n[gates]\nregression_max = 0.02 # of the champion's loss\n\n[publish]\npolicy = \"challenger\""
    );
    Ok(out)
}
