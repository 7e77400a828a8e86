//! Labels in requests, and the response that says which were accepted.

#[cfg(test)]
mod tests;

use crate::core::error::short;
use crate::core::error::{Error, Kind, Result};
use crate::observe::quality::answer::Label;
use chrono::{DateTime, Utc};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};
use std::fmt;
use uuid::Uuid;

/// A label as a client sent it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Given {
    pub id: Uuid,
    pub row: u32,
    pub label: Label,
    /// When the label became known, according to the client.
    pub time: Option<DateTime<Utc>>,
}

/// A label that was refused.
#[derive(Debug)]
pub(crate) struct Refused {
    pub index: usize,
    pub error: Error,
}

/// The result for the labels of a request.
#[derive(Debug, Default)]
pub(crate) struct Receipt {
    /// Labels that were stored, new or corrected.
    pub accepted: usize,
    /// How many of them were joined with their prediction.
    pub joined: usize,
    /// How many wait for their prediction.
    pub pending: usize,
    /// Labels that were known already.
    pub duplicates: usize,
    pub refused: Vec<Refused>,
}

impl Given {
    /// Reads one label of a request.
    pub(crate) fn of_parts(
        id: &str,
        row: u32,
        label: Label,
        time: Option<DateTime<Utc>>,
    ) -> Result<Self> {
        let id = Uuid::parse_str(id).map_err(|_| {
            Error::invalid(format!(
                "prediction_id must be the id of a prediction (ortus-prediction-id in its response); got '{}'",
                short(id)
            ))
        })?;

        Ok(Self {
            id,
            row,
            label,
            time,
        })
    }

    fn of_json(value: &Value) -> Result<Self> {
        let Value::Object(members) = value else {
            return Err(Error::invalid("each label must be an object"));
        };
        if let Some(unknown) = members
            .keys()
            .find(|k| !matches!(k.as_str(), "prediction_id" | "row" | "label" | "time"))
        {
            let known = "prediction_id, row, label and time";
            return Err(Error::invalid(format!(
                "unknown field '{}'; the fields are {known}",
                short(unknown)
            )));
        }

        let id = members.get("prediction_id").and_then(Value::as_str);
        let id =
            id.ok_or_else(|| Error::invalid("prediction_id must be a string and is required"))?;
        let row = match members.get("row") {
            None => 0,
            Some(row) => row
                .as_u64()
                .and_then(|n| u32::try_from(n).ok())
                .ok_or_else(|| Error::invalid("row must be a non-negative integer"))?,
        };

        let label = members
            .get("label")
            .ok_or_else(|| Error::invalid("label is required"))?;
        let time = match members.get("time") {
            None | Some(Value::Null) => None,
            Some(text) => Some(time(text.as_str().unwrap_or_default())?),
        };

        Self::of_parts(id, row, Label::of_json(label)?, time)
    }
}

/// Reads the time of a label.
pub(crate) fn time(text: &str) -> Result<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text);
    let time = time.map_err(|_| {
        Error::invalid("time must be an RFC 3339 time, such as 2026-01-31T12:00:00Z")
    })?;
    Ok(time.with_timezone(&Utc))
}

/// Reads the body of a request. Refuses a body that is not a list of labels; an error in one label
/// refuses that label only.
pub(crate) fn read(body: &[u8], labels_max: usize) -> Result<Vec<Result<Given>>> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = LabelReader { labels_max }
        .deserialize(&mut reader)
        .and_then(|labels| reader.end().map(|()| labels));
    read.map_err(|e| {
        Error::invalid(format!(
            "the body must be {{\"labels\": [{{\"prediction_id\": …, \"row\": 0, \"label\": …}}, …]}}: {e}"
        ))
    })
}

/// Reads label by label, up to the limit: a body of many small labels would take a hundred times
/// its size in memory.
#[derive(Clone, Copy)]
struct LabelReader {
    labels_max: usize,
}

impl<'d> DeserializeSeed<'d> for LabelReader {
    type Value = Vec<Result<Given>>;

    fn deserialize<D: Deserializer<'d>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'d> Visitor<'d> for LabelReader {
    type Value = Vec<Result<Given>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with one field, `labels`")
    }

    fn visit_map<A: MapAccess<'d>>(
        self,
        mut members: A,
    ) -> std::result::Result<Self::Value, A::Error> {
        let mut labels = None;
        while let Some(member) = members.next_key::<String>()? {
            if member != "labels" || labels.is_some() {
                return Err(A::Error::custom(format!(
                    "unexpected field '{}'",
                    short(&member)
                )));
            }
            labels = Some(members.next_value_seed(List(self))?);
        }

        labels.ok_or_else(|| A::Error::missing_field("labels"))
    }
}

/// The list of labels.
struct List(LabelReader);

impl<'d> DeserializeSeed<'d> for List {
    type Value = Vec<Result<Given>>;

    fn deserialize<D: Deserializer<'d>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'d> Visitor<'d> for List {
    type Value = Vec<Result<Given>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of labels")
    }

    fn visit_seq<A: SeqAccess<'d>>(self, mut seq: A) -> std::result::Result<Self::Value, A::Error> {
        let mut labels = Vec::new();
        while let Some(label) = seq.next_element::<Value>()? {
            if labels.len() == self.0.labels_max {
                return Err(A::Error::custom(format!(
                    "a request may have at most {} labels; send several requests",
                    self.0.labels_max
                )));
            }
            labels.push(Given::of_json(&label));
        }

        Ok(labels)
    }
}

/// Most refusals that are listed; the others are only counted.
const LISTED_MAX: usize = 100;

impl Receipt {
    /// Writes the result as JSON.
    pub(crate) fn to_json(&self) -> Value {
        let listed = self.refused.iter().take(LISTED_MAX);
        let listed: Vec<Value> =
            listed.map(|r| json!({"index": r.index, "code": r.error.kind.label(), "message": r.error.message})).collect();
        json!({
            "accepted": self.accepted, "joined": self.joined, "pending": self.pending, "duplicates": self.duplicates,
            "refused": self.refused.len(), "errors": listed,
        })
    }

    /// Returns the error of a request whose labels were all refused.
    pub(crate) fn error(&self) -> Option<Kind> {
        let first = self
            .refused
            .first()
            .filter(|_| self.accepted + self.duplicates == 0)?;
        Some(first.error.kind)
    }
}
