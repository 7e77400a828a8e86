//! What a request asks of its outputs beside their names: the classes with the highest scores in the place of
//! all scores, and a place in shared memory (both extensions of Triton).

#[cfg(test)]
mod tests;

use super::shared_memory::RegionPart;
use crate::core::error::{Error, Result, short};
use crate::core::model::task::OutputEnd;
use crate::core::request::Response;
use crate::core::tensor::{DType, Data, Strings, Tensor};
use crate::serve::servable::Servable;
use std::cmp::Ordering;
use std::fmt::Write;

/// What is asked of outputs, by their names; nothing for most requests.
pub(crate) type OutputWishes = Option<Box<Vec<(String, OutputWish)>>>;

/// What is asked of one output.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct OutputWish {
    /// How many classes are wanted instead of the scores; 0 for the scores.
    pub classes: usize,
    /// Where it is written to.
    pub region: Option<RegionPart>,
}

/// A response with what was asked for.
pub(crate) struct WishedResponse {
    pub response: Response,
    /// Where each output was written to; the answer has only the others.
    pub placed: Vec<Option<RegionPart>>,
}

/// Notes a wish, unless it asks for nothing.
pub(crate) fn note(wishes: &mut OutputWishes, output: &str, wish: OutputWish) {
    if wish != OutputWish::default() {
        let all = wishes.get_or_insert_default();
        all.push((output.to_owned(), wish));
    }
}

/// Returns the response with what was asked for.
pub(crate) fn apply(
    wishes: &[(String, OutputWish)],
    response: &Response,
    servable: &Servable,
) -> Result<WishedResponse> {
    let mut outputs = Vec::with_capacity(response.outputs.len());
    let mut placed = Vec::with_capacity(response.outputs.len());
    for (name, tensor) in &response.outputs {
        let within = |e: Error| e.context(format_args!("output '{}'", short(name)));
        let wish = wishes.iter().find(|(output, _)| **output == **name);
        let wish = wish.map(|(_, wish)| wish.clone()).unwrap_or_default();
        let tensor = match wish.classes {
            0 => tensor.clone(),
            wanted => {
                let end = servable.end_of(name);
                let names = end.map_or(&[][..], |end: &OutputEnd| &end.classes);
                // As with Triton, a model that is declared to take no batches has one list of scores.
                let is_whole =
                    servable.declared.is_whole || tensor.shape().len() < 2 && !servable.has_rows();
                top_classes(tensor, !is_whole, wanted, names).map_err(within)?
            }
        };
        if let Some(part) = &wish.region {
            part.write(&tensor.to_raw()).map_err(within)?;
        }
        outputs.push((name.clone(), tensor));
        placed.push(wish.region);
    }

    let response = Response {
        model: response.model.clone(),
        version: response.version,
        id: response.id.clone(),
        prediction_id: response.prediction_id,
        outputs,
        trace: response.trace.clone(),
        timing: response.timing,
    };
    Ok(WishedResponse { response, placed })
}

/// The `wanted` highest scores as strings `score:place:class`, of each row or of the whole tensor; a
/// class without a name has none. Equal scores keep their order.
fn top_classes(
    scores: &Tensor,
    has_rows: bool,
    wanted: usize,
    classes: &[String],
) -> Result<Tensor> {
    let values = Scores::of(scores)?;
    let rows = match (has_rows, scores.rows()) {
        (true, Some(rows)) => rows,
        _ => 1,
    };
    let width = values.len().checked_div(rows).unwrap_or(0);
    let count = wanted.min(width);
    let mut parts = Vec::with_capacity(rows * count);
    for row in 0..rows {
        let first = row * width;
        let mut places: Vec<usize> = (0..width).collect();
        places.sort_unstable_by(|a, b| values.descending(first + a, first + b).then(a.cmp(b)));
        for place in &places[..count] {
            let mut text = format!("{}:{place}", values.text(first + place));
            // A name for each element, or none at all.
            if let Some(class) = classes.get(*place).filter(|_| classes.len() == width) {
                let _ = write!(text, ":{class}");
            }
            parts.push(text);
        }
    }

    let shape = match has_rows && scores.rows().is_some() {
        true => vec![rows, count],
        false => vec![count],
    };
    Tensor::strings(shape, Strings::from_parts(parts)?)
}

/// The elements of a tensor, which have an order.
enum Scores {
    Floats(Vec<f64>),
    Integers(Vec<i128>),
}

impl Scores {
    fn of(tensor: &Tensor) -> Result<Self> {
        if let Some(floats) = tensor.floats() {
            return Ok(Self::Floats(floats));
        }
        let Data::Fixed(bytes) = tensor.data() else {
            return Err(Error::invalid(
                "has strings, so there is no order of classes",
            ));
        };
        let width = tensor.dtype().element_bytes().unwrap_or(1);
        let is_signed = matches!(
            tensor.dtype(),
            DType::I8 | DType::I16 | DType::I32 | DType::I64
        );
        let elements = bytes.chunks_exact(width);
        Ok(Self::Integers(
            elements.map(|e| integer(e, is_signed)).collect(),
        ))
    }

    fn len(&self) -> usize {
        match self {
            Self::Floats(all) => all.len(),
            Self::Integers(all) => all.len(),
        }
    }

    /// The higher one first; what is no number comes last.
    fn descending(&self, a: usize, b: usize) -> Ordering {
        match self {
            Self::Integers(all) => all[b].cmp(&all[a]),
            Self::Floats(all) => match (all[a].is_nan(), all[b].is_nan()) {
                (false, false) => all[b].total_cmp(&all[a]),
                (a_is_nan, b_is_nan) => a_is_nan.cmp(&b_is_nan),
            },
        }
    }

    /// An element as Triton writes it.
    fn text(&self, at: usize) -> String {
        match self {
            Self::Floats(all) => format!("{:.6}", all[at]),
            Self::Integers(all) => all[at].to_string(),
        }
    }
}

/// Reads a little-endian integer of any width.
fn integer(element: &[u8], is_signed: bool) -> i128 {
    let is_negative = is_signed && element.last().is_some_and(|byte| *byte >= 0x80);
    let mut whole = [if is_negative { 0xff } else { 0 }; 16];
    whole[..element.len()].copy_from_slice(element);
    i128::from_le_bytes(whole)
}
