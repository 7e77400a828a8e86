//! REST: from a method and a path to the call that they name. Pure functions;
//! the calls are answered elsewhere.

#[cfg(test)]
mod tests;

use crate::api::tfs::inference::Inference;
use crate::core::model::Version;
use crate::core::request::Selector;
use http::Method;
use smallvec::SmallVec;
use std::borrow::Cow;

/// The call that a path names. Model names are decoded once and not yet checked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Live,
    Ready,
    Server,
    Models,
    Metadata(String, String),
    ModelReady(String, String),
    Infer(String, String),
    Config(String, String),
    Statistics(String, String),
    Index,
    /// Reads settings, or changes them.
    LogSettings,
    /// Of one model, or all if the name is empty.
    TraceSettings(String),
    Load(String),
    Unload(String),
    /// Of one region, or all if the name is empty.
    RegionStatus(String),
    RegisterRegion(String),
    UnregisterRegion(String),
    /// A list of none.
    CudaStatus,
    CudaRegister,
    CudaUnregister,
    TfsPredict(String, Selector),
    TfsInfer(Inference, String, Selector),
    TfsStatus(String, Option<Selector>),
    TfsMetadata(String, Selector),
    Labels,
    /// Whether the process lives, as KServe's V1 protocol asks at the root.
    Root,
    OpenApi,
    Invocations,
    Ping,
    Version,
}

/// The segments of a path, of which no call has more than six.
type Segments<T> = SmallVec<[T; 6]>;

/// Why there is no route.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoRoute {
    /// 404.
    Unknown,
    /// 405, and the methods that the path takes.
    Method(&'static str),
    /// 400, as TensorFlow Serving answers under /v1.
    Malformed,
    /// 501, KServe's call for explanations.
    Explanations,
}

/// Reads a method and a path.
pub(crate) fn route(method: &Method, path: &str) -> Result<Route, NoRoute> {
    let all: Option<Segments<Cow<'_, str>>> = path.split('/').skip(1).map(decoded).collect();
    let all = all.ok_or(NoRoute::Malformed)?;
    let segments: Segments<&str> = all.iter().map(AsRef::as_ref).collect();

    let (wanted, found) = match segments.as_slice() {
        ["v2"] => ("GET", Route::Server),
        ["v2", "health", "live"] => ("GET", Route::Live),
        ["v2", "health", "ready"] => ("GET", Route::Ready),
        ["v2", "models"] => ("GET", Route::Models),
        ["v2", "models", "stats"] => ("GET", Route::Statistics(String::new(), String::new())),
        ["v2", "models", name] => ("GET", Route::Metadata((*name).to_owned(), String::new())),
        ["v2", "models", name, "versions", version] => (
            "GET",
            Route::Metadata((*name).to_owned(), (*version).to_owned()),
        ),
        ["v2", "models", name, verb] => of_model(name, "", verb)?,
        ["v2", "models", name, "versions", version, verb] => of_model(name, version, verb)?,
        ["v2", "repository", "index"] => ("POST", Route::Index),
        ["v2", "logging"] => (GET_OR_POST, Route::LogSettings),
        ["v2", "trace", "setting"] => (GET_OR_POST, Route::TraceSettings(String::new())),
        ["v2", "models", name, "trace", "setting"] => {
            (GET_OR_POST, Route::TraceSettings((*name).to_owned()))
        }
        ["v2", "repository", "models", name, "load"] => ("POST", Route::Load((*name).to_owned())),
        ["v2", "repository", "models", name, "unload"] => {
            ("POST", Route::Unload((*name).to_owned()))
        }
        ["v2", "systemsharedmemory", "status"] => ("GET", Route::RegionStatus(String::new())),
        ["v2", "systemsharedmemory", "region", name, "status"] => {
            ("GET", Route::RegionStatus((*name).to_owned()))
        }
        ["v2", "systemsharedmemory", "region", name, "register"] => {
            ("POST", Route::RegisterRegion((*name).to_owned()))
        }
        ["v2", "systemsharedmemory", "unregister"] => {
            ("POST", Route::UnregisterRegion(String::new()))
        }
        ["v2", "systemsharedmemory", "region", name, "unregister"] => {
            ("POST", Route::UnregisterRegion((*name).to_owned()))
        }
        ["v2", "cudasharedmemory", "status"] => ("GET", Route::CudaStatus),
        ["v2", "cudasharedmemory", .., "register"] => ("POST", Route::CudaRegister),
        ["v2", "cudasharedmemory", .., "unregister"] => ("POST", Route::CudaUnregister),
        [""] => ("GET", Route::Root),
        ["openapi.json"] => ("GET", Route::OpenApi),
        ["invocations"] => ("POST", Route::Invocations),
        ["ping" | "health"] => ("GET", Route::Ping),
        ["version"] => ("GET", Route::Version),
        ["v1", "feedback"] => ("POST", Route::Labels),
        [v1, rest @ ..] if v1.eq_ignore_ascii_case("v1") => {
            return tensorflow_serving_route(method, rest);
        }
        _ => return Err(NoRoute::Unknown),
    };

    check_method(method, wanted).map(|()| found)
}

/// The methods of a call that reads without a body and changes with one.
const GET_OR_POST: &str = "GET, POST";

fn check_method(method: &Method, wanted: &'static str) -> Result<(), NoRoute> {
    let asked = match *method {
        Method::HEAD => "GET",
        _ => method.as_str(),
    };
    match wanted.split(", ").any(|method| method == asked) {
        true => Ok(()),
        false => Err(NoRoute::Method(wanted)),
    }
}

fn decoded(segment: &str) -> Option<Cow<'_, str>> {
    let bytes = percent_encoding::percent_decode_str(segment);
    bytes.decode_utf8().ok()
}

fn of_model(name: &str, version: &str, verb: &str) -> Result<(&'static str, Route), NoRoute> {
    let (name, version) = (name.to_owned(), version.to_owned());
    Ok(match verb {
        "ready" => ("GET", Route::ModelReady(name, version)),
        "infer" => ("POST", Route::Infer(name, version)),
        "config" => ("GET", Route::Config(name, version)),
        "stats" => ("GET", Route::Statistics(name, version)),
        _ => return Err(NoRoute::Unknown),
    })
}

/// TensorFlow Serving's paths, whose fixed words match in any case.
fn tensorflow_serving_route(method: &Method, segments: &[&str]) -> Result<Route, NoRoute> {
    let [models, rest @ ..] = segments else {
        return Err(NoRoute::Malformed);
    };
    if !models.eq_ignore_ascii_case("models") {
        return Err(NoRoute::Malformed);
    }
    let (rest, metadata) = match rest {
        [inner @ .., last] if last.eq_ignore_ascii_case("metadata") && !inner.is_empty() => {
            (inner, true)
        }
        all => (all, false),
    };

    let (name, kind, value) = match rest {
        [name] => (*name, "", ""),
        [name, kind, value] => (*name, *kind, *value),
        _ => return Err(NoRoute::Malformed),
    };

    let (name, value, verb) = if kind.is_empty() {
        let (name, verb) = before_verb(name);
        (name, value, verb)
    } else {
        let (value, verb) = before_verb(value);
        (name, value, verb)
    };

    let name = name.to_owned();

    let selector = match kind.to_ascii_lowercase().as_str() {
        "" => None,
        "versions" => Some(Selector::Exact(
            // TensorFlow Serving pads its folders with zeros.
            Version::parse(value.trim_start_matches('0')).map_err(|_| NoRoute::Malformed)?,
        )),
        "labels" if !value.is_empty() => Some(Selector::Label(value.to_owned())),
        _ => return Err(NoRoute::Malformed),
    };

    let newest = |selector: Option<Selector>| selector.unwrap_or(Selector::Latest);
    let (wanted, found) = match (verb.as_deref(), metadata) {
        (Some("predict"), false) => ("POST", Route::TfsPredict(name, newest(selector))),
        (Some("classify"), false) => (
            "POST",
            Route::TfsInfer(Inference::Classify, name, newest(selector)),
        ),
        (Some("regress"), false) => (
            "POST",
            Route::TfsInfer(Inference::Regress, name, newest(selector)),
        ),
        (Some("explain"), false) => return Err(NoRoute::Explanations),
        (None, true) => ("GET", Route::TfsMetadata(name, newest(selector))),
        (None, false) => ("GET", Route::TfsStatus(name, selector)),
        _ => return Err(NoRoute::Malformed),
    };
    check_method(method, wanted).map(|()| found)
}

/// Splits `name:verb`; the verb in lower case.
fn before_verb(text: &str) -> (&str, Option<String>) {
    match text.rsplit_once(':') {
        Some((name, verb)) => (name, Some(verb.to_ascii_lowercase())),
        None => (text, None),
    }
}
