//! Metrics of served versions under the names that Triton and TensorFlow Serving give them, for dashboards
//! and alerts that exist. Written from what is counted anyway, when they are asked for.

#[cfg(test)]
mod tests;

use super::servable::ServableMetrics;
use crate::choice;
use crate::core::error::Kind;
use crate::core::model::ModelName;
use crate::core::request::Protocol;
use std::collections::BTreeMap;
use std::fmt::{Display, Write};

choice! {
    /// The further names of metrics.
    MetricAliases {
        /// None.
        None = "none",
        /// Those of Triton.
        Triton = "triton",
        /// Those of TensorFlow Serving.
        TensorFlow = "tensorflow",
        /// Both.
        All = "all",
    }
}

/// A served version and its series.
pub(crate) struct AliasedVersion<'v> {
    pub model: &'v ModelName,
    pub version: u64,
    pub metrics: &'v ServableMetrics,
}

/// Writes the series in the Prometheus text format.
pub(crate) fn write(names: MetricAliases, versions: &[AliasedVersion<'_>]) -> String {
    let mut text = String::new();
    if matches!(names, MetricAliases::Triton | MetricAliases::All) {
        triton(&mut text, versions);
    }
    if matches!(names, MetricAliases::TensorFlow | MetricAliases::All) {
        tensorflow(&mut text, versions);
    }
    text
}

fn triton(text: &mut String, versions: &[AliasedVersion<'_>]) {
    let mut counter = |name: &str, help: &str, value: &dyn Fn(&ServableMetrics) -> u64| {
        head(text, name, "counter", help);
        for version in versions {
            line(text, name, &version.labels(), value(version.metrics));
        }
    };
    counter(
        "nv_inference_request_success",
        "Predictions answered.",
        &|m| m.stats.success.read().0,
    );
    counter("nv_inference_count", "Rows that were run.", &|m| {
        m.stats.rows()
    });
    counter("nv_inference_exec_count", "Batches that were run.", &|m| {
        m.stats.runs()
    });
    counter(
        "nv_inference_request_duration_us",
        "Time of predictions answered.",
        &|m| m.stats.success.read().1 / 1_000,
    );
    let phases = [
        ("queue", "Time of predictions in the queue."),
        (
            "compute_input",
            "Time of gathering the batches of predictions.",
        ),
        (
            "compute_infer",
            "Time of running the batches of predictions.",
        ),
        (
            "compute_output",
            "Time of cutting the outputs of predictions.",
        ),
    ];
    for (at, (phase, help)) in phases.into_iter().enumerate() {
        let name = format!("nv_inference_{phase}_duration_us");
        counter(&name, help, &|m| m.stats.answered().1[at] / 1_000);
    }

    let name = "nv_inference_request_failure";
    head(text, name, "counter", "Predictions refused or failed.");
    for version in versions {
        let mut reasons: BTreeMap<&str, u64> = ["REJECTED", "CANCELED", "BACKEND", "OTHER"]
            .map(|reason| (reason, 0))
            .into();
        for (kind, count) in version.metrics.failures() {
            *reasons.entry(triton_reason(kind)).or_default() += count;
        }
        for (reason, count) in reasons {
            let labels = format!(r#"{},reason="{reason}""#, version.labels());
            line(text, name, &labels, count);
        }
    }

    let name = "nv_model_load_duration_secs";
    head(text, name, "gauge", "Duration of the load.");
    for version in versions {
        line(
            text,
            name,
            &version.labels(),
            version.metrics.load_seconds.get(),
        );
    }
}

/// The reason under which Triton counts a failure.
fn triton_reason(kind: Kind) -> &'static str {
    match kind {
        Kind::ResourceExhausted | Kind::Unavailable => "REJECTED",
        Kind::Cancelled => "CANCELED",
        Kind::Internal => "BACKEND",
        _ => "OTHER",
    }
}

/// TensorFlow Serving has no label for the version: the versions of a model are added up.
fn tensorflow(text: &mut String, versions: &[AliasedVersion<'_>]) {
    let mut models: BTreeMap<&ModelName, Vec<&ServableMetrics>> = BTreeMap::new();
    for version in versions {
        models
            .entry(version.model)
            .or_default()
            .push(version.metrics);
    }

    let name = ":tensorflow:serving:request_count";
    head(text, name, "counter", "Predictions by status.");
    for (model, versions) in &models {
        let mut statuses: BTreeMap<&str, u64> = BTreeMap::from([("OK", 0)]);
        for metrics in versions {
            *statuses.entry("OK").or_default() += metrics.stats.success.read().0;
            for (kind, count) in metrics.failures().filter(|(_, count)| *count > 0) {
                *statuses.entry(status(kind)).or_default() += count;
            }
        }
        for (status, count) in statuses {
            let labels = format!(r#"model_name="{model}",status="{status}""#);
            line(text, name, &labels, count);
        }
    }

    let name = ":tensorflow:serving:request_latency";
    head(text, name, "histogram", "Microseconds of a prediction.");
    for (model, versions) in &models {
        for (entrypoint, protocols) in ENTRYPOINTS {
            let all = versions
                .iter()
                .flat_map(|m| protocols.iter().filter_map(|p| m.totals(*p)));
            let labels = format!(r#"model_name="{model}",API="Predict",entrypoint="{entrypoint}""#);
            Buckets::sum(all).write(text, name, &labels);
        }
    }

    let name = ":tensorflow:serving:runtime_latency";
    head(
        text,
        name,
        "histogram",
        "Microseconds of a batch in ONNX Runtime.",
    );
    for (model, versions) in &models {
        let labels = format!(r#"model_name="{model}",API="Predict",runtime="ONNX""#);
        let all = versions.iter().map(|m| m.compute_seconds());
        Buckets::sum(all).write(text, name, &labels);
    }

    let name = ":tensorflow:serving:batching_session:queuing_latency";
    head(
        text,
        name,
        "histogram",
        "Microseconds of a prediction in the queue.",
    );
    for (model, versions) in &models {
        let labels = format!(r#"model_name="{model}""#);
        let all = versions.iter().map(|m| m.queue_seconds());
        Buckets::sum(all).write(text, name, &labels);
    }
}

/// The protocols behind each entry point of TensorFlow Serving.
const ENTRYPOINTS: [(&str, &[Protocol]); 2] = [
    ("GRPC", &[Protocol::OipGrpc, Protocol::TfsGrpc]),
    (
        "REST",
        &[Protocol::OipRest, Protocol::TfsRest, Protocol::Mlflow],
    ),
];

/// The name of a status, as TensorFlow Serving labels it.
fn status(kind: Kind) -> &'static str {
    match kind {
        Kind::InvalidArgument | Kind::TooLarge => "INVALID_ARGUMENT",
        Kind::NotFound => "NOT_FOUND",
        Kind::FailedPrecondition => "FAILED_PRECONDITION",
        Kind::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Kind::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Kind::Cancelled => "CANCELLED",
        Kind::Unavailable => "UNAVAILABLE",
        Kind::Unimplemented | Kind::UnsupportedEncoding => "UNIMPLEMENTED",
        Kind::PermissionDenied => "PERMISSION_DENIED",
        Kind::Internal => "INTERNAL",
    }
}

/// A histogram of seconds.
#[derive(Default)]
struct Buckets {
    /// Upper bounds, and how many are up to each.
    cumulative: Vec<(f64, u64)>,
    count: u64,
    sum: f64,
}

impl Buckets {
    /// Adds up histograms with the same bounds.
    fn sum<'h>(all: impl Iterator<Item = &'h prometheus::Histogram>) -> Self {
        use prometheus::core::Metric;
        let mut total = Self::default();
        for histogram in all {
            let metric = histogram.metric();
            let histogram = metric.get_histogram();
            total.count += histogram.get_sample_count();
            total.sum += histogram.get_sample_sum();
            let buckets = histogram.get_bucket();
            total.cumulative.resize(buckets.len(), (0.0, 0));
            for (sum, bucket) in total.cumulative.iter_mut().zip(buckets) {
                *sum = (bucket.upper_bound(), sum.1 + bucket.cumulative_count());
            }
        }
        total
    }

    /// Writes it in microseconds.
    fn write(&self, text: &mut String, name: &str, labels: &str) {
        let bucket = format!("{name}_bucket");
        for (bound, count) in &self.cumulative {
            let bound_us = (bound * 1e6).round();
            line(
                text,
                &bucket,
                &format!(r#"{labels},le="{bound_us}""#),
                *count,
            );
        }
        line(text, &bucket, &format!(r#"{labels},le="+Inf""#), self.count);
        line(text, &format!("{name}_sum"), labels, self.sum * 1e6);
        line(text, &format!("{name}_count"), labels, self.count);
    }
}

impl AliasedVersion<'_> {
    fn labels(&self) -> String {
        format!(r#"model="{}",version="{}""#, self.model, self.version)
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// Names of models and versions need no escapes.
fn line(text: &mut String, name: &str, labels: &str, value: impl Display) {
    let _ = writeln!(text, "{name}{{{labels}}} {value}");
}
