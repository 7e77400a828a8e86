//! What the operator listener shows of the served models: their state, drift,
//! performance and the parts of their report. Reads only.

use crate::api::Front;
use crate::api::labels::labels;
use crate::api::oip::describe;
use crate::core::error::{Error, Result};
use crate::core::model::{ModelName, Version};
use crate::observe::drift::observer::Monitor;
use crate::observe::report::compared::{
    ComparedVersion, CountedLabels, LabelledPair, VersionFacts, compare,
};
use crate::observe::report::drift::{DriftReport, VersionDrift};
use crate::observe::report::model::ModelReport;
use crate::observe::report::performance::{
    MeasuredPerformance, PerformanceReport, VersionEstimate,
};
use crate::observe::report::scheduler::SchedulerReport;
use crate::proto::inference::repository_index_response::ModelIndex;
use crate::serve::route::RouteTable;
use crate::serve::servable::{Batching, Servable};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The hours that a report covers unless the request says otherwise.
const REPORT_HOURS: u64 = 24 * 7;

/// Lists every version known, and what serves it.
pub(super) fn models(front: &Front) -> Value {
    let table = front.predictor.routes().table();
    let index = describe::index(&front.manager, false);
    let models: Vec<Value> = index.iter().map(|entry| model(entry, &table)).collect();

    json!({"models": models, "entry": table.entry})
}

fn model(entry: &ModelIndex, table: &RouteTable) -> Value {
    let mut shown = json!({
        "name": entry.name,
        "version": entry.version,
        "state": entry.state,
        "reason": entry.reason,
    });

    if let Some(servable) = servable(entry, table) {
        show_servable(&mut shown, servable);
    }
    shown
}

fn servable<'t>(entry: &ModelIndex, table: &'t RouteTable) -> Option<&'t Servable> {
    let version = entry.version.parse().ok().and_then(Version::new)?;
    let routes = table.models.get(entry.name.as_str())?;
    routes.versions.get(&version).map(AsRef::as_ref)
}

fn show_servable(shown: &mut Value, servable: &Servable) {
    shown["digest"] = servable.digest.to_string().into();
    shown["provider"] = servable.provider.into();
    shown["lanes"] = servable.lanes.into();
    shown["memory_bytes"] = servable.metrics.memory_bytes.get().into();
    shown["batching"] = match servable.batching() {
        Batching::Joined => json!({"joined": true}),
        Batching::Forced(doubt) => json!({"joined": true, "forced": true, "reason": doubt}),
        Batching::Alone(reason) => json!({"joined": false, "reason": reason}),
    };
    shown["batch_rows_max"] = servable.options.batch_rows_max.into();
    if servable.options.padding.is_some() {
        shown["padding"] = match servable.unpadded() {
            None => json!({"active": true}),
            Some(reason) => json!({"active": false, "reason": reason}),
        };
    }
    shown["queue_rows_max"] = servable.options.queue_rows_max.into();
    shown["queue_rows"] = servable.metrics.queue_rows.get().into();
    shown["requests_in_flight"] = servable.metrics.in_flight.get().into();
}

/// Shows what the schedulers of a model's versions know and do, or of one.
pub(super) fn explain(front: &Front, name: &str, version: Option<&str>) -> Result<SchedulerReport> {
    let name = ModelName::parse(name)?;
    let version = version.map(Version::parse).transpose()?;
    let table = front.predictor.routes().table();
    let served = table.models.get(&name).into_iter();
    let mut versions: Vec<_> = served
        .flat_map(|model| model.versions.values())
        .filter(|servable| version.is_none_or(|version| version == servable.version))
        .map(|servable| servable.explain())
        .collect();
    if versions.is_empty() {
        return Err(not_served(&name, version));
    }
    versions.sort_by_key(|scheduler| scheduler.version);
    Ok(SchedulerReport { versions })
}

/// Shows the drift of a model's versions, or of one.
pub(super) fn drift(front: &Front, name: &str, version: Option<&str>) -> Result<DriftReport> {
    let monitor = monitor(front)?;
    let name = ModelName::parse(name)?;
    let version = version.map(Version::parse).transpose()?;

    let found = monitor.report(&name, version);
    if found.is_empty() {
        return Err(not_served(&name, version));
    }
    Ok(DriftReport { versions: found })
}

/// Shows everything that the report page of a model needs.
pub(super) fn report(
    front: &Front,
    name: &str,
    version: Option<&str>,
    hours: Option<&str>,
) -> Result<ModelReport> {
    let monitor = monitor(front)?;
    let model = ModelName::parse(name)?;
    let version = version.map(Version::parse).transpose()?;
    let hours = hours.map_or(Ok(REPORT_HOURS), whole_hours)?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());

    let since = now.saturating_sub(hours.saturating_mul(3600));
    let watched = monitor.charted(&model, version, since);
    if watched.is_empty() {
        return Err(not_served(&model, version));
    }
    let labels = front.labels.as_ref();
    let measured = labels.map(|labels| labels.report(&model, version));
    let measured = measured.unwrap_or_default();
    let times = front.metrics.times(model.as_str());
    let compared = match version {
        Some(_) => Vec::new(),
        None => {
            let drifts: Vec<&VersionDrift> = watched.iter().map(|seen| &seen.drift).collect();
            compared(front, &model, (&measured, &drifts), &times)
        }
    };

    Ok(ModelReport {
        time: now,
        hours,
        watched,
        measured,
        times,
        compared,
    })
}

fn whole_hours(text: &str) -> Result<u64> {
    text.parse()
        .map_err(|_| Error::invalid("hours must be a non-negative integer"))
}

/// Shows the performance of a model's versions, or of one: measured on labels,
/// and estimated from scores.
pub(super) fn performance(
    front: &Front,
    name: &str,
    version: Option<&str>,
) -> Result<PerformanceReport> {
    let labels = labels(front)?;
    let name = ModelName::parse(name)?;
    let version = version.map(Version::parse).transpose()?;

    let measured = labels.report(&name, version);
    let monitor = front.monitor.as_ref();
    let watched = monitor
        .map(|monitor| monitor.report(&name, version))
        .unwrap_or_default();
    let compared = match version {
        Some(_) => Vec::new(),
        None => {
            let drifts: Vec<&VersionDrift> = watched.iter().collect();
            let times = front.metrics.times(name.as_str());
            compared(front, &name, (&measured, &drifts), &times)
        }
    };
    let estimated: Vec<VersionEstimate> = watched.into_iter().filter_map(estimated).collect();
    if measured.is_empty() && estimated.is_empty() && compared.is_empty() {
        return Err(Error::not_found(format!(
            "model '{name}' has neither labels nor an estimated performance"
        )));
    }

    Ok(PerformanceReport {
        measured,
        estimated,
        waiting: labels.waiting(),
        compared,
    })
}

/// Shows the served versions of a model beside each other. Labels, drifts and durations are those of all
/// its versions.
fn compared(
    front: &Front,
    name: &ModelName,
    (measured, drifts): (&[MeasuredPerformance], &[&VersionDrift]),
    times: &BTreeMap<String, Vec<(f64, u64)>>,
) -> Vec<ComparedVersion> {
    let table = front.predictor.routes().table();
    let Some(routes) = table.models.get(name) else {
        return Vec::new();
    };
    let requests = front.metrics.requests(name.as_str());
    let champion = routes.main();
    let digest_of = |version: &Version| {
        let servable = routes.versions.get(version)?;
        Some((version.number(), servable.digest.to_string()))
    };
    let base = champion.as_ref().and_then(digest_of);

    let facts = |(version, servable): (&Version, &Arc<Servable>)| {
        let (number, digest) = (version.number(), servable.digest.to_string());
        let drift = drifts
            .iter()
            .find(|drift| drift.version == number && drift.digest == digest);
        let rows = measured
            .iter()
            .find(|rows| rows.version == number && rows.digest == digest);
        let key = version.to_string();
        let pair = base.as_ref().filter(|(base, _)| *base != number);
        let pair = pair
            .zip(front.labels.as_ref())
            .and_then(|((base, of_base), labels)| {
                labels.pair(name, (number, &digest), (*base, of_base))
            });
        VersionFacts {
            version: number,
            aliases: routes.labels_of(*version),
            traffic: routes.traffic_of(*version),
            requests: requests.get(&key).copied().unwrap_or_default(),
            times: times.get(&key).map(Vec::as_slice).unwrap_or_default(),
            open_incidents: drift.map_or(0, |drift| drift.open_incidents().count()),
            labelled: rows.map(|rows| CountedLabels {
                count: rows.window.labelled_rows,
                measures: &rows.window.measures,
            }),
            pair: pair.map(|[own, base]| LabelledPair {
                since: own.from,
                own: (own.labelled_rows, own.measures),
                base: (base.labelled_rows, base.measures),
            }),
        }
    };
    let facts: Vec<VersionFacts<'_>> = routes.versions.iter().map(facts).collect();
    compare(&facts, champion.map(Version::number))
}

/// Takes the estimate of one version out of its drift report.
fn estimated(report: VersionDrift) -> Option<VersionEstimate> {
    report.estimated.as_ref()?;
    Some(VersionEstimate {
        version: report.version,
        digest: report.digest,
        estimated: report.estimated,
    })
}

fn monitor(front: &Front) -> Result<&Monitor> {
    front.monitor.as_deref().ok_or_else(|| {
        Error::precondition("monitoring is off: monitor.enabled is false; set it to true")
    })
}

fn not_served(name: &ModelName, version: Option<Version>) -> Error {
    let version = version.map_or_else(String::new, |v| format!("version {v} of "));
    Error::not_found(format!(
        "{version}model '{name}' is not served here; GET /v1/models lists the served models"
    ))
}
