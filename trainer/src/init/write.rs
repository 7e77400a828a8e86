//! Writes a draft as `train.toml`, with comments for what is left out and for settings to think about.

use super::SOURCE;
use super::draft::Draft;
use super::quote::{quoted, sql_name};
use crate::data::look::LookedColumn;
use crate::data::{RowTarget, Rows};
use ortus::core::error::short;
use std::fmt::Write as _;

/// The most names of a list in a specification.
const NAMES_MAX: usize = 10_000;
/// The reasons that are written beside names.
const REASONS: usize = 10;

/// What follows the schema.
const REST: &str = "
[split]
by = \"{by}\"
test = 0.2

[fit]
algorithm = \"trees\"
seed = 7
{fit}
[gates]
first = \"champion\" # the first version serves if its gates pass
regression_max = 0.02 # of the champion's loss

[publish]
policy = \"challenger\" # a later version waits for `ortus promote`

[triggers] # what starts a run under `ortus-trainer watch`; remove a # to switch it on
# cron = \"0 3 * * *\" # every night at 3:00 UTC
# new_rows = 10000 # so many rows since the last run
# drift = true # an alarm that inputs or answers changed, once 'alarm_rows' labelled rows of after it are there
# loss = true # an alarm that answers are wrong more often, once 'alarm_rows' labelled rows of after it are there
# alarm_rows = {alarm_rows} # {alarm_why}
# cooldown = \"1h\" # after a run, only `ortus-trainer trigger` starts another for so long
# spec = true # a change of this file
";

/// Writes the specification.
pub(super) fn text(draft: &Draft, columns: &[LookedColumn], rows: &Rows) -> String {
    let spec = &draft.spec;
    let mut out = format!(
        "# The training specification of a model. `ortus-trainer plan` shows what a run would do.\n\n\
         [model]\nname = {}\n",
        quoted(&spec.model.name)
    );
    out.push_str(&data(draft, columns));
    let _ = write!(
        out,
        "\n[schema]\ntarget = {}\n",
        quoted(&spec.schema.target)
    );
    if let Some(time) = &spec.schema.time {
        let _ = writeln!(out, "time = {}", quoted(time));
    }
    if let Some(group) = &spec.schema.group {
        let _ = writeln!(
            out,
            "group = {} # rows of one value stay in one part of the split",
            quoted(group)
        );
    }
    let task = match &rows.target {
        RowTarget::Values(_) => "regression",
        RowTarget::Classes { .. } => "classification",
    };
    let _ = writeln!(out, "task = \"{task}\"");
    out.push_str(&ignored(draft, columns));
    out.push_str(&proposals(draft, "schema"));

    let (alarm_rows, alarm_why) = alarm_rows(draft, rows);
    let rest = REST
        .replace("{by}", draft.split_by)
        .replace("{fit}", &proposals(draft, "fit"))
        .replace("{alarm_rows}", &alarm_rows.to_string())
        .replace("{alarm_why}", &alarm_why);
    out + &rest
}

/// Returns settings to think about, as comments.
fn proposals(draft: &Draft, table: &str) -> String {
    let of_table = draft.proposals.iter().filter(|(of, _)| *of == table);
    of_table.fold(String::new(), |mut out, (_, line)| {
        let _ = writeln!(out, "# {line}");
        out
    })
}

/// Returns the labelled rows of after an alarm that a run should have, and why.
fn alarm_rows(draft: &Draft, rows: &Rows) -> (usize, String) {
    let default = draft.spec.triggers.alarm_rows;
    if draft.split_by != "time" {
        let why = "labelled rows of after an alarm before it starts a run";
        return (default, why.to_owned());
    }
    // Of all rows so many judge the model or say when to stop; more must be new for any to be learned from.
    let split = &draft.spec.split;
    let kept_back = split.test + (1.0 - split.test) * split.stop;
    let least = (rows.len() as f64 * kept_back / (1.0 - kept_back)).ceil() as usize;
    // Two digits, upwards, and a few rows to learn from.
    let digits = 10_usize.pow((least.max(1) as f64).log10().floor().max(1.0) as u32 - 1);
    let rounded = (least / digits + 1) * digits;
    let why = format!(
        "labelled rows of after an alarm before it starts a run: the newest {:.0} % of all rows judge the model or say when to stop, and it learns from none of them",
        kept_back * 100.0
    );
    (rounded.clamp(default, 100_000_000), why)
}

/// Writes `[data]` and its sources.
fn data(draft: &Draft, columns: &[LookedColumn]) -> String {
    let data = &draft.spec.data;
    let mut lines = String::new();
    if let Some(sql) = sql(draft, columns) {
        let _ = writeln!(lines, "sql = {}", quoted(&sql));
    }
    if data.rows_min < 100 {
        let _ = writeln!(
            lines,
            "rows_min = {} # few; the default is 100",
            data.rows_min
        );
    }
    if data.unlabelled_max > 0.5 {
        let max = data.unlabelled_max;
        let _ = writeln!(lines, "unlabelled_max = {max:?} # most rows have no target");
    }
    if data.duplicates_max >= 1.0 {
        lines.push_str("duplicates_max = 1.0 # few different values make equal rows\n");
    }

    let mut out = String::new();
    if !lines.is_empty() {
        let _ = write!(out, "\n[data]\n{lines}");
    }
    let at = draft.spec.sources.0.get(SOURCE).map_or("", String::as_str);
    let format = draft.spec.formats.0.get(SOURCE);
    let format = format.and_then(|format| toml::Value::try_from(format).ok());
    match format {
        None => {
            let _ = write!(out, "\n[data.sources]\n{SOURCE} = {}\n", quoted(at));
        }
        Some(format) => {
            let _ = write!(
                out,
                "\n[data.sources.{SOURCE}]\npath = {}\nformat = {format}\n",
                quoted(at)
            );
        }
    }
    out
}

/// Returns the query; none if all rows are read as they are.
fn sql(draft: &Draft, columns: &[LookedColumn]) -> Option<String> {
    let lists_columns = lists_columns(draft);
    let own = draft.spec.data.sql.as_ref();
    if !lists_columns && draft.conditions.is_empty() {
        return own.cloned();
    }
    let from = own.map_or_else(|| SOURCE.to_owned(), |own| format!("({own}) AS asked"));
    let kept = columns.iter().map(|column| &column.name);
    let kept = kept.filter(|name| !draft.changes.without.contains(*name));
    let one = |name: &String| match draft.changes.renamed.get(name) {
        Some(new) => format!("{} AS {}", sql_name(name), sql_name(new)),
        None => sql_name(name),
    };
    let what = match lists_columns {
        true => kept.map(one).collect::<Vec<_>>().join(", "),
        false => "*".to_owned(),
    };
    let distinct = if draft.is_distinct { "DISTINCT " } else { "" };
    let mut sql = format!("SELECT {distinct}{what} FROM {from}");
    if !draft.conditions.is_empty() {
        let _ = write!(sql, " WHERE {}", draft.conditions.join(" AND "));
    }
    Some(sql)
}

/// Whether the query names the columns, so that those left out are not in its result.
fn lists_columns(draft: &Draft) -> bool {
    let changes = &draft.changes;
    let has_new_names = changes
        .renamed
        .keys()
        .any(|name| !changes.without.contains(name));
    let is_odd = |name: &String| name.is_empty() || name.contains(char::is_control);
    draft.is_distinct
        || has_new_names
        || changes.without.len() > NAMES_MAX
        || changes.without.iter().any(is_odd)
}

/// Writes the columns to ignore with the reasons. Empty if there are none, or if the query leaves them out.
fn ignored(draft: &Draft, columns: &[LookedColumn]) -> String {
    let left = columns.iter().map(|column| &column.name);
    let left: Vec<&String> = left
        .filter(|name| draft.changes.without.contains(*name))
        .collect();
    if left.is_empty() {
        return String::new();
    }
    let why = |name: &&String| {
        let used = draft.uses.get(*name).map_or("", String::as_str);
        format!(
            "'{}' {}",
            short(name),
            used.trim_start_matches("left out: ")
        )
    };
    let mut reasons: Vec<String> = left.iter().take(REASONS).map(why).collect();
    if left.len() > REASONS {
        reasons.push(format!("and {} more", left.len() - REASONS));
    }
    let reasons = reasons.join(", ").replace(char::is_control, " ");
    if lists_columns(draft) {
        return format!("# the query leaves out: {reasons}\n");
    }
    let names: Vec<String> = left.iter().map(|name| quoted(name)).collect();
    format!("ignore = [{}] # {reasons}\n", names.join(", "))
}
