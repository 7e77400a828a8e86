//! Reports for auditors: every change of champion in a period with author, reason
//! and evidence; and the lineage of a version.

use super::{Operator, find};
use crate::core::error::Result;
use crate::core::model::{ModelName, Version};
use crate::registry::entry::{Entry, Op};
use crate::registry::fold::NamespaceState;
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
    /// Hash of the entry, to find it again.
    pub hash: String,
}

/// A period of time; an end that is `None` is open.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Period {
    pub since: Option<DateTime<Utc>>,
    pub until: Option<DateTime<Utc>>,
}

impl Period {
    fn contains(&self, time: DateTime<Utc>) -> bool {
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time <= until)
    }
}

impl Operator {
    /// Lists every change of a champion in a period, of one model or of all, oldest
    /// first. Folds the whole log, and fails if its chain is broken.
    pub(crate) async fn champion_changes(
        &self,
        name: Option<&ModelName>,
        period: Period,
    ) -> Result<Vec<Moved>> {
        let mut state = NamespaceState::default();
        let mut moves = Vec::new();
        while let Some(read) = self.log.entry(state.seq + 1).await? {
            let (entry, hash, signatures) =
                (read.entry.clone(), read.hash, read.signatures.clone());
            state.apply(read)?;
            let is_void = state.void.contains_key(&entry.seq);
            if is_void || !period.contains(entry.time) {
                continue;
            }
            for (model, from, to, rollback) in changes(&entry)
                .into_iter()
                .filter(|(m, ..)| name.is_none_or(|n| n == m))
            {
                let Some(record) = state.models.get(&model).and_then(|m| m.versions.get(&to))
                else {
                    continue;
                };
                // A version whose blobs were deleted has no manifest any more.
                let evaluation = self
                    .manifest(record)
                    .await
                    .map_or(Value::Null, |m| json!(m.evaluation));
                let verdict = |(who, yes): (&String, &bool), how: &str| {
                    format!(
                        "{who} {} ({how})",
                        if *yes { "approved" } else { "rejected" }
                    )
                };
                let claimed = record
                    .verdicts
                    .iter()
                    .map(|v| verdict(v, "unsigned, so unverified"));
                let vouched = record.vouched.iter().map(|v| verdict(v, "signed"));
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
                    verdicts: vouched.chain(claimed).collect(),
                    evidence: record
                        .evidence
                        .iter()
                        .chain(&entry.evidence)
                        .map(|e| json!(e))
                        .collect(),
                    evaluation,
                    keys: signatures.iter().map(|s| s.key.clone()).collect(),
                    hash: hash.to_string(),
                });
            }
        }

        Ok(moves)
    }

    /// Returns the lineage of a version back to its first ancestor, and who promoted
    /// each of them.
    pub async fn lineage(&self, name: &ModelName, which: Option<&str>) -> Result<Vec<Value>> {
        let state = self.state().await?;
        let moves = self.champion_changes(Some(name), Period::default()).await?;
        let mut next = Some(find(&state, name, which.unwrap_or("champion"))?);
        let mut all: Vec<Value> = Vec::new();
        while let Some(version) = next {
            let record = state.record(name, version)?;
            let manifest = self.manifest(record).await?;
            all.push(json!({
                "version": version.number(), "digest": record.manifest.to_string(), "seq": record.seq,
                "pushed_by": record.actor, "time": record.time, "parent": manifest.parent.map(Version::number),
                "made_champion": moves.iter().filter(|m| m.to == version.number()).map(|m| json!({
                    "seq": m.seq, "time": m.time, "by": m.actor, "reason": m.reason, "verdicts": m.verdicts, "keys": m.keys,
                })).collect::<Vec<_>>(),
                "lineage": manifest.lineage, "evaluation": manifest.evaluation,
                "files": manifest.files.iter().map(|f| json!({"path": f.path, "digest": f.digest})).collect::<Vec<_>>(),
            }));
            // A parent has a lower number; any other could lead to a loop.
            next = manifest.parent.filter(|parent| *parent < version);
        }

        Ok(all)
    }
}

/// Lists the changes of champion in an entry.
fn changes(entry: &Entry) -> Vec<(ModelName, Option<Version>, Version, bool)> {
    let change = |op: &Op| match op {
        Op::Promote {
            model,
            version,
            from,
        } => Some((model.clone(), *from, *version, false)),
        Op::Rollback {
            model,
            version,
            from,
        } => Some((model.clone(), Some(*from), *version, true)),
        _ => None,
    };

    entry.ops.iter().filter_map(change).collect()
}

/// Describes a change of champion by a heading and named facts.
fn describe(m: &Moved) -> (String, Vec<(&'static str, String)>) {
    let how = if m.rollback {
        "rolled back to"
    } else {
        "promoted to"
    };

    let from = m.from.map_or_else(
        || "none before".to_owned(),
        |v| format!("version {v} before"),
    );
    let signed = match m.keys.as_slice() {
        [] => " (unsigned, so unverified)".to_owned(),
        keys => format!(", signed by {}", keys.join(", ")),
    };

    let reason = if m.reason.is_empty() {
        "no reason given".to_owned()
    } else {
        m.reason.clone()
    };

    let mut facts = vec![
        (
            "when",
            format!("{} (entry {}, {})", m.time.to_rfc3339(), m.seq, m.hash),
        ),
        ("who", format!("{}{signed}", m.actor)),
        ("why", reason),
        (
            "version",
            format!("{}, pushed by {}", m.digest, m.pushed_by),
        ),
    ];

    if !m.verdicts.is_empty() {
        facts.push(("approvals", m.verdicts.join(", ")));
    }
    if m.evaluation.as_object().is_some_and(|e| !e.is_empty()) {
        facts.push(("metrics", m.evaluation.to_string()));
    }
    facts.extend(
        m.evidence
            .iter()
            .map(|evidence| ("evidence", evidence.to_string())),
    );

    (
        format!("{}: {how} version {} ({from})", m.model, m.to),
        facts,
    )
}

/// Writes the report as Markdown.
pub(crate) fn markdown(namespace: &str, moves: &[Moved]) -> String {
    let mut text = format!(
        "# Changes of champion in {}\n\n{} changes.\n",
        escape_markdown(namespace),
        moves.len()
    );

    for (heading, facts) in moves.iter().map(describe) {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n## {}\n\n", escape_markdown(&heading));
        for (name, fact) in facts {
            let _ = writeln!(text, "- {name}: {}", escape_markdown(&fact));
        }
    }

    text
}

/// Writes the report as one self-contained HTML page.
pub(crate) fn html(namespace: &str, moves: &[Moved]) -> String {
    let title = format!("Changes of champion in {}", escaped(namespace));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
         <h1>{title}</h1>\n<p>{} changes.</p>\n",
        moves.len()
    );

    for (heading, facts) in moves.iter().map(describe) {
        let _ = writeln!(page, "<section>\n<h2>{}</h2>\n<dl>", escaped(&heading));
        for (name, fact) in facts {
            let _ = writeln!(page, "<dt>{name}</dt><dd>{}</dd>", escaped(&fact));
        }
        page.push_str("</dl>\n</section>\n");
    }

    page.push_str("</html>\n");
    page
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
dl{display:grid;grid-template-columns:7rem 1fr;gap:.2rem 1rem}dt{color:#666}dd{margin:0;overflow-wrap:anywhere}\
section{border-top:1px solid #ccc}";

/// Escapes Markdown in text that people wrote.
fn escape_markdown(text: &str) -> String {
    let escape = |c: char| match c {
        '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|' => format!("\\{c}"),
        c if c.is_control() => " ".to_owned(),
        c => c.to_string(),
    };

    text.chars().map(escape).collect()
}

fn escaped(text: &str) -> String {
    let escape = |c: char| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        c => c.to_string(),
    };

    text.chars().map(escape).collect()
}
