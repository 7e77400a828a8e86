//! Ways to write a table: separators, marks, encodings, compression.

use super::drafts::{Draft, DraftTable};
use encoding_rs::WINDOWS_1252;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use std::io::Write;

/// How a table is written.
#[derive(Clone, Copy)]
pub(super) struct Dialect {
    pub(super) delimiter: &'static str,
    pub(super) comma: bool,
    pub(super) end: &'static str,
    pub(super) missing: &'static str,
    pub(super) quote_all: bool,
    pub(super) blanks: bool,
    pub(super) header_every: usize,
    pub(super) index: bool,
    pub(super) declared: bool,
    pub(super) encode: fn(&str) -> Vec<u8>,
    pub(super) pack: fn(&[u8]) -> Vec<u8>,
}

pub(super) fn as_is(bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}

pub(super) fn utf8(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

pub(super) const PLAIN: Dialect = Dialect {
    delimiter: ",",
    comma: false,
    end: "\n",
    missing: "",
    quote_all: false,
    blanks: false,
    header_every: 0,
    index: false,
    declared: false,
    encode: utf8,
    pack: as_is,
};

pub(super) const GERMAN: Dialect = Dialect {
    delimiter: ";",
    comma: true,
    ..PLAIN
};

pub(super) const DIALECTS: &[(&str, Dialect)] = &[
    ("plain", PLAIN),
    (
        "byte order mark",
        Dialect {
            encode: |text| format!("\u{feff}{text}").into_bytes(),
            ..PLAIN
        },
    ),
    (
        "CRLF",
        Dialect {
            end: "\r\n",
            ..PLAIN
        },
    ),
    ("CR", Dialect { end: "\r", ..PLAIN }),
    (
        "semicolons",
        Dialect {
            delimiter: ";",
            ..PLAIN
        },
    ),
    ("semicolons, decimal comma", GERMAN),
    (
        "commas, decimal comma",
        Dialect {
            comma: true,
            ..PLAIN
        },
    ),
    (
        "tabs",
        Dialect {
            delimiter: "\t",
            ..PLAIN
        },
    ),
    (
        "tabs, decimal comma",
        Dialect {
            delimiter: "\t",
            comma: true,
            ..PLAIN
        },
    ),
    (
        "pipes",
        Dialect {
            delimiter: "|",
            ..PLAIN
        },
    ),
    (
        "sep=",
        Dialect {
            declared: true,
            ..GERMAN
        },
    ),
    (
        "quoted",
        Dialect {
            quote_all: true,
            ..PLAIN
        },
    ),
    (
        "blanks",
        Dialect {
            blanks: true,
            ..PLAIN
        },
    ),
    (
        "NA",
        Dialect {
            missing: "NA",
            ..PLAIN
        },
    ),
    (
        "null",
        Dialect {
            missing: "null",
            ..PLAIN
        },
    ),
    (
        "question marks",
        Dialect {
            missing: "?",
            ..PLAIN
        },
    ),
    (
        "dashes",
        Dialect {
            missing: " - ",
            ..GERMAN
        },
    ),
    (
        "#N/A",
        Dialect {
            missing: "#N/A",
            ..GERMAN
        },
    ),
    (
        "repeated header",
        Dialect {
            header_every: 700,
            ..PLAIN
        },
    ),
    (
        "index",
        Dialect {
            index: true,
            ..PLAIN
        },
    ),
    (
        "index, semicolons",
        Dialect {
            index: true,
            ..GERMAN
        },
    ),
    (
        "UTF-16LE with mark",
        Dialect {
            encode: |text| utf16_of(&format!("\u{feff}{text}"), u16::to_le_bytes),
            ..PLAIN
        },
    ),
    (
        "UTF-16BE with mark",
        Dialect {
            encode: |text| utf16_of(&format!("\u{feff}{text}"), u16::to_be_bytes),
            ..GERMAN
        },
    ),
    (
        "UTF-16LE",
        Dialect {
            encode: |text| utf16_of(text, u16::to_le_bytes),
            ..PLAIN
        },
    ),
    (
        "UTF-16BE",
        Dialect {
            encode: |text| utf16_of(text, u16::to_be_bytes),
            delimiter: "\t",
            ..PLAIN
        },
    ),
    (
        "windows-1252",
        Dialect {
            encode: |text| WINDOWS_1252.encode(text).0.into_owned(),
            ..GERMAN
        },
    ),
    (
        "gzip",
        Dialect {
            pack: gzip,
            ..PLAIN
        },
    ),
    (
        "two members of gzip",
        Dialect {
            pack: |bytes| in_two(bytes, gzip),
            ..GERMAN
        },
    ),
    (
        "zstd",
        Dialect {
            pack: zstd,
            ..PLAIN
        },
    ),
    (
        "two frames of zstd",
        Dialect {
            pack: |bytes| in_two(bytes, zstd),
            ..GERMAN
        },
    ),
    (
        "zip",
        Dialect {
            pack: zip_deflated,
            ..PLAIN
        },
    ),
    (
        "zip, stored",
        Dialect {
            pack: |bytes| zip(&[("rows.csv", bytes)], false),
            ..GERMAN
        },
    ),
];

pub(super) fn utf16_of(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(bytes).collect()
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("written")
}

pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

pub(super) fn in_two(bytes: &[u8], pack: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    [pack(first), pack(second)].concat()
}

pub(super) fn zip_deflated(bytes: &[u8]) -> Vec<u8> {
    zip(&[("rows.csv", bytes)], true)
}

pub(super) fn zip(files: &[(&str, &[u8])], deflate: bool) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let packed = if deflate {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(content).expect("written");
            encoder.finish().expect("written")
        } else {
            content.to_vec()
        };
        let number = |n: usize| u32::try_from(n).expect("small").to_le_bytes();
        let mut about = vec![20, 0, 0, 0, if deflate { 8 } else { 0 }, 0, 0, 0, 0, 0];
        about.extend(crc.sum().to_le_bytes());
        about.extend(number(packed.len()));
        about.extend(number(content.len()));
        about.extend(u16::try_from(name.len()).expect("short").to_le_bytes());
        about.extend([0, 0]);
        let at = archive.len();
        archive.extend(b"PK\x03\x04");
        archive.extend(&about);
        archive.extend(name.as_bytes());
        archive.extend(packed);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&about);
        directory.extend([0; 10]);
        directory.extend(number(at));
        directory.extend(name.as_bytes());
    }
    let count = u16::try_from(files.len()).expect("few").to_le_bytes();
    let (at, length) = (archive.len(), directory.len());
    archive.extend(directory);
    archive.extend(b"PK\x05\x06\x00\x00\x00\x00");
    archive.extend(count);
    archive.extend(count);
    archive.extend(u32::try_from(length).expect("small").to_le_bytes());
    archive.extend(u32::try_from(at).expect("small").to_le_bytes());
    archive.extend([0, 0]);
    archive
}

impl Dialect {
    pub(super) fn write(&self, table: &DraftTable) -> Vec<u8> {
        let mut text = String::new();
        if self.declared {
            text += &format!("sep={}{}", self.delimiter, self.end);
        }
        let mut header: Vec<String> = table.names.iter().map(|n| self.quoted(n)).collect();
        if self.index {
            header.insert(0, String::new());
        }
        let header = header.join(self.delimiter) + self.end;
        text += &header;
        for (at, row) in table.rows.iter().enumerate() {
            if self.header_every > 0 && at > 0 && at % self.header_every == 0 {
                text += &header;
            }
            let mut cells: Vec<String> = row.iter().map(|cell| self.cell(cell)).collect();
            if self.index {
                cells.insert(0, at.to_string());
            }
            text += &cells.join(self.delimiter);
            text += self.end;
        }
        (self.pack)(&(self.encode)(&text))
    }

    pub(super) fn cell(&self, cell: &Draft) -> String {
        let text = match cell {
            Draft::Empty => self.missing.to_owned(),
            Draft::Number(text) if self.comma => text.replace('.', ","),
            Draft::Number(text) | Draft::Word(text) => text.clone(),
        };
        match self.blanks {
            true if !text.contains('\n') => format!(" {} ", self.quoted(&text)),
            _ => self.quoted(&text),
        }
    }

    pub(super) fn quoted(&self, text: &str) -> String {
        let must = [self.delimiter, "\"", "\n", "\r"]
            .iter()
            .any(|mark| text.contains(mark));
        match must || self.quote_all || text.starts_with(' ') {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text.to_owned(),
        }
    }
}
