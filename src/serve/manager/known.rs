//! What a version's files say of the values that it is asked: golden rows and the columns of its
//! baseline. The test of batchability tries them where the graph proves nothing.

use crate::core::model::Signature;
use crate::observe::drift::baseline::{Baseline, BaselineColumn, ValueDistribution};
use crate::observe::drift::layout::{RowPart, Side, column_places};
use crate::onnx::batchability::{KnownInputs, KnownValues};
use crate::onnx::golden::Golden;
use crate::registry::directory::Loaded;

/// The known inputs of a version. Files that cannot be read say nothing here; their own checks refuse
/// them.
pub(super) fn inputs(loaded: &Loaded, signature: &Signature) -> KnownInputs {
    let golden = loaded
        .golden
        .as_deref()
        .and_then(|bytes| Golden::read(bytes).ok());
    let baseline = loaded
        .baseline
        .as_deref()
        .and_then(|bytes| Baseline::read(bytes).ok());
    KnownInputs {
        rows: golden.map_or_else(Vec::new, |golden| golden.rows(signature)),
        values: baseline.map_or_else(Vec::new, |baseline| {
            values(&baseline, signature, &loaded.features)
        }),
    }
}

/// For each input, what the baseline says of each element of a row.
fn values(
    baseline: &Baseline,
    signature: &Signature,
    features: &[String],
) -> Vec<Vec<Option<KnownValues>>> {
    let names = if baseline.features.is_empty() {
        features
    } else {
        &baseline.features
    };
    let mut values: Vec<Vec<Option<KnownValues>>> = vec![Vec::new(); signature.inputs.len()];
    for place in column_places(signature, names) {
        let (Side::Input, RowPart::Element(at)) = (place.side, place.part) else {
            continue;
        };
        let column = baseline
            .inputs
            .iter()
            .find(|column| column.name == place.name);
        if let Some(input) = values.get_mut(place.tensor) {
            input.resize(input.len().max(at + 1), None);
            input[at] = column.and_then(known);
        }
    }
    values
}

fn known(column: &BaselineColumn) -> Option<KnownValues> {
    match &column.values {
        ValueDistribution::Numbers(numbers) => Some(KnownValues::Numbers {
            low: *numbers.edges.first()?,
            high: *numbers.edges.last()?,
        }),
        ValueDistribution::Words(words) => {
            let listed = words.words.iter().map(|(word, _)| word);
            Some(KnownValues::Words(
                listed.chain(&words.others).cloned().collect(),
            ))
        }
    }
}
