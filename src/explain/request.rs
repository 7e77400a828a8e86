//! Explains the tensors of a request: reads rows of features from them, and answers the largest contributions as
//! tensors. Features that are computed from one input count together for it, as clients do not know them.

#[cfg(test)]
mod tests;

use super::model::{ExplainedFeature, ExplainedModel, RowContributions};
use super::trees::TreeScratch;
use crate::core::count::counted;
use crate::core::error::{Error, Result, short};
use crate::core::model::Signature;
use crate::core::tensor::{DType, Data, NamedTensors, Strings, Tensor};
use bytes::Bytes;
use std::ops::ControlFlow;

/// The output with the names of inputs, the largest contribution first.
pub const FEATURES: &str = "ortus_explain_features";
/// The output with their contributions.
pub const CONTRIBUTIONS: &str = "ortus_explain_contributions";
/// The output with the mean score of the training rows.
pub const BASE: &str = "ortus_explain_base";
/// The most contributions of each score that a request can ask for.
pub const TOP_MAX: usize = 256;
/// The most steps of one request: seconds of one processor.
pub const STEPS_MAX: u64 = 500_000_000;
/// The most bytes of the answer's names and numbers.
pub const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A request whose rows can be explained.
pub struct ExplainRequest<'m> {
    model: &'m ExplainedModel,
    columns: Vec<FeatureCells>,
    rows: usize,
    /// How many contributions are wanted of each score.
    top: usize,
}

/// Where the values of a feature are.
enum FeatureCells {
    /// FP32: the bytes, the column, and the columns of a row.
    Number(Bytes, usize, usize),
    /// FP64, with that of the other input if there is one.
    Derived(Bytes, Option<Bytes>),
    /// The code of each row.
    Codes(Vec<u8>),
}

impl FeatureCells {
    fn value(&self, feature: &ExplainedFeature, row: usize) -> f32 {
        match self {
            Self::Number(bytes, column, width) => {
                let at = (row * width + column) * size_of::<f32>();
                let cell = bytes.get(at..).and_then(|rest| rest.first_chunk());
                cell.map_or(f32::NAN, |cell| f32::from_le_bytes(*cell))
            }
            Self::Derived(source, until) => {
                let until = until.as_ref().map_or(f64::NAN, |bytes| double(bytes, row));
                let derived = feature.derived.as_ref();
                derived.map_or(f32::NAN, |how| how.value(double(source, row), until))
            }
            Self::Codes(codes) => f32::from(codes[row]),
        }
    }
}

fn double(bytes: &Bytes, row: usize) -> f64 {
    let cell = bytes.get(row * size_of::<f64>()..);
    let cell = cell.and_then(|rest| rest.first_chunk());
    cell.map_or(f64::NAN, |cell| f64::from_le_bytes(*cell))
}

impl ExplainedModel {
    /// Checks that a model has the inputs that the explanation reads.
    pub fn check_signature(&self, signature: &Signature) -> Result<()> {
        for (name, dtype) in self.inputs() {
            let spec = signature.inputs.iter().find(|spec| spec.name == name);
            if spec.is_none_or(|spec| spec.dtype != dtype) {
                return Err(Error::precondition(format!(
                    "the explanation is of another model: it reads the input '{}' of {dtype}, which this one does not have",
                    short(name)
                )));
            }
        }
        Ok(())
    }

    /// Returns each input that a feature is read from, with its datatype; some of them twice.
    fn inputs(&self) -> impl Iterator<Item = (&str, DType)> {
        let of = |feature: &ExplainedFeature| match (&feature.derived, &feature.categories) {
            (Some(_), _) => DType::F64,
            (None, Some(_)) => DType::String,
            (None, None) => DType::F32,
        };
        let until = self.features().iter().filter_map(|feature| {
            let name = feature.derived.as_ref()?.until()?;
            Some((name, DType::F64))
        });
        let own = self.features().iter();
        own.map(move |feature| (feature.input.as_str(), of(feature)))
            .chain(until)
    }
}

impl<'m> ExplainRequest<'m> {
    /// Finds the rows of a request, of whose contributions the `top` largest are wanted. Refuses what
    /// [`check_request`] refuses.
    pub fn new(model: &'m ExplainedModel, inputs: &NamedTensors, top: usize) -> Result<Self> {
        let rows = check_request(model, inputs, top)?;
        let features = model.features().iter().enumerate();
        let columns = features.map(|(at, feature)| cells(model, (at, feature), inputs));
        Ok(Self {
            columns: columns.collect::<Result<_>>()?,
            rows,
            top: top.min(model.clients().0.len()),
            model,
        })
    }

    /// Explains all rows, and asks before each whether to go on. Returns none if it is told to end.
    pub fn explain(
        &self,
        mut go_on: impl FnMut() -> ControlFlow<()>,
    ) -> Result<Option<NamedTensors>> {
        let model = self.model;
        let (names, client_columns) = model.clients();
        let (scores, width) = (model.base().len(), model.features().len());
        let mut row = vec![0.0; width];
        let (mut scratch, mut found) = (TreeScratch::default(), RowContributions::default());
        let mut sums = vec![0.0; names.len()];
        let mut order: Vec<usize> = Vec::with_capacity(names.len());
        let (mut places, mut values) = (Vec::new(), Vec::new());
        let mut bytes = 0;

        for at in 0..self.rows {
            if go_on().is_break() {
                return Ok(None);
            }
            let cells = self.columns.iter().zip(model.features());
            let place = row.iter_mut().zip(cells);
            place.for_each(|(place, (cells, feature))| *place = cells.value(feature, at));
            model.contribute(&row, &mut scratch, &mut found);
            for all in found.values.chunks_exact(width) {
                sums.fill(0.0);
                let of = all.iter().zip(client_columns);
                of.for_each(|(value, column)| sums[*column] += value);
                largest_first(&sums, self.top, &mut order);
                for place in &order {
                    bytes += names[*place].len() + 2 * size_of::<f64>();
                    places.push(*place);
                    values.push(sums[*place]);
                }
            }
            if bytes > ANSWER_BYTES_MAX {
                return Err(Error::too_large(format!(
                    "the explanation is over {ANSWER_BYTES_MAX} bytes; send fewer rows, or ask for fewer contributions"
                )));
            }
        }

        let shape = self.shape(scores, Some(self.top));
        let features = Strings::from_parts(places.iter().map(|place| &names[*place]))?;
        let bases = self.model.base().iter().copied();
        let bases: Vec<f64> = bases.cycle().take(self.rows * scores).collect();
        Ok(Some(vec![
            (
                FEATURES.to_owned(),
                Tensor::strings(shape.clone(), features)?,
            ),
            (CONTRIBUTIONS.to_owned(), doubles(shape, &values)?),
            (BASE.to_owned(), doubles(self.shape(scores, None), &bases)?),
        ]))
    }

    /// The shape of an answer: rows, then scores if there are several, then contributions.
    fn shape(&self, scores: usize, top: Option<usize>) -> Vec<usize> {
        let mut shape = vec![self.rows];
        shape.extend((scores > 1).then_some(scores));
        shape.extend(top);
        shape
    }
}

fn doubles(shape: Vec<usize>, values: &[f64]) -> Result<Tensor> {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    Tensor::fixed(DType::F64, shape, bytes.into())
}

/// Finds the places of the `top` values of the largest size, the largest first; equal ones stay in their order.
pub fn largest_first(values: &[f64], top: usize, order: &mut Vec<usize>) {
    let by_size = |a: &usize, b: &usize| {
        let of = |place: &usize| values[*place].abs();
        of(b).total_cmp(&of(a)).then(a.cmp(b))
    };
    order.clear();
    order.extend(0..values.len());
    if top > 0 && top < order.len() {
        order.select_nth_unstable_by(top - 1, by_size);
    }
    order.truncate(top);
    order.sort_unstable_by(by_size);
}

/// Returns the rows of a request, without computing anything. Refuses inputs that are not those of the model, and more
/// rows than can be explained.
pub fn check_request(model: &ExplainedModel, inputs: &NamedTensors, top: usize) -> Result<usize> {
    let mut rows = None;
    for (name, dtype) in model.inputs() {
        let width = match dtype {
            DType::F64 => 1,
            _ => model.width(name),
        };
        let found = rows_of(tensor(inputs, name, dtype)?, width);
        if found.is_none() || rows.is_some() && rows != found {
            return Err(Error::invalid(format!(
                "input '{}' does not have {width} values for each row, so that no row can be explained",
                short(name)
            )));
        }
        rows = found;
    }

    let rows = rows.unwrap_or(0);
    check_size(model, rows, top.min(model.clients().0.len()))?;
    Ok(rows)
}

fn check_size(model: &ExplainedModel, rows: usize, top: usize) -> Result<()> {
    let fit = STEPS_MAX / model.row_steps().max(1);
    if rows as u64 > fit {
        return Err(Error::invalid(format!(
            "{} are over what one request can have explained of this model, which is {}; send fewer rows at a time",
            counted(rows, "row"),
            counted(usize::try_from(fit).unwrap_or(usize::MAX), "row")
        )));
    }
    let numbers = rows
        .saturating_mul(model.base().len())
        .saturating_mul(top)
        .saturating_mul(2 * size_of::<f64>());
    match numbers > ANSWER_BYTES_MAX {
        true => Err(Error::invalid(format!(
            "the explanation would be over {ANSWER_BYTES_MAX} bytes; send fewer rows, or ask for fewer contributions"
        ))),
        false => Ok(()),
    }
}

fn tensor<'t>(inputs: &'t NamedTensors, name: &str, dtype: DType) -> Result<&'t Tensor> {
    let found = inputs.iter().find(|(input, _)| input == name);
    let found = found.filter(|(_, tensor)| tensor.dtype() == dtype);
    found.map(|(_, tensor)| tensor).ok_or_else(|| {
        Error::invalid(format!(
            "input '{}' of {dtype} is missing, so that no row can be explained",
            short(name)
        ))
    })
}

/// The rows of a tensor with so many values each; none if the values are not a whole number of rows.
fn rows_of(tensor: &Tensor, width: usize) -> Option<usize> {
    let values: usize = tensor.shape().iter().product();
    (width > 0 && values.is_multiple_of(width)).then(|| values / width)
}

fn cells(
    model: &ExplainedModel,
    (at, feature): (usize, &ExplainedFeature),
    inputs: &NamedTensors,
) -> Result<FeatureCells> {
    let fixed = |name: &str, dtype| {
        tensor(inputs, name, dtype).map(|tensor| match tensor.data() {
            Data::Fixed(bytes) => bytes.clone(),
            Data::Strings(_) => Bytes::new(),
        })
    };
    if let Some(derived) = &feature.derived {
        let until = derived.until().map(|name| fixed(name, DType::F64));
        let source = fixed(&feature.input, DType::F64)?;
        return Ok(FeatureCells::Derived(source, until.transpose()?));
    }
    let width = model.width(&feature.input);
    if feature.categories.is_none() {
        let bytes = fixed(&feature.input, DType::F32)?;
        return Ok(FeatureCells::Number(bytes, feature.column, width));
    }
    let tensor = tensor(inputs, &feature.input, DType::String)?;
    let Data::Strings(strings) = tensor.data() else {
        return Err(Error::internal("a tensor of strings has numbers"));
    };
    let words = strings.words().skip(feature.column).step_by(width);
    Ok(FeatureCells::Codes(
        words.map(|word| model.code(at, word)).collect(),
    ))
}
