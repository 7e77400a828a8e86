//! Tests of `text`: rules one by one, the files of people in many dialects, and bytes of any kind.

mod dialects;
mod drafts;
mod hostile;
mod rules;
mod twins;
mod values;

use super::decide::TextType;
use super::format::TextFormat;
use super::read::{TextReader, TextValues};
use super::scan::{ScannedText, scan};
use super::*;
use std::sync::Arc;

/// A value as it was read.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Missing,
    Bool(bool),
    Whole(i64),
    Unsigned(u64),
    Number(f64),
    Time(i64),
    Word(String),
}

/// A table as it was read.
#[derive(Debug)]
struct ReadText {
    scanned: Arc<ScannedText>,
    columns: Vec<(String, TextType, Vec<Value>)>,
}

impl ReadText {
    fn column(&self, name: &str) -> &[Value] {
        let column = self.columns.iter().find(|(known, ..)| known == name);
        &column.unwrap_or_else(|| panic!("no column '{name}'")).2
    }

    fn kind(&self, name: &str) -> TextType {
        let column = self.columns.iter().find(|(known, ..)| known == name);
        column.unwrap_or_else(|| panic!("no column '{name}'")).1
    }

    /// All notes in one text.
    fn notes(&self) -> String {
        let about = self.scanned.columns.iter();
        let about = about.flat_map(|c| c.notes.iter().map(|note| format!("{}: {note}", c.name)));
        let all: Vec<String> = self.scanned.notes.iter().cloned().chain(about).collect();
        all.join("\n")
    }
}

fn values(values: &TextValues, present: &[bool]) -> Vec<Value> {
    let all: Vec<Value> = match values {
        TextValues::Missing => vec![Value::Missing; present.len()],
        TextValues::Bool(all) => all.iter().map(|v| Value::Bool(*v)).collect(),
        TextValues::Whole(all) => all.iter().map(|v| Value::Whole(*v)).collect(),
        TextValues::Unsigned(all) => all.iter().map(|v| Value::Unsigned(*v)).collect(),
        TextValues::Number(all) => all.iter().map(|v| Value::Number(*v)).collect(),
        TextValues::Time(all) => all.iter().map(|v| Value::Time(*v)).collect(),
        TextValues::Words(all) => all.iter().map(|v| Value::Word(v.to_owned())).collect(),
    };
    assert_eq!(all.len(), present.len());
    let marked = all.into_iter().zip(present);
    let marked = marked.map(|(value, present)| if *present { value } else { Value::Missing });
    marked.collect()
}

fn read_sources(sources: &[TextSource], format: &TextFormat) -> Result<ReadText> {
    let scanned = Arc::new(scan(sources, format, &|_, _| Ok(()))?);
    let chosen: Vec<usize> = (0..scanned.columns.len()).collect();
    let mut reader = TextReader::new(scanned.clone(), chosen, 700);
    let about = scanned.columns.iter();
    let mut columns: Vec<_> = about
        .map(|c| (c.name.clone(), c.kind, Vec::new()))
        .collect();
    let mut rows = 0;
    while let Some(batch) = reader.next_batch()? {
        assert!(batch.rows > 0 && batch.rows <= 700);
        rows += batch.rows as u64;
        for (part, column) in batch.columns.iter().zip(&mut columns) {
            column.2.extend(values(&part.values, &part.present));
        }
    }
    assert_eq!(rows, scanned.rows, "rows are conserved");
    for (column, about) in columns.iter().zip(&scanned.columns) {
        assert_eq!(column.2.len() as u64, rows);
        let missing = column.2.iter().filter(|v| **v == Value::Missing).count();
        assert_eq!(missing as u64, about.missing, "{}", about.name);
    }
    Ok(ReadText { scanned, columns })
}

fn read_bytes(bytes: impl Into<Bytes>, format: &TextFormat) -> Result<ReadText> {
    read_sources(&[TextSource::memory("rows.csv", bytes)], format)
}

fn read_text(text: &str) -> ReadText {
    read_bytes(text.to_owned(), &TextFormat::default()).expect("reads")
}

fn read_set(text: &str, set: impl FnOnce(&mut TextFormat)) -> ReadText {
    let mut format = TextFormat::default();
    set(&mut format);
    read_bytes(text.to_owned(), &format).expect("reads")
}

fn refused(bytes: impl Into<Bytes>, format: &TextFormat) -> String {
    match read_bytes(bytes, format) {
        Err(error) => error.message,
        Ok(read) => panic!("read as {:?}", read.columns),
    }
}

/// Checks that a text contains parts.
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "'{text}' does not say '{part}'");
    }
}

fn whole(all: &[i64]) -> Vec<Value> {
    all.iter().map(|v| Value::Whole(*v)).collect()
}

fn number(all: &[f64]) -> Vec<Value> {
    all.iter().map(|v| Value::Number(*v)).collect()
}

fn words(all: &[&str]) -> Vec<Value> {
    let word = |word: &&str| match *word {
        "" => Value::Missing,
        word => Value::Word(word.to_owned()),
    };
    all.iter().map(word).collect()
}
