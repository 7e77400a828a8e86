//! The elements of a tensor as JSON: read from nested arrays (`elements.rs`), and written back as
//! numbers that read to the same bits. Owns the form of numbers and nesting; knows no protocol.

mod deferred;
pub(crate) mod document;
pub(crate) mod elements;
mod number;
mod scan;
#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result, short};
use crate::core::tensor::{DType, Data, Tensor};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Refuses an answer that has no JSON form; `remedy` says how to ask for it.
pub(crate) fn check_json_form(name: &str, tensor: &Tensor, remedy: &str) -> Result<()> {
    let name = short(name);
    let refuse = |what: String| Err(Error::invalid(format!("output '{name}' {what}; {remedy}")));
    match (tensor.dtype(), tensor.data()) {
        (dtype @ (DType::F16 | DType::BF16), _) => {
            refuse(format!("is {dtype}, which has no JSON form"))
        }
        (_, Data::Strings(strings)) => match strings.find_no_text() {
            Some(at) => refuse(format!(
                "is not UTF-8 in element {at}, so it has no JSON form"
            )),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Appends a tensor's elements, as one flat array or nested by its shape. Strings that are not UTF-8
/// have replacement characters.
/// Non-finite floats become `NaN`, `Infinity` and `-Infinity`.
pub(crate) fn write_elements(out: &mut Vec<u8>, tensor: &Tensor, nested: bool) {
    let count = crate::core::tensor::elements(tensor.shape()).expect("checked at construction");
    let flat = [count];
    let shape = if nested { tensor.shape() } else { &flat };
    Writer::new(tensor, StringForm::Plain).write(out, shape);
}

/// How strings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StringForm {
    /// As JSON strings.
    Plain,
    /// As `{"b64": text}`.
    Base64,
}

/// Writes a tensor's elements in order, as many at a time as requested.
pub(crate) struct Writer<'a> {
    dtype: DType,
    text: StringForm,
    source: ElementSource<'a>,
}

enum ElementSource<'a> {
    Fixed(&'a [u8]),
    Strings(Box<dyn Iterator<Item = &'a [u8]> + 'a>),
}

impl<'a> Writer<'a> {
    /// Starts at the first element.
    pub(crate) fn new(tensor: &'a Tensor, text: StringForm) -> Self {
        let source = match tensor.data() {
            Data::Fixed(bytes) => ElementSource::Fixed(bytes),
            Data::Strings(strings) => ElementSource::Strings(Box::new(strings.iter())),
        };

        Self {
            dtype: tensor.dtype(),
            text,
            source,
        }
    }

    /// Appends the next `product(shape)` elements, nested by `shape`.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, shape: &[usize]) {
        let Some((length, rest)) = shape.split_first() else {
            return self.write_row(out, 1);
        };
        out.push(b'[');
        if rest.is_empty() {
            self.write_row(out, *length);
        } else {
            for i in 0..*length {
                if i > 0 {
                    out.push(b',');
                }
                self.write(out, rest);
            }
        }
        out.push(b']');
    }

    /// Appends the next elements with commas between them.
    fn write_row(&mut self, out: &mut Vec<u8>, length: usize) {
        match &mut self.source {
            ElementSource::Fixed(bytes) => {
                let width = self.dtype.element_bytes().expect("fixed width");
                let (row, rest) = bytes.split_at(length * width);
                *bytes = rest;
                write_numbers(out, self.dtype, row);
            }
            ElementSource::Strings(strings) => {
                for i in 0..length {
                    if i > 0 {
                        out.push(b',');
                    }
                    let string = strings.next().expect("shape and data agree");
                    write_string(out, string, self.text);
                }
            }
        }
    }
}

fn write_string(out: &mut Vec<u8>, string: &[u8], form: StringForm) {
    match form {
        StringForm::Plain => write_json(out, &*String::from_utf8_lossy(string)),
        StringForm::Base64 => {
            out.extend_from_slice(b"{\"b64\":\"");
            out.extend_from_slice(STANDARD.encode(string).as_bytes());
            out.extend_from_slice(b"\"}");
        }
    }
}

/// Appends a value as JSON.
pub(crate) fn write_json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("a Vec takes every write and these values serialize");
}

// The datatype is looked at once for a row, not once for an element. Floats have the fewest digits
// that read back to the same bits.
fn write_numbers(out: &mut Vec<u8>, dtype: DType, bytes: &[u8]) {
    match dtype {
        DType::Bool => each(out, bytes, |out, [b]| write_json(out, &(b != 0))),
        DType::U8 => each(out, bytes, |out, [b]| write_json(out, &b)),
        DType::I8 => each(out, bytes, |out, b| write_json(out, &i8::from_le_bytes(b))),
        DType::U16 => each(out, bytes, |out, b| write_json(out, &u16::from_le_bytes(b))),
        DType::I16 => each(out, bytes, |out, b| write_json(out, &i16::from_le_bytes(b))),
        DType::U32 => each(out, bytes, |out, b| write_json(out, &u32::from_le_bytes(b))),
        DType::I32 => each(out, bytes, |out, b| write_json(out, &i32::from_le_bytes(b))),
        DType::U64 => each(out, bytes, |out, b| write_json(out, &u64::from_le_bytes(b))),
        DType::I64 => each(out, bytes, |out, b| write_json(out, &i64::from_le_bytes(b))),
        DType::F16 => each(out, bytes, |out, b| {
            write_f32(out, half::f16::from_le_bytes(b).to_f32());
        }),
        DType::BF16 => each(out, bytes, |out, b| {
            write_f32(out, half::bf16::from_le_bytes(b).to_f32());
        }),
        DType::F32 => each(out, bytes, |out, b| write_f32(out, f32::from_le_bytes(b))),
        DType::F64 => each(out, bytes, |out, b| write_f64(out, f64::from_le_bytes(b))),
        DType::String => unreachable!("strings are not fixed-width"),
    }
}

/// Writes elements of `W` bytes with commas between them.
fn each<const W: usize>(out: &mut Vec<u8>, bytes: &[u8], write: impl Fn(&mut Vec<u8>, [u8; W])) {
    for (i, element) in bytes.as_chunks::<W>().0.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(out, *element);
    }
}

fn write_f64(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        write_json(out, &value);
    } else {
        write_token(out, value);
    }
}

/// Appends a number, or the word for one that JSON has no number for.
pub(crate) fn write_f32(out: &mut Vec<u8>, value: f32) {
    if value.is_finite() {
        write_json(out, &value)
    } else {
        write_token(out, value.into())
    }
}

fn write_token(out: &mut Vec<u8>, value: f64) {
    let token = if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    };

    out.extend_from_slice(token.as_bytes());
}
