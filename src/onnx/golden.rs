//! Golden rows: stored inputs with the outputs that a version must give for them.
//! Created at push from the model's own answers, or provided by the user, and
//! compared with every new session of the version. Owns the format.

#[cfg(test)]
mod tests;

use crate::core::error::short;
use crate::core::error::{Error, Result};
use crate::core::model::Signature;
use crate::core::request::INPUTS_MAX;
use crate::core::tensor::batch::split;
use crate::core::tensor::compare::{Tolerance, difference};
use crate::core::tensor::json::document::Json;
use crate::core::tensor::json::elements::{ElementRules, Elements};
use crate::core::tensor::json::{write_elements, write_json};
use crate::core::tensor::{DType, Data, NamedTensors, Tensor, View, shape_from_wire};
use crate::onnx::runtime::Session;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::time::{Duration, Instant};

/// The format that is written, and the newest that is read.
const FORMAT: u32 = 1;
/// How long all cases may take on one session.
const TIME_MAX: Duration = Duration::from_secs(60);
/// The most cases of a file.
const CASES_MAX: usize = 1_000;
/// Size limit of golden rows that are created.
const MADE_BYTES_MAX: usize = 16 << 10;

/// Cases that a version must reproduce.
#[derive(Clone, Debug, PartialEq)]
pub struct Golden {
    cases: Vec<Case>,
    /// Overrides the datatype's default.
    tolerance: Option<Tolerance>,
}

/// Inputs and expected outputs; outputs that it does not name are not compared.
#[derive(Clone, Debug, PartialEq)]
struct Case {
    inputs: NamedTensors,
    outputs: NamedTensors,
}

impl Golden {
    /// Creates a case from the answers of a model; `None` if it is too large.
    pub fn made(signature: &Signature, inputs: Vec<Tensor>, outputs: Vec<Tensor>) -> Option<Self> {
        let bytes: usize = inputs.iter().chain(&outputs).map(Tensor::bytes).sum();
        let name = |specs: &[crate::core::model::TensorSpec], tensors: Vec<Tensor>| {
            specs.iter().map(|s| s.name.clone()).zip(tensors).collect()
        };
        let case = Case {
            inputs: name(&signature.inputs, inputs),
            outputs: name(&signature.outputs, outputs),
        };

        (bytes <= MADE_BYTES_MAX).then(|| Self {
            cases: vec![case],
            tolerance: None,
        })
    }

    /// Reads a file. Refuses another format, unknown members, and a file that
    /// holds no case or too many.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        parse(bytes).map_err(|e| Error::precondition(e.message).context("the golden file"))
    }

    /// Writes the file; what is read back is the same to the bit.
    pub fn write(&self) -> Vec<u8> {
        let mut out = format!("{{\"format\":{FORMAT},").into_bytes();
        if let Some(Tolerance { relative, absolute }) = self.tolerance {
            out.extend_from_slice(b"\"tolerance\":");
            write_json(
                &mut out,
                &serde_json::json!({"relative": relative, "absolute": absolute}),
            );
            out.push(b',');
        }

        out.extend_from_slice(b"\"cases\":[");
        for (i, case) in self.cases.iter().enumerate() {
            out.extend_from_slice(if i > 0 {
                b",{\"inputs\":["
            } else {
                b"{\"inputs\":["
            });
            write_tensors(&mut out, &case.inputs);
            out.extend_from_slice(b"],\"outputs\":[");
            write_tensors(&mut out, &case.outputs);
            out.extend_from_slice(b"]}");
        }

        out.extend_from_slice(b"]}\n");
        out
    }

    /// Runs at most `most` cases. Fails if an answer differs, naming the output and
    /// the element, or if the cases take too long.
    pub(crate) fn check(
        &self,
        signature: &Signature,
        session: &mut dyn Session,
        most: usize,
    ) -> Result<()> {
        let start = Instant::now();
        for (at, case) in self.cases.iter().enumerate().take(most) {
            if start.elapsed() > TIME_MAX {
                return Err(Error::precondition(format!(
                    "the golden rows take over {TIME_MAX:?}: {at} of {}",
                    self.cases.len()
                )));
            }
            self.check_case(case, signature, session).map_err(|e| {
                Error::precondition(e.message).context(format_args!("golden case {at} failed"))
            })?;
        }

        Ok(())
    }

    /// The rows of all cases that fit the signature, one by one.
    pub(crate) fn rows(&self, signature: &Signature) -> Vec<Vec<Tensor>> {
        let inputs = self
            .cases
            .iter()
            .filter_map(|case| signature.check(case.inputs.clone()).ok());
        inputs
            .flat_map(|inputs| single_rows(&inputs.required))
            .collect()
    }

    fn check_case(
        &self,
        case: &Case,
        signature: &Signature,
        session: &mut dyn Session,
    ) -> Result<()> {
        let inputs = signature.check(case.inputs.clone())?;
        let names: Vec<String> = case.outputs.iter().map(|(name, _)| name.clone()).collect();
        let picked = signature.select(&names)?;
        let views: Vec<View<'_>> = inputs.required.iter().map(Tensor::view).collect();
        let outputs = session.run_with(&views, &inputs.optional)?;
        for ((name, golden), at) in case.outputs.iter().zip(picked) {
            let answer = outputs
                .get(at)
                .ok_or_else(|| Error::internal("a session returned too few outputs"))?;
            let by_default =
                || Tolerance::for_datatype(golden.dtype()).for_provider(session.provider());
            let tolerance = self.tolerance.unwrap_or_else(by_default);
            if let Some(how) = difference(answer, golden, tolerance) {
                return Err(Error::precondition(format!(
                    "output '{}' is {how}",
                    short(name)
                )));
            }
        }

        Ok(())
    }
}

/// Cuts tensors that have as many rows into single rows; none if they have not.
fn single_rows(inputs: &[Tensor]) -> Vec<Vec<Tensor>> {
    let Some(rows) = inputs.first().and_then(Tensor::rows) else {
        return Vec::new();
    };
    let parts = inputs.iter().map(|tensor| split(tensor, &vec![1; rows]));
    let Ok(parts) = parts.collect::<Result<Vec<Vec<Tensor>>>>() else {
        return Vec::new();
    };
    let row = |at: usize| parts.iter().map(|tensor| tensor[at].clone()).collect();
    (0..rows).map(row).collect()
}

fn parse(bytes: &[u8]) -> Result<Golden> {
    let file = Json::parse(bytes)?;
    let [format] = file.fields("it", ["format"])?;
    let format: u32 = format
        .ok_or_else(|| Error::invalid("has no format"))?
        .integer("format")?;
    if format != FORMAT {
        return Err(Error::invalid(format!(
            "is of format {format}, but this ortus reads format {FORMAT}"
        )));
    }

    let [_, tolerance, cases] = only(file, "it", ["format", "tolerance", "cases"])?;
    let cases = cases
        .ok_or_else(|| Error::invalid("has no cases"))?
        .array("cases")?;
    let cases: Vec<Case> = cases.take(CASES_MAX + 1).map(case).collect::<Result<_>>()?;
    if cases.is_empty() || cases.len() > CASES_MAX {
        return Err(Error::invalid(format!(
            "does not hold 1 to {CASES_MAX} cases"
        )));
    }

    Ok(Golden {
        cases,
        tolerance: tolerance.map(bound).transpose()?,
    })
}

fn bound(value: Json<'_>) -> Result<Tolerance> {
    let number = |text: Option<Json<'_>>, name: &str| match text.map(|t| t.text().parse::<f64>()) {
        None => Ok(0.0),
        Some(Ok(n)) if n.is_finite() && n >= 0.0 => Ok(n),
        Some(_) => Err(Error::invalid(format!(
            "tolerance.{name} must be a non-negative number"
        ))),
    };

    let [relative, absolute] = only(value, "tolerance", ["relative", "absolute"])?;
    Ok(Tolerance {
        relative: number(relative, "relative")?,
        absolute: number(absolute, "absolute")?,
    })
}

fn case(value: Json<'_>) -> Result<Case> {
    let [inputs, outputs] = only(value, "a case", ["inputs", "outputs"])?;
    let all = |value: Option<Json<'_>>, what: &str| {
        let value = value.ok_or_else(|| Error::invalid(format!("a case has no {what}")))?;
        let tensors: NamedTensors = value
            .array(what)?
            .take(INPUTS_MAX + 1)
            .map(tensor)
            .collect::<Result<_>>()?;
        match tensors.len() {
            0 => Err(Error::invalid(format!("a case has no {what}"))),
            n if n > INPUTS_MAX => Err(Error::invalid(format!(
                "a case has over {INPUTS_MAX} {what}"
            ))),
            _ => Ok(tensors),
        }
    };

    Ok(Case {
        inputs: all(inputs, "inputs")?,
        outputs: all(outputs, "outputs")?,
    })
}

fn tensor(value: Json<'_>) -> Result<(String, Tensor)> {
    let [name, datatype, shape, data, raw] = only(
        value,
        "a tensor",
        ["name", "datatype", "shape", "data", "raw"],
    )?;

    let lacks = |what: &str| Error::invalid(format!("a tensor has no {what}"));
    let name = name
        .ok_or_else(|| lacks("name"))?
        .string("name")?
        .into_owned();
    let read = || {
        let datatype = datatype
            .ok_or_else(|| lacks("datatype"))?
            .string("datatype")?;
        let dtype = DType::parse(&datatype)?;
        let dims = shape
            .ok_or_else(|| lacks("shape"))?
            .array("shape")?
            .map(|d| d.integer("a dimension of shape"));
        let shape = shape_from_wire(&dims.collect::<Result<Vec<i64>>>()?)?;
        match (data, raw) {
            (Some(data), None) => {
                let rules = ElementRules {
                    dtype,
                    depth_max: shape.len().max(1),
                    count: 0,
                    base64: false,
                };
                Elements::of(data, rules)?.into_tensor(shape)
            }
            (None, Some(raw)) => {
                let bytes = STANDARD
                    .decode(&*raw.string("raw")?)
                    .map_err(|_| Error::invalid("raw is not base64"))?;
                Tensor::from_raw(dtype, shape, bytes.into())
            }
            _ => Err(Error::invalid("must have exactly one of data and raw")),
        }
    };

    let tensor = read().map_err(|e: Error| e.context(format_args!("tensor '{}'", short(&name))))?;
    Ok((name, tensor))
}

/// Picks members by name and refuses any other.
fn only<'j, const N: usize>(
    value: Json<'j>,
    what: &str,
    names: [&str; N],
) -> Result<[Option<Json<'j>>; N]> {
    for member in value.object(what)? {
        let (name, _) = member?;
        if !names.contains(&&*name) {
            return Err(Error::invalid(format!(
                "{what} has an unknown member '{}'; remove it",
                short(&name)
            )));
        }
    }

    value.fields(what, names)
}

fn write_tensors(out: &mut Vec<u8>, tensors: &NamedTensors) {
    for (i, (name, tensor)) in tensors.iter().enumerate() {
        out.extend_from_slice(if i > 0 { b",{\"name\":" } else { b"{\"name\":" });
        write_json(out, name);
        out.extend_from_slice(b",\"datatype\":");
        write_json(out, tensor.dtype().name());
        out.extend_from_slice(b",\"shape\":");
        write_json(out, tensor.shape());
        if has_json_form(tensor) {
            out.extend_from_slice(b",\"data\":");
            write_elements(out, tensor, false);
        } else {
            out.extend_from_slice(b",\"raw\":");
            write_json(out, &STANDARD.encode(tensor.to_raw()));
        }
        out.push(b'}');
    }
}

/// JSON has no NaN and no infinity, and the data form has no 16-bit floats.
fn has_json_form(tensor: &Tensor) -> bool {
    let bytes = match tensor.data() {
        Data::Fixed(bytes) => bytes,
        Data::Strings(strings) => return strings.find_no_text().is_none(),
    };
    match tensor.dtype() {
        DType::F16 | DType::BF16 => false,
        DType::F32 => bytes
            .as_chunks()
            .0
            .iter()
            .all(|b| f32::from_le_bytes(*b).is_finite()),
        DType::F64 => bytes
            .as_chunks()
            .0
            .iter()
            .all(|b| f64::from_le_bytes(*b).is_finite()),
        _ => true,
    }
}
