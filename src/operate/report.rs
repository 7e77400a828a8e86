//! What an auditor reads: every change of champion in a period, who made it,
//! why, and on what evidence; and what a version was made from.

use super::{Operator, find};
use crate::error::Result;
use crate::model::{ModelName, Version};
use crate::registry::entry::{Entry, Op};
use crate::registry::fold::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write;

/// One change of a champion.
#[derive(Debug, Serialize)]
pub(crate) struct Moved {
    pub seq: u64,
    pub time: DateTime<Utc>,
    pub model: String,
    pub from: Option<u64>,
    pub to: u64,
    pub rollback: bool,
    pub actor: String,
    pub reason: String,
    /// The version's manifest.
    pub digest: String,
    pub pushed_by: String,
    /// Who approved or rejected it.
    pub verdicts: Vec<String>,
    pub evidence: Vec<Value>,
    pub evaluation: Value,
    /// The keys that signed the change.
    pub keys: Vec<String>,
    /// The entry's own hash, to be found again by.
    pub hash: String,
}

impl Operator {
    /// Every change of a champion in a period, of one model or of all, oldest
    /// first. Folds the whole log, and fails where it does not hold.
    pub(crate) async fn moves(
        &self,
        name: Option<&ModelName>,
        (since, until): (Option<DateTime<Utc>>, Option<DateTime<Utc>>),
    ) -> Result<Vec<Moved>> {
        let mut state = State::default();
        let mut moves = Vec::new();
        while let Some(read) = self.log.entry(state.seq + 1).await? {
            let (entry, hash, signatures) = (read.entry.clone(), read.hash, read.signatures.clone());
            state.apply(read)?;
            let is_void = state.void.contains_key(&entry.seq);
            let outside = since.is_some_and(|s| entry.time < s) || until.is_some_and(|u| entry.time > u);
            if is_void || outside {
                continue;
            }
            for (model, from, to, rollback) in changes(&entry).into_iter().filter(|(m, ..)| name.is_none_or(|n| n == m))
            {
                let Some(record) = state.models.get(&model).and_then(|m| m.versions.get(&to)) else { continue };
                // A version whose blobs were swept has no manifest left to read.
                let evaluation = self.manifest(record).await.map_or(Value::Null, |m| json!(m.evaluation));
                let verdict =
                    |(who, yes): (&String, &bool)| format!("{who} {}", if *yes { "approved" } else { "rejected" });
                moves.push(Moved {
                    seq: entry.seq,
                    time: entry.time,
                    model: model.to_string(),
                    from: from.map(Version::number),
                    to: to.number(),
                    rollback,
                    actor: entry.actor.clone(),
                    reason: entry.reason.clone(),
                    digest: record.manifest.to_string(),
                    pushed_by: record.actor.clone(),
                    verdicts: record.verdicts.iter().map(verdict).collect(),
                    evidence: record.evidence.iter().chain(&entry.evidence).map(|e| json!(e)).collect(),
                    evaluation,
                    keys: signatures.iter().map(|s| s.key.clone()).collect(),
                    hash: hash.to_string(),
                });
            }
        }
        Ok(moves)
    }

    /// What a version was made from, back to its first ancestor.
    pub(crate) async fn lineage(&self, name: &ModelName, which: Option<&str>) -> Result<Vec<Value>> {
        let state = self.state().await?;
        let mut next = Some(find(&state, name, which.unwrap_or("champion"))?);
        let mut all: Vec<Value> = Vec::new();
        while let Some(version) = next {
            let record = state.record(name, version)?;
            let manifest = self.manifest(record).await?;
            all.push(json!({
                "version": version.number(), "digest": record.manifest.to_string(), "seq": record.seq,
                "pushed_by": record.actor, "time": record.time, "parent": manifest.parent.map(Version::number),
                "lineage": manifest.lineage, "evaluation": manifest.evaluation,
                "files": manifest.files.iter().map(|f| json!({"path": f.path, "digest": f.digest})).collect::<Vec<_>>(),
            }));
            // A parent is older; a manifest that says otherwise would go in circles.
            next = manifest.parent.filter(|parent| *parent < version);
        }
        Ok(all)
    }
}

/// The champions an entry moves.
fn changes(entry: &Entry) -> Vec<(ModelName, Option<Version>, Version, bool)> {
    let change = |op: &Op| match op {
        Op::Promote { model, version, from } => Some((model.clone(), *from, *version, false)),
        Op::Rollback { model, version, from } => Some((model.clone(), Some(*from), *version, true)),
        _ => None,
    };
    entry.ops.iter().filter_map(change).collect()
}

/// The report as Markdown, for a person.
pub(crate) fn markdown(namespace: &str, moves: &[Moved]) -> String {
    let mut text = format!("# Changes of champion in `{namespace}`\n\n{} changes.\n", moves.len());
    for m in moves {
        let how = if m.rollback { "rolled back to" } else { "promoted to" };
        let from = m.from.map_or_else(|| "none before".to_owned(), |v| format!("version {v} before"));
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n## {}: {how} version {} ({from})\n\n- when: {} (entry {}, {})\n- who: {}{}\n- why: {}\n- version: {}, pushed by {}\n",
            m.model,
            m.to,
            m.time.to_rfc3339(),
            m.seq,
            m.hash,
            plain(&m.actor),
            if m.keys.is_empty() {
                " (not signed: a claim)".to_owned()
            } else {
                format!(", signed by {}", m.keys.join(", "))
            },
            if m.reason.is_empty() { "no reason given".to_owned() } else { plain(&m.reason) },
            m.digest,
            plain(&m.pushed_by),
        );
        if !m.verdicts.is_empty() {
            let _ = writeln!(text, "- approvals: {}", plain(&m.verdicts.join(", ")));
        }
        if m.evaluation.as_object().is_some_and(|e| !e.is_empty()) {
            let _ = writeln!(text, "- metrics: `{}`", m.evaluation);
        }
        for evidence in &m.evidence {
            let _ = writeln!(text, "- evidence: `{evidence}`");
        }
    }
    text
}

/// Keeps what people wrote from being read as markup.
fn plain(text: &str) -> String {
    let escape = |c: char| match c {
        '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|' => format!("\\{c}"),
        '\n' => " ".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}
