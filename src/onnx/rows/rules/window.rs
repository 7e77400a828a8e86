//! Operators on `[N, C, …]` and sequences, and those of `ai.onnx.ml` on `[N, features]`.

use super::reduce::not_batch;
use super::{Facts, NodeCall, batch_first, batch_first_of_rank, broadcast, like_first};
use crate::onnx::rows::fact::{Extent, Fact, dependent, from_front, product, unknown};

/// Convolutions and pools: the first two axes are rows and channels.
pub(in crate::onnx::rows) fn window(call: &NodeCall<'_>) -> Facts {
    if call.node.op == "MaxPool" && call.node.gives(1) {
        return dependent("its indices count from the start of the batch");
    }
    batch_first_of_rank(call, 3)
}

/// Inference keeps rows apart; training normalises by the batch.
pub(in crate::onnx::rows) fn batch_norm(call: &NodeCall<'_>) -> Facts {
    let trains = match call.opset {
        ..7 => call.node.int("is_test").unwrap_or(0) == 0,
        7..14 => call.node.gives(1),
        _ => call.node.int("training_mode").unwrap_or(0) != 0,
    };
    if trains {
        return dependent("in training mode it normalises by the whole batch");
    }
    batch_first(call)?;
    like_first(call)
}

/// Normalisation within each row of `[N, C, …]`.
pub(in crate::onnx::rows) fn within_row(call: &NodeCall<'_>) -> Facts {
    batch_first_of_rank(call, 3)?;
    like_first(call)
}

/// Dropout does nothing at inference.
pub(in crate::onnx::rows) fn dropout(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    let trains = call.has(2) && call.input(2)?.fixed_numbers()? != [0];
    if trains || (call.opset < 7 && call.node.int("is_test").unwrap_or(0) == 0) {
        return dependent("in training mode it drops elements at random");
    }
    let out = Fact::of(first.axis, first.dims()?.to_vec());
    Ok(vec![out.clone(), out])
}

/// Scales and zero points must not be computed from the rows, nor follow the batch axis.
pub(in crate::onnx::rows) fn quantize(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    call.only_uniform_from(1)?;
    let scale = call.input(1)?.dims()?;
    if !scale.iter().all(Extent::is_one) {
        not_batch(first, call.axis(1, first.rank()?)?)?;
        if scale.len() > 1 {
            return unknown("its scales form blocks");
        }
    }
    Ok(vec![Fact::of(first.axis, first.dims()?.to_vec())])
}

/// Element-wise operators on quantized numbers: scales are constants, and the inputs at
/// these places are broadcast.
pub(in crate::onnx::rows) fn quantized_pair(call: &NodeCall<'_>) -> Facts {
    for at in [1, 2, 4, 5, 6, 7] {
        if call.has(at) && !call.input(at)?.is_single() {
            return unknown("a scale is not a single constant");
        }
    }
    broadcast(&[call.input(0)?, call.input(3)?], call.symbols).map(|fact| vec![fact])
}

/// LSTM, GRU and RNN: the batch is axis 1, or axis 0 with `layout`.
pub(in crate::onnx::rows) fn recurrent(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    let layout = call.node.int("layout").unwrap_or(0) != 0;
    let (batch, state) = if layout { (0, 0) } else { (1, 1) };
    let dims = first.dims()?;
    if dims.len() != 3 || first.axis.is_some_and(|axis| axis != batch) {
        return dependent("the batch is not on its batch axis");
    }
    for at in [1, 2, 3, 7] {
        if call.has(at) && call.input(at)?.axis.is_some() {
            return unknown("a parameter is computed from the rows");
        }
    }
    for (at, axis) in [(4, 0), (5, state), (6, state)] {
        if !call.has(at) {
            continue;
        }
        let fact = call.input(at)?;
        if first.axis.is_none() && fact.axis.is_none() {
            continue;
        }
        if first.axis.is_none() || fact.axis != Some(axis) || fact.dims()?[axis] != dims[batch] {
            return unknown("its initial state or lengths do not follow the batch");
        }
    }

    let fresh = || call.symbols.fresh();
    let length = dims[batch].clone();
    let (all, last) = if layout {
        (
            vec![length.clone(), fresh(), fresh(), fresh()],
            vec![length, fresh(), fresh()],
        )
    } else {
        (
            vec![fresh(), fresh(), length.clone(), fresh()],
            vec![fresh(), length, fresh()],
        )
    };
    let axes = if layout { (0, 0) } else { (2, 1) };
    let all = Fact::of(first.axis.map(|_| axes.0), all);
    let last = Fact::of(first.axis.map(|_| axes.1), last);
    Ok(vec![all, last.clone(), last])
}

/// Resize and Upsample: the batch axis must keep its length.
pub(in crate::onnx::rows) fn resize(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    call.only_uniform_from(1)?;
    let rank = first.rank()?;
    if call.node.text("coordinate_transformation_mode") == Some("tf_crop_and_resize") {
        return unknown("it crops");
    }
    let policy = call.node.text("keep_aspect_ratio_policy");
    if policy.is_some_and(|policy| policy != "stretch") {
        return unknown("it scales all axes alike");
    }
    let scales_at = if call.node.op == "Upsample" || call.opset < 11 {
        1
    } else {
        2
    };
    let mut axes = Vec::new();
    for axis in call.ints("axes")?.unwrap_or_default() {
        axes.push(from_front(*axis, rank)?);
    }
    if axes.is_empty() {
        axes = (0..rank).collect();
    }
    let list = |at: usize| {
        let fact = call.inputs.get(at).and_then(Option::as_ref);
        fact.and_then(|f| f.numbers.clone())
            .filter(|n| n.len() == axes.len())
    };
    let (scales, sizes) = (list(scales_at), list(scales_at + 1));
    let keeps = |axis: usize| {
        let at = axes.iter().position(|named| *named == axis);
        match (&scales, &sizes, at) {
            (None, None, _) => unknown("its scales are not known"),
            (_, _, None) => Ok(true),
            (Some(scales), _, Some(at)) => Ok(scales[at].is_one()),
            (None, Some(sizes), Some(at)) => Ok(sizes[at] == first.dims()?[axis]),
        }
    };
    if let Some(axis) = first.axis
        && !keeps(axis)?
    {
        return dependent("it resizes the batch axis");
    }
    // Other modes of ONNX Runtime compute tensors of these ranks over all axes, with a weight of 0
    // for a neighbour, which NaN and infinity survive.
    let is_nearest = call.node.text("mode").is_none_or(|mode| mode == "nearest");
    let is_apart = matches!(rank, 4 | 5) && first.axis == Some(0);
    if first.axis.is_some() && !is_nearest && !is_apart {
        return unknown("it interpolates over the batch axis too");
    }
    let counts = |n: &Extent| n.has_rows();
    let others = sizes.iter().flatten().filter(|n| counts(n)).count();
    if others > usize::from(first.axis.is_some()) || scales.iter().flatten().any(counts) {
        return dependent("it resizes by the number of rows");
    }

    let mut dims: Vec<Extent> = (0..rank).map(|_| call.symbols.fresh()).collect();
    if let Some(axis) = first.axis {
        dims[axis] = first.dims()?[axis].clone();
    }
    Ok(vec![Fact::of(first.axis, dims)])
}

/// Two inputs `[N, …]` with the same rows, as in GridSample.
pub(in crate::onnx::rows) fn paired(call: &NodeCall<'_>) -> Facts {
    let (first, second) = (call.input(0)?, call.input(1)?);
    if first.axis != Some(0) || second.axis != Some(0) || first.dims()?[0] != second.dims()?[0] {
        return unknown("only one of its inputs has the batch on its first axis");
    }
    let mut dims: Vec<Extent> = first.dims()?.iter().map(|_| call.symbols.fresh()).collect();
    dims[0] = first.dims()?[0].clone();
    Ok(vec![Fact::of(Some(0), dims)])
}

/// Models of `ai.onnx.ml` on `[N, features]`: a label or numbers for each row.
pub(in crate::onnx::rows) fn by_feature(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    let rank = first.rank()?;
    if first.axis.is_some() && (rank != 2 || first.axis != Some(0)) {
        return dependent("without a second axis it takes the whole batch as one row");
    }
    let is_probit = call.node.text("post_transform") == Some("PROBIT");
    if first.axis.is_some() && is_probit && call.node.op == "LinearClassifier" {
        return unknown("ONNX Runtime writes the scores of PROBIT without the space between rows");
    }
    let batch = first
        .dims()?
        .first()
        .cloned()
        .unwrap_or_else(|| Extent::fixed(1));
    let columns = columns(call).unwrap_or_else(|| call.symbols.fresh());
    let scores = Fact::of(first.axis, vec![batch.clone(), columns]);
    if call.node.op.ends_with("Classifier") {
        return Ok(vec![Fact::of(first.axis, vec![batch]), scores]);
    }
    Ok(vec![scores])
}

/// How many numbers a model gives for each row, where its attributes say it.
fn columns(call: &NodeCall<'_>) -> Option<Extent> {
    let count = match call.node.op {
        "LinearRegressor" => call.node.int("targets").unwrap_or(1),
        "TreeEnsembleRegressor" | "TreeEnsemble" => call.node.int("n_targets").unwrap_or(1),
        "LinearClassifier" | "TreeEnsembleClassifier" => {
            let names = [
                "classlabels_int64s",
                "classlabels_ints",
                "classlabels_strings",
            ];
            let labels = names.iter().filter_map(|name| call.node.attribute(name));
            let count = labels.map(|list| list.listed).max().filter(|n| *n > 1)?;
            i64::try_from(count).ok()?
        }
        _ => return None,
    };
    Some(Extent::fixed(count))
}

/// Scaler, Imputer, Normalizer: elements of `[N, features]` by their feature.
pub(in crate::onnx::rows) fn features(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    if first.axis.is_some() && (first.rank()? != 2 || first.axis != Some(0)) {
        return dependent("without a second axis it takes the whole batch as one row");
    }
    like_first(call)
}

/// Joins features of `[N, …]`.
pub(in crate::onnx::rows) fn feature_vector(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    for fact in call.present() {
        if fact.axis != Some(0) || fact.rank()? != 2 || fact.dims()?[0] != first.dims()?[0] {
            return unknown("its inputs do not all have rows and features");
        }
    }
    let dims = vec![first.dims()?[0].clone(), call.symbols.fresh()];
    Ok(vec![Fact::of(first.axis, dims)])
}

/// ArrayFeatureExtractor: chosen places of the last axis.
pub(in crate::onnx::rows) fn extract(call: &NodeCall<'_>) -> Facts {
    let (first, places) = (call.input(0)?, call.input(1)?);
    let last = from_front(-1, first.rank()?)?;
    not_batch(first, last)?;
    let mut dims = first.dims()?.to_vec();
    let Some(batch) = places.axis else {
        dims[last] = call.symbols.fresh();
        if last == 0 {
            dims.insert(0, Extent::fixed(1));
        }
        return Ok(vec![Fact::of(first.axis, dims)]);
    };

    // Class labels, looked up by each row: the indices become one axis.
    if first.axis.is_some() {
        return dependent("it looks up the indices of every row in every row");
    }
    let length = product(places.dims()?);
    let Some(length) =
        length.filter(|_| places.dims.iter().flatten().take(batch).all(Extent::is_one))
    else {
        return unknown("it may mix elements of different rows");
    };
    dims[last] = length;
    if last == 0 {
        dims.insert(0, Extent::fixed(1));
    }
    Ok(vec![Fact::of(Some(dims.len() - 1), dims)])
}

/// OneHotEncoder: a new last axis, with a place for each category.
pub(in crate::onnx::rows) fn encode(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    let mut dims = first.dims()?.to_vec();
    let names = ["cats_int64s", "cats_strings"];
    let lists = names.iter().filter_map(|name| call.node.attribute(name));
    let count = lists.map(|list| list.listed).max().filter(|n| *n > 0);
    let places = count.and_then(|n| i64::try_from(n).ok()).map(Extent::fixed);
    dims.push(places.unwrap_or_else(|| call.symbols.fresh()));
    Ok(vec![Fact::of(first.axis, dims)])
}
