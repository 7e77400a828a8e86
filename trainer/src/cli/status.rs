//! The command `status`: the last run of a model, the triggers that are due, and
//! what delays them.

use super::setup::{records_of, seen_by};
use super::show::status_word;
use crate::trigger;
use crate::watch::{self, Watch, WatchState};
use chrono::{DateTime, Utc};
use ortus::cli::print::line;
use ortus::cli::registry::arguments::RegistryArguments;
use ortus::cli::registry::open;
use ortus::core::count::{agreed, counted};
use ortus::core::error::Result;
use ortus::core::model::ModelName;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Shows the last run, due triggers, and what delays them.
pub(super) async fn status(path: &Path, common: &RegistryArguments) -> Result<()> {
    let operator = open(common, None, false).await?;
    let mut watch = Watch::new(path, "");
    let spec = watch.spec()?;
    let seen = seen_by(common, &operator)?;
    let state = watch.state(&operator, &seen, &spec).await?;
    let model = ModelName::parse(&spec.model.name)?;
    let now = state.found.now;
    let cron = spec.triggers.cron.as_deref();

    let status = TriggerStatus {
        training: watch::current_trainer(&records_of(&operator), &model, spec.triggers.lease)
            .await?,
        refused: trigger::refused(&spec.triggers, &state.past, now),
        next: cron.map(|cron| trigger::next(cron, now)).transpose()?,
        starters: trigger::starters(&spec.triggers),
        model: spec.model.name,
        state,
    };
    if common.json {
        line(&status.in_json().to_string());
    } else {
        status.print();
    }
    Ok(())
}

/// The triggers of a model, to be shown.
struct TriggerStatus {
    model: String,
    state: WatchState,
    /// The trainer that runs it now.
    training: Option<String>,
    /// Why triggers start no run now.
    refused: Option<String>,
    /// What starts a run, in words.
    starters: Vec<String>,
    /// The next cron time.
    next: Option<DateTime<Utc>>,
}

impl TriggerStatus {
    fn in_json(&self) -> Value {
        let WatchState { past, found, due } = &self.state;
        let last = past.last.as_ref().map(|last| {
            json!({
                "began": last.began,
                "ended": last.ended,
                "became": last.status,
                "rows": last.rows,
                "newest": last.newest,
            })
        });
        let due: Vec<Value> = due
            .iter()
            .map(|event| json!({"event": event.key, "why": event.why, "moot": event.moot, "waits": event.waits}))
            .collect();

        json!({
            "model": self.model,
            "champion": found.champion,
            "candidates": found.candidates.iter().cloned().collect::<BTreeMap<String, u64>>(),
            "future_rows": found.future_rows,
            "training": self.training,
            "last": last,
            "due": due,
            "new_rows": found.new_rows,
            "waits": self.refused,
            "started_by": self.starters,
            "next": self.next,
            "runs_in_a_day": past.runs,
            "seconds_in_a_day": past.spent.as_secs_f64(),
        })
    }

    fn print(&self) {
        let WatchState { past, found, due } = &self.state;
        let champion = found
            .champion
            .map_or("none".into(), |version| version.to_string());
        line(&format!("{}: champion {champion}", self.model));
        for (alias, version) in &found.candidates {
            line(&format!(
                "version {version} waits as {alias}: `ortus promote {} {version}` makes it champion",
                self.model
            ));
        }
        match &past.last {
            Some(last) => line(&format!(
                "last run {}: {}",
                time(last.began),
                status_word(last.status)
            )),
            None => line("no run yet"),
        }
        if let Some(who) = &self.training {
            line(&format!("running now: {who}"));
        }
        if let Some(rows) = found.new_rows {
            line(&counted(rows, "new row"));
        }
        if found.future_rows > 0 {
            line(&format!(
                "{} of the future {} not counted; a time without a zone is taken as UTC",
                counted(found.future_rows, "row"),
                agreed(found.future_rows, "is", "are")
            ));
        }

        for event in due {
            let moot = event
                .moot
                .as_ref()
                .map(|why| format!("will be skipped: {why}"));
            let waits = event.waits.as_ref().map(|why| format!("waits: {why}"));
            let note = moot.or(waits);
            let note = note.map_or_else(String::new, |note| format!(" ({note})"));
            line(&format!("due: {}{note}", event.why));
        }
        if self.starters.is_empty() {
            line("nothing starts a run by itself: [triggers] in the specification sets nothing");
        } else {
            line(&format!("started by: {}", self.starters.join("; ")));
        }
        if let Some(why) = self.refused.as_ref().filter(|_| !self.starters.is_empty()) {
            line(&format!("triggers start no run now: {why}"));
        }
        if let Some(next) = self.next {
            line(&format!("next cron time: {}", time(next)));
        }
    }
}

fn time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}
