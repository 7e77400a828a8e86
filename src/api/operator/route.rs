//! From a method, a path and a query of the operator listener to the call that
//! they name. Pure functions; the calls are answered elsewhere.

#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result};

/// A call of the operator API. Names are decoded and not yet checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OperatorRoute {
    Config,
    Models,
    Nudge,
    Drift(String),
    Performance(String),
    Explain(String),
    Report(String),
    Registry(RegistryRoute),
}

/// A call of the registry's part.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RegistryRoute {
    List,
    Fleet,
    Report,
    Show(String),
    History(String),
    Lineage(String),
    Diff(String),
    Verify,
    Gc,
    Policy,
    Change(String, ModelChange),
}

/// A change of a model in the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ModelChange {
    Promote,
    Rollback,
    Alias,
    Traffic,
    Retire,
    Tag,
    Approve,
    Reject,
}

/// The parameters of a request, decoded.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Decodes what follows the `?` of an address.
    pub(super) fn parse(text: &str) -> Self {
        Self(
            form_urlencoded::parse(text.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    /// The first value of a parameter.
    pub(super) fn value(&self, key: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(k, _)| k == key)?;
        Some(value)
    }

    /// The first value of a parameter that must be there.
    pub(super) fn required(&self, key: &str) -> Result<&str> {
        self.value(key)
            .ok_or_else(|| Error::invalid(format!("the query parameter '{key}' is missing")))
    }
}

/// Reads a method and a path.
pub(super) fn route(method: &str, path: &str) -> Result<OperatorRoute> {
    let segments: Option<Vec<String>> = path.split('/').skip(1).map(decoded).collect();
    let segments =
        segments.ok_or_else(|| Error::invalid("the path is not UTF-8 after percent-decoding"))?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();

    match (method, segments.as_slice()) {
        ("GET", ["v1", "config"]) => Ok(OperatorRoute::Config),
        ("GET", ["v1", "models"]) => Ok(OperatorRoute::Models),
        ("POST", ["v1", "nudge"]) => Ok(OperatorRoute::Nudge),
        ("GET", ["v1", "models", name @ .., "drift"]) if !name.is_empty() => {
            Ok(OperatorRoute::Drift(name.join("/")))
        }
        ("GET", ["v1", "models", name @ .., "performance"]) if !name.is_empty() => {
            Ok(OperatorRoute::Performance(name.join("/")))
        }
        ("GET", ["v1", "models", name @ .., "explain"]) if !name.is_empty() => {
            Ok(OperatorRoute::Explain(name.join("/")))
        }
        ("GET", ["v1", "models", name @ .., "report"]) if !name.is_empty() => {
            Ok(OperatorRoute::Report(name.join("/")))
        }
        ("GET", ["v1", "registry", rest @ ..]) if !rest.is_empty() => {
            read_of(rest).map(OperatorRoute::Registry)
        }
        ("POST", ["v1", "registry", rest @ ..]) if !rest.is_empty() => {
            change_of(rest).map(OperatorRoute::Registry)
        }
        _ => Err(Error::not_found(
            "no such call; try /v1/models, /v1/models/NAME/drift, /v1/models/NAME/performance, /v1/models/NAME/explain, /v1/models/NAME/report, /v1/config, /v1/registry/models or POST /v1/nudge",
        )),
    }
}

fn decoded(segment: &str) -> Option<String> {
    let bytes = percent_encoding::percent_decode_str(segment);
    bytes.decode_utf8().ok().map(|text| text.into_owned())
}

fn unknown() -> Error {
    Error::not_found("no such call; docs/operator-api.md lists them")
}

/// What `GET` reads of the registry.
fn read_of(segments: &[&str]) -> Result<RegistryRoute> {
    Ok(match *segments {
        ["models"] => RegistryRoute::List,
        ["fleet"] => RegistryRoute::Fleet,
        ["report"] => RegistryRoute::Report,
        ["models", model] => RegistryRoute::Show(model.to_owned()),
        ["models", model, "history"] => RegistryRoute::History(model.to_owned()),
        ["models", model, "lineage"] => RegistryRoute::Lineage(model.to_owned()),
        ["models", model, "diff"] => RegistryRoute::Diff(model.to_owned()),
        _ => return Err(unknown()),
    })
}

/// What `POST` does to the registry.
fn change_of(segments: &[&str]) -> Result<RegistryRoute> {
    Ok(match *segments {
        ["verify"] => RegistryRoute::Verify,
        ["gc"] => RegistryRoute::Gc,
        ["policy"] => RegistryRoute::Policy,
        ["models", model, verb] => RegistryRoute::Change(model.to_owned(), parse_change(verb)?),
        _ => return Err(unknown()),
    })
}

fn parse_change(word: &str) -> Result<ModelChange> {
    Ok(match word {
        "promote" => ModelChange::Promote,
        "rollback" => ModelChange::Rollback,
        "alias" => ModelChange::Alias,
        "traffic" => ModelChange::Traffic,
        "retire" => ModelChange::Retire,
        "tag" => ModelChange::Tag,
        "approve" => ModelChange::Approve,
        "reject" => ModelChange::Reject,
        _ => return Err(unknown()),
    })
}
