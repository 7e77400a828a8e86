//! Reads the JSON of a plain request with binary tensors in one pass: known keys, no escapes, nothing
//! unusual. What it does not read, right or wrong, is left to the general reader, so it has no errors.

#[cfg(test)]
mod tests;

use super::{InferRequest, JsonParameters, OUTPUTS_MAX};
use crate::core::request::Request;
use crate::core::tensor::{DType, RANK_MAX, Tensor, shape_from_wire};
use bytes::Bytes;
use smallvec::SmallVec;

/// Reads a whole header; `tail` are the binary parts. None if it is not plain.
pub(super) fn read(header: &[u8], mut tail: Bytes) -> Option<InferRequest> {
    let mut scanner = Scanner {
        text: header,
        at: 0,
    };
    let (mut id, mut parameters) = (None, None);
    let (mut inputs, mut outputs) = (None, None);
    scanner.members(|scanner, key| match key {
        "id" => once(&mut id, scanner.string()?.to_owned()),
        "parameters" => once(&mut parameters, whole_request(scanner)?),
        "inputs" => {
            let mut read = Vec::new();
            scanner.elements(|scanner| {
                read.push(input(scanner, &mut tail)?);
                Some(())
            })?;
            once(&mut inputs, read)
        }
        "outputs" => {
            let mut read = Vec::new();
            scanner.elements(|scanner| {
                read.push(output(scanner)?);
                (read.len() <= OUTPUTS_MAX).then_some(())
            })?;
            once(&mut outputs, read)
        }
        _ => None,
    })?;

    scanner.space();
    let request = InferRequest {
        id: id.unwrap_or_default(),
        parameters: parameters.unwrap_or_default(),
        inputs: inputs?,
        outputs: outputs.unwrap_or_default(),
        wishes: None,
    };
    let is_whole = scanner.at == header.len() && tail.is_empty();
    let limits = Request::check_limits(&request.id, request.inputs.len());
    (is_whole && limits.is_ok()).then_some(request)
}

/// Keeps a value; none if there is one.
fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

fn whole_request(scanner: &mut Scanner<'_>) -> Option<JsonParameters> {
    let mut binary = None;
    scanner.members(|scanner, key| match key {
        "binary_data_output" => once(&mut binary, scanner.boolean()?),
        _ => None,
    })?;
    Some(JsonParameters {
        binary_data_output: binary.unwrap_or_default(),
        ..JsonParameters::default()
    })
}

fn input(scanner: &mut Scanner<'_>, tail: &mut Bytes) -> Option<(String, Tensor)> {
    let (mut name, mut datatype) = (None, None);
    let (mut shape, mut size) = (None, None);
    scanner.members(|scanner, key| match key {
        "name" => once(&mut name, scanner.string()?),
        "datatype" => once(&mut datatype, DType::from_name(scanner.string()?)?),
        "shape" => {
            let mut dims = SmallVec::<[i64; 8]>::new();
            scanner.elements(|scanner| {
                dims.push(scanner.integer()?);
                (dims.len() <= RANK_MAX).then_some(())
            })?;
            once(&mut shape, dims)
        }
        "parameters" => scanner.members(|scanner, key| match key {
            "binary_data_size" => once(&mut size, usize::try_from(scanner.integer()?).ok()?),
            _ => None,
        }),
        _ => None,
    })?;

    let (name, size) = (name?, size?);
    if name.is_empty() || size > tail.len() {
        return None;
    }
    let shape = shape_from_wire(&shape?).ok()?;
    let tensor = Tensor::from_raw(datatype?, shape, tail.split_to(size));
    Some((name.to_owned(), tensor.ok()?))
}

fn output(scanner: &mut Scanner<'_>) -> Option<(String, Option<bool>)> {
    let (mut name, mut binary) = (None, None);
    scanner.members(|scanner, key| match key {
        "name" => once(&mut name, scanner.string()?),
        "parameters" => scanner.members(|scanner, key| match key {
            "binary_data" => once(&mut binary, scanner.boolean()?),
            _ => None,
        }),
        _ => None,
    })?;
    let name = name.filter(|name| !name.is_empty())?;
    Some((name.to_owned(), binary))
}

/// JSON text that is read from its start.
struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn space(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// Passes over a byte, and the space before it.
    fn passes(&mut self, byte: u8) -> bool {
        self.space();
        let passes = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(passes);
        passes
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.passes(byte).then_some(())
    }

    /// Reads an object; `read` reads the value of each key.
    fn members(&mut self, mut read: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        if self.passes(b'}') {
            return Some(());
        }
        loop {
            let key = self.string()?;
            self.expect(b':')?;
            read(self, key)?;
            if !self.passes(b',') {
                return self.expect(b'}');
            }
        }
    }

    /// Reads an array; `read` reads each element.
    fn elements(&mut self, mut read: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.expect(b'[')?;
        if self.passes(b']') {
            return Some(());
        }
        loop {
            read(self)?;
            if !self.passes(b',') {
                return self.expect(b']');
            }
        }
    }

    /// Reads a string without escapes.
    fn string(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let rest = self.text.get(self.at..)?;
        let end = rest
            .iter()
            .position(|byte| matches!(byte, b'"' | b'\\' | 0..b' '))?;
        if rest[end] != b'"' {
            return None;
        }
        self.at += end + 1;
        std::str::from_utf8(&rest[..end]).ok()
    }

    /// Reads an integer from 0 on, of at most 18 digits.
    fn integer(&mut self) -> Option<i64> {
        const DIGITS_MAX: usize = 18;
        self.space();
        let rest = self.text.get(self.at..)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let is_plain = match rest.first() {
            Some(b'0') => digits == 1,
            _ => (1..=DIGITS_MAX).contains(&digits),
        };
        // What follows is looked at by the caller, who refuses a fraction.
        self.at += digits;
        let number = rest[..digits].iter();
        is_plain.then(|| number.fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
    }

    fn boolean(&mut self) -> Option<bool> {
        self.space();
        let rest = self.text.get(self.at..)?;
        let (word, value) = match rest.first()? {
            b't' => ("true", true),
            _ => ("false", false),
        };
        self.at += word.len();
        rest.starts_with(word.as_bytes()).then_some(value)
    }
}
