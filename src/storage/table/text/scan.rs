//! The first pass over a text table: reads all rows of all files once, and decides the type of each
//! column. Rows are split on one thread and tallied on the others; memory does not grow with the file.

use super::column::TextTally;
use super::decide::{ColumnDecision, DecisionContext, TextType, decide, decimal};
use super::dialect::delimiter_name;
use super::format::{TextFormat, TextRules};
use super::header::HeaderName;
use super::number::DECIMAL_COMMA;
use super::place::RowPlace;
use super::records::{FoundDialect, OddRows, RecordBlock, RecordReader};
use super::time_tally::TimeFacts;
use super::{TextFault, TextSource};
use crate::core::count::{agreed, counted};
use crate::core::error::{Error, Result, short};
use crossbeam_channel::bounded;
use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

/// The most threads that tally values.
const THREADS_MAX: usize = 8;

/// What was understood of a column.
#[derive(Clone, Debug, PartialEq)]
pub struct TextColumnReport {
    /// The name in the table.
    pub name: String,
    /// The type.
    pub kind: TextType,
    /// Rows of the table.
    pub rows: u64,
    /// Rows without a value.
    pub missing: u64,
    /// The least and the largest number, or time in microseconds since 1970.
    pub range: Option<(f64, f64)>,
    /// Some different words, in the order of the file; also of booleans and times.
    pub words: Vec<String>,
    /// What a person should know: what makes it words, which signs were left out.
    pub notes: Vec<String>,
    /// What was understood of times, if most values are times.
    pub times: Option<TimeFacts>,
}

/// The unit of times that are whole numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnixUnit {
    /// Seconds since 1970.
    Seconds,
    /// Milliseconds since 1970.
    Millis,
    /// Microseconds since 1970.
    Micros,
    /// Nanoseconds since 1970.
    Nanos,
}

impl UnixUnit {
    /// Returns the unit by which a range of numbers is within the years 1990 to 2099.
    pub fn of_range(least: f64, most: f64) -> Option<Self> {
        let all = [Self::Seconds, Self::Millis, Self::Micros, Self::Nanos];
        let fits = |unit: &Self| {
            let (from, until) = (631_152_000.0, 4_102_444_800.0);
            least >= from * unit.per_second() && most < until * unit.per_second()
        };
        all.into_iter().find(fits)
    }

    /// Returns how many of it are a second.
    pub fn per_second(self) -> f64 {
        match self {
            Self::Seconds => 1.0,
            Self::Millis => 1e3,
            Self::Micros => 1e6,
            Self::Nanos => 1e9,
        }
    }

    /// Returns its name in the plural.
    pub fn label(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Millis => "milliseconds",
            Self::Micros => "microseconds",
            Self::Nanos => "nanoseconds",
        }
    }
}

/// A text table whose rows were all read once.
#[derive(Debug)]
pub struct ScannedText {
    /// Its columns, in the order of the first file.
    pub columns: Vec<TextColumnReport>,
    /// The number of rows.
    pub rows: u64,
    /// What a person should know of the table: columns and rows that were left out.
    pub notes: Vec<String>,
    pub(super) files: Vec<ScannedFile>,
    pub(super) decisions: Vec<ColumnDecision>,
    pub(super) rules: TextRules,
}

/// A file that was read once.
#[derive(Debug)]
pub(super) struct ScannedFile {
    pub source: TextSource,
    pub dialect: FoundDialect,
    /// For each column of the table, the field in this file.
    pub fields: Vec<usize>,
    pub rows: u64,
}

/// Decides whether a table of so many rows and columns is too large.
pub type SizeCheck<'c> = &'c (dyn Fn(u64, usize) -> Result<()> + Sync);

/// Reads all rows of files, and decides the types of their columns. Refuses files that cannot be read
/// as one table; each error names the file, and the line and the column where there is one.
pub fn scan(
    sources: &[TextSource],
    format: &TextFormat,
    check: SizeCheck<'_>,
) -> Result<ScannedText> {
    let rules = format.rules()?;
    let mut merged: Option<MergedFiles> = None;
    let mut names = Vec::new();
    for (at, source) in sources.iter().enumerate() {
        names.push(source.name());
        let named = |e: Error| e.context(source.name());
        let before = merged.as_ref().map_or(0, |merged| merged.rows);
        let check = |rows, columns| check(before + rows, columns);
        let part = scan_file(source, at, &rules, &check).map_err(named)?;
        match &mut merged {
            None => merged = Some(MergedFiles::new(part, source)),
            Some(merged) => merged.add(part, source, &names)?,
        }
    }
    let merged = merged.ok_or_else(|| Error::invalid("there is no file to read"))?;
    Ok(merged.finish(rules, &names))
}

/// What was seen of one file.
struct FileTally {
    header: Vec<HeaderName>,
    dialect: FoundDialect,
    columns: Vec<TextTally>,
    rows: u64,
    odd: OddRows,
}

fn scan_file(
    source: &TextSource,
    file: usize,
    rules: &TextRules,
    check: SizeCheck<'_>,
) -> Result<FileTally> {
    match tally_file(source, file, rules, None, check) {
        Ok(found) => Ok(found),
        Err(TextFault::Refused(error)) => Err(error),
        // Bytes that are not UTF-8 may come late, so it begins again.
        Err(TextFault::NotUtf8) if rules.encoding.is_none() => {
            match tally_file(source, file, rules, Some(WINDOWS_1252), check) {
                Err(TextFault::Refused(error)) => Err(error),
                Err(TextFault::NotUtf8) => Err(not_utf8()),
                Ok(found) => Ok(found),
            }
        }
        Err(TextFault::NotUtf8) => Err(not_utf8()),
    }
}

/// The error for bytes that are not UTF-8, although it is set.
pub(super) fn not_utf8() -> Error {
    Error::invalid("is not UTF-8; set 'encoding' to the right one, such as \"windows-1252\"")
}

fn tally_file(
    source: &TextSource,
    file: usize,
    rules: &TextRules,
    encoding: Option<&'static Encoding>,
    check: SizeCheck<'_>,
) -> Result<FileTally, TextFault> {
    let mut reader = RecordReader::open(source, rules, encoding)?;
    let tallier = BlockTallier { file, rules };
    let width = reader.header.len();
    let mut columns: Vec<TextTally> = (0..width).map(|_| TextTally::new(rules)).collect();
    let mut rows = 0;
    let mut next = || -> Result<Option<RecordBlock>, TextFault> {
        let block = reader.next_block()?;
        rows += block.as_ref().map_or(0, |block| block.rows() as u64);
        check(rows, width)?;
        Ok(block)
    };

    // A small file is not worth a thread.
    let first = next()?;
    if let Some(block) = &first {
        tallier.tally(block, &mut columns);
    }
    if first.is_some() {
        let others = tallier.on_threads(width, &mut next)?;
        for part in others {
            for (column, part) in columns.iter_mut().zip(part) {
                column.merge(part);
            }
        }
    }
    Ok(FileTally {
        header: reader.header,
        dialect: reader.dialect,
        columns,
        rows,
        odd: reader.odd,
    })
}

/// Tallies blocks of a file.
#[derive(Clone, Copy)]
struct BlockTallier<'t> {
    file: usize,
    rules: &'t TextRules,
}

impl BlockTallier<'_> {
    fn tally(&self, block: &RecordBlock, columns: &mut [TextTally]) {
        for (at, column) in columns.iter_mut().enumerate() {
            for row in 0..block.rows() {
                let place = RowPlace {
                    file: self.file,
                    line: block.line(row),
                    row: block.first_row + row as u64,
                };
                column.add(block.field(row, at), place, self.rules);
            }
        }
    }

    /// Tallies the remaining blocks on threads.
    fn on_threads(
        &self,
        width: usize,
        next: &mut dyn FnMut() -> Result<Option<RecordBlock>, TextFault>,
    ) -> Result<Vec<Vec<TextTally>>, TextFault> {
        let Some(second) = next()? else {
            return Ok(Vec::new());
        };
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(THREADS_MAX));
        let (sender, receiver) = bounded::<RecordBlock>(threads);
        let work = || {
            let mut columns: Vec<TextTally> =
                (0..width).map(|_| TextTally::new(self.rules)).collect();
            for block in receiver.clone() {
                self.tally(&block, &mut columns);
            }
            columns
        };

        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let mut block = Some(second);
            let mut fault = None;
            while let Some(some) = block.take() {
                if sender.send(some).is_err() {
                    break;
                }
                match next() {
                    Ok(more) => block = more,
                    Err(e) => fault = Some(e),
                }
            }
            drop(sender);
            let parts = workers.into_iter().map(|worker| {
                let part = worker.join();
                part.map_err(|_| TextFault::Refused(Error::internal("a thread panicked")))
            });
            let parts: Result<Vec<_>, _> = parts.collect();
            match fault {
                Some(fault) => Err(fault),
                None => parts,
            }
        })
    }
}

/// The files of a table so far.
struct MergedFiles {
    header: Vec<HeaderName>,
    columns: Vec<TextTally>,
    files: Vec<ScannedFile>,
    rows: u64,
    odd: OddRows,
}

impl MergedFiles {
    fn new(part: FileTally, source: &TextSource) -> Self {
        let file = ScannedFile {
            source: source.clone(),
            dialect: part.dialect,
            fields: (0..part.header.len()).collect(),
            rows: part.rows,
        };
        Self {
            header: part.header,
            columns: part.columns,
            files: vec![file],
            rows: part.rows,
            odd: part.odd,
        }
    }

    /// Adds a file, whose columns must have the same names in any order.
    fn add(&mut self, mut part: FileTally, source: &TextSource, files: &[String]) -> Result<()> {
        let differ = |what: &str, name: &str| {
            Error::invalid(format!(
                "{} and {} differ: only the {what} has the column '{}'; give all files of a source the same columns",
                files[0],
                source.name(),
                short(name)
            ))
        };
        let mut fields = Vec::with_capacity(self.header.len());
        for name in &self.header {
            let at = part.header.iter().position(|other| other.name == name.name);
            fields.push(at.ok_or_else(|| differ("first", &name.name))?);
        }
        if part.header.len() > self.header.len() {
            let is_new = |other: &&HeaderName| self.header.iter().all(|h| h.name != other.name);
            let more = part.header.iter().find(is_new);
            return Err(differ("second", more.map_or("", |more| &more.name)));
        }

        let mut parts: Vec<Option<TextTally>> = part.columns.drain(..).map(Some).collect();
        for (column, at) in self.columns.iter_mut().zip(&fields) {
            if let Some(part) = parts[*at].take() {
                column.merge(part);
            }
        }
        self.rows += part.rows;
        self.odd.headers += part.odd.headers;
        self.odd.skipped += part.odd.skipped;
        self.odd.filled += part.odd.filled;
        self.files.push(ScannedFile {
            source: source.clone(),
            dialect: part.dialect,
            fields,
            rows: part.rows,
        });
        Ok(())
    }

    fn finish(mut self, rules: TextRules, names: &[String]) -> ScannedText {
        let mut notes = self.odd.notes();
        let context = DecisionContext {
            rules: &rules,
            files: names,
            decimal: decimal(self.columns.iter()),
            semicolons: self.files.iter().all(|f| f.dialect.delimiter == b';'),
        };
        let (mut columns, mut decisions, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for (at, (header, tally)) in self.header.iter().zip(&self.columns).enumerate() {
            if let Some(why) = left_out(at, header, tally) {
                notes.push(why);
                continue;
            }
            let (decision, mut about) = decide(tally, &context);
            about.extend(header.note.clone());
            let times = tally.times(&rules);
            let counts = (self.rows, about);
            let report = TextColumnReport::new(header, tally, decision, counts);
            columns.push(TextColumnReport { times, ..report });
            decisions.push(decision);
            kept.push(at);
        }
        for file in &mut self.files {
            file.fields = kept.iter().map(|at| file.fields[*at]).collect();
        }

        ScannedText {
            columns,
            rows: self.rows,
            notes,
            files: self.files,
            decisions,
            rules,
        }
    }
}

/// Returns why a column is left out: it has no name, and counts the rows or has no value.
fn left_out(at: usize, header: &HeaderName, tally: &TextTally) -> Option<String> {
    if !header.unnamed {
        return None;
    }
    if at == 0 && tally.counts_rows && tally.present() > 0 {
        return Some(
            "the first column has no name and counts the rows, as pandas writes it; it is left out"
                .to_owned(),
        );
    }
    (tally.present() == 0).then(|| {
        format!(
            "column {} has neither a name nor a value; it is left out",
            at + 1
        )
    })
}

impl OddRows {
    fn notes(&self) -> Vec<String> {
        let all = [
            (self.headers, "left out: the header again"),
            (
                self.skipped,
                "skipped: another number of fields than the header",
            ),
            (
                self.filled,
                "filled with missing values: fewer fields than the header",
            ),
        ];
        let some = all.into_iter().filter(|(rows, _)| *rows > 0);
        let some = some.map(|(rows, what)| {
            let (row, was) = (counted(rows, "row"), agreed(rows, "was", "were"));
            format!("{row} {was} {what}")
        });
        some.collect()
    }
}

impl TextColumnReport {
    fn new(
        header: &HeaderName,
        tally: &TextTally,
        decision: ColumnDecision,
        (rows, notes): (u64, Vec<String>),
    ) -> Self {
        let range = match decision.kind {
            TextType::Whole | TextType::Unsigned | TextType::Number => {
                let side = usize::from(decision.format & DECIMAL_COMMA != 0);
                let extent = tally.number.extent[side];
                Some((extent.least, extent.most))
            }
            TextType::Time { .. } => {
                let extent = tally.time.extent(decision.format);
                Some((extent.least as f64, extent.most as f64))
            }
            _ => None,
        };
        let words = tally.some_words.iter().map(|word| word.value.clone());
        Self {
            name: header.name.clone(),
            kind: decision.kind,
            rows,
            missing: tally.missing,
            range,
            words: words.collect(),
            notes,
            times: None,
        }
    }

    /// Returns the unit in which numbers look like times since 1970: all of them are between 1990 and
    /// 2100.
    pub fn unix_unit(&self) -> Option<UnixUnit> {
        let is_number = matches!(self.kind, TextType::Whole | TextType::Number);
        let (least, most) = self.range.filter(|_| is_number)?;
        UnixUnit::of_range(least, most)
    }
}

impl ScannedText {
    /// Reads a column as words, whatever its type is.
    pub(crate) fn read_as_words(&mut self, column: usize) {
        self.columns[column].kind = TextType::Words;
        self.decisions[column].kind = TextType::Words;
    }

    /// Describes how the files are written: "semicolons, decimal comma, windows-1252, gzip". What is
    /// usual (a decimal point, UTF-8, no compression) is left out.
    pub fn dialect(&self) -> String {
        let mut found: Vec<String> = Vec::new();
        for file in &self.files {
            let mut parts = vec![delimiter_name(file.dialect.delimiter)];
            let has_comma = |decision: &ColumnDecision| {
                decision.kind == TextType::Number && decision.format & DECIMAL_COMMA != 0
            };
            if self.decisions.iter().any(has_comma) {
                parts.push("decimal comma".to_owned());
            }
            if file.dialect.encoding != UTF_8 {
                parts.push(file.dialect.encoding.name().to_owned());
            }
            parts.extend(file.dialect.packing.label().map(str::to_owned));
            let line = parts.join(", ");
            if !found.contains(&line) {
                found.push(line);
            }
        }
        found.join("; ")
    }
}
