//! The bytes of one prediction in an answer segment: the version, the rows, the answer of each row
//! and its part in each slice. Numbers are LEB128.

use super::{damaged, short};
use crate::core::error::Result;
use crate::observe::quality::answer::RowAnswer;
use std::collections::HashMap;

const NO_ANSWER: u8 = 0;
const CLASS: u8 = 1;
const VALUE: u8 = 2;

/// The different parts of slices.
#[derive(Default)]
pub(super) struct Words {
    pub list: Vec<String>,
    places: HashMap<String, usize>,
}

impl Words {
    /// Returns the place of a word, from 1.
    fn place(&mut self, word: &str) -> usize {
        if let Some(place) = self.places.get(word) {
            return *place;
        }
        self.list.push(word.to_owned());
        self.places.insert(word.to_owned(), self.list.len());
        self.list.len()
    }
}

/// A prediction that was read.
pub(super) struct ReadAnswers {
    pub subject: usize,
    pub answers: Vec<Option<RowAnswer>>,
    pub parts: Vec<Vec<String>>,
}

/// Writes a prediction of a version with so many slices. A row without a part in a slice has an
/// empty one.
pub(super) fn write_prediction(
    bytes: &mut Vec<u8>,
    words: &mut Words,
    (subject, slices): (usize, usize),
    answers: &[Option<RowAnswer>],
    parts: &[Vec<String>],
) {
    write_number(bytes, subject);
    write_number(bytes, answers.len());
    for answer in answers {
        match answer {
            None => bytes.push(NO_ANSWER),
            Some(RowAnswer::Value(value)) => {
                bytes.push(VALUE);
                bytes.extend_from_slice(&value.to_le_bytes());
            }
            Some(RowAnswer::Class(class, scores)) => {
                bytes.push(CLASS);
                write_number(bytes, *class as usize);
                scores
                    .iter()
                    .for_each(|score| bytes.extend_from_slice(&score.to_le_bytes()));
            }
        }
    }

    for slice in 0..slices {
        for row in 0..answers.len() {
            let part = parts.get(slice).and_then(|parts| parts.get(row));
            let place = part.map_or(0, |part| words.place(part));
            write_number(bytes, place);
        }
    }
}

/// Reads a prediction. `widths` are the classes and the slices of each version.
pub(super) fn read_prediction(
    bytes: &[u8],
    words: &[String],
    widths: &[(usize, usize)],
) -> Result<ReadAnswers> {
    let mut rest = Rest(bytes);
    let subject = rest.number()?;
    let (classes, slices) = *widths
        .get(subject)
        .ok_or_else(|| damaged("a prediction has no version"))?;
    let rows = rest.number()?;
    // Each row takes a byte at least.
    if rows > bytes.len() {
        return Err(short());
    }

    let answers = (0..rows)
        .map(|_| rest.answer(classes))
        .collect::<Result<_>>()?;
    let parts = (0..slices)
        .map(|_| (0..rows).map(|_| rest.word(words)).collect())
        .collect::<Result<_>>()?;
    if !rest.0.is_empty() {
        return Err(damaged("a prediction is too long"));
    }

    Ok(ReadAnswers {
        subject,
        answers,
        parts,
    })
}

fn write_number(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// What is left to read.
struct Rest<'b>(&'b [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or_else(short)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn number(&mut self) -> Result<usize> {
        let mut number = 0_usize;
        for shift in (0..usize::BITS).step_by(7) {
            let [byte] = self.take()?;
            number |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(damaged("a number is too long"))
    }

    fn answer(&mut self, classes: usize) -> Result<Option<RowAnswer>> {
        match self.take()? {
            [NO_ANSWER] => Ok(None),
            [VALUE] => Ok(Some(RowAnswer::Value(f64::from_le_bytes(self.take()?)))),
            [CLASS] => {
                let class = u32::try_from(self.number()?)
                    .map_err(|_| damaged("a class is out of range"))?;
                let score = |_| self.take().map(f32::from_le_bytes);
                let scores = (0..classes).map(score).collect::<Result<_>>()?;
                Ok(Some(RowAnswer::Class(class, scores)))
            }
            _ => Err(damaged("an answer is of an unknown kind")),
        }
    }

    fn word(&mut self, words: &[String]) -> Result<String> {
        match self.number()? {
            0 => Ok(String::new()),
            place => words
                .get(place - 1)
                .cloned()
                .ok_or_else(|| damaged("a slice has an unknown part")),
        }
    }
}
