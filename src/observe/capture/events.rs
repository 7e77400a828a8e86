//! Captured predictions as CloudEvents in the format of KServe's payload logger: request and response
//! in the JSON of the Open Inference Protocol, attributes as headers.

use super::settings::CaptureSettings;
use crate::core::model::TensorSpec;
use crate::core::tensor::Tensor;
use crate::core::tensor::json::write_elements;
use crate::observe::drift::observer::answered::Answered;
use crate::observe::drift::observer::{Tap, number};
use crate::observe::metrics::Metrics;
use std::sync::Arc;

/// A CloudEvent.
pub(crate) struct CaptureEvent {
    /// Attributes, by header name.
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

/// Sends an event, or returns that it cannot; must not block.
pub(crate) type Send = Box<dyn Fn(CaptureEvent) -> bool + std::marker::Send + Sync>;

const REQUEST: &str = "org.kubeflow.serving.inference.request";
const RESPONSE: &str = "org.kubeflow.serving.inference.response";

/// Returns a tap that sends a share of the predictions as events.
pub(crate) fn tap(settings: &CaptureSettings, metrics: Arc<Metrics>, send: Send) -> Tap {
    let (share, bytes_max) = (settings.share, settings.request_bytes_max);
    Box::new(move |answered: &Answered<'_>| {
        if (number(answered.prediction) as f64) >= share * u64::MAX as f64 {
            return;
        }
        if answered.tensors().map(Tensor::bytes).sum::<usize>() > bytes_max {
            return metrics.capture.dropped("too_large");
        }
        let signature = &answered.subject.signature;
        let optional = answered.optional.iter();
        let optional = optional.map(|given| (given.name.as_str(), &given.tensor));
        let inputs = named(&signature.inputs, answered.inputs).chain(optional);
        let sides: [(_, _, Vec<_>); 2] = [
            (REQUEST, "inputs", inputs.collect()),
            (
                RESPONSE,
                "outputs",
                named(&signature.outputs, answered.outputs).collect(),
            ),
        ];
        for (kind, side, tensors) in sides {
            let event = CaptureEvent {
                headers: headers(answered, kind),
                body: body(answered, side, &tensors),
            };
            if !send(event) {
                metrics.capture.dropped("full");
            }
        }
    })
}

fn headers(answered: &Answered<'_>, kind: &str) -> Vec<(&'static str, String)> {
    let subject = answered.subject;
    let time = crate::core::request::id::minted_at(answered.prediction)
        .map(chrono::DateTime::<chrono::Utc>::from);
    vec![
        ("ce-specversion", "1.0".to_owned()),
        ("ce-id", answered.prediction.to_string()),
        ("ce-type", kind.to_owned()),
        (
            "ce-source",
            format!(
                "/ortus/models/{}/versions/{}",
                subject.model, subject.version
            ),
        ),
        ("ce-time", time.unwrap_or_default().to_rfc3339()),
        ("ce-inferenceservicename", subject.model.to_string()),
        ("ce-component", "predictor".to_owned()),
        ("ce-endpoint", subject.version.to_string()),
        ("content-type", "application/json".to_owned()),
    ]
}

fn named<'t>(
    specs: &'t [TensorSpec],
    tensors: &'t [Tensor],
) -> impl Iterator<Item = (&'t str, &'t Tensor)> {
    let names = specs.iter().map(|spec| spec.name.as_str());
    names.zip(tensors)
}

fn body(answered: &Answered<'_>, side: &str, tensors: &[(&str, &Tensor)]) -> Vec<u8> {
    let subject = answered.subject;
    let mut out = Vec::new();
    let head = serde_json::json!({"model_name": subject.model.as_str(), "model_version": subject.version.to_string(), "id": answered.prediction});
    out.extend_from_slice(head.to_string().trim_end_matches('}').as_bytes());
    out.extend_from_slice(format!(",\"{side}\":[").as_bytes());
    for (at, (name, tensor)) in tensors.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let head = serde_json::json!({"name": name, "datatype": tensor.dtype().name(), "shape": tensor.shape()});
        out.extend_from_slice(head.to_string().trim_end_matches('}').as_bytes());
        out.extend_from_slice(b",\"data\":");
        write_elements(&mut out, tensor, false);
        out.push(b'}');
    }

    out.extend_from_slice(b"]}");
    out
}
