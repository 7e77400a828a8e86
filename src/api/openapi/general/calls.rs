//! The calls on the data listeners.

use super::{ApiCall, act, change, get, object, post};
use crate::api::openapi::parameters_schema;
use serde_json::{Value, json};

/// Every call on the data listeners, but those of single models.
pub(super) fn calls() -> Vec<ApiCall> {
    let groups = [
        server(),
        open_inference(),
        tensorflow_serving(),
        operating(),
        regions(),
    ];
    groups.into_iter().flatten().collect()
}

fn server() -> Vec<ApiCall> {
    vec![
        get(
            "/",
            "Whether the process lives, as KServe's V1 protocol asks.",
        ),
        get("/openapi.json", "This description."),
        get("/ping", "Whether the server is ready, as MLflow asks.").says(),
        get("/health", "Whether the server is ready, as MLflow asks.").says(),
        get("/version", "The version of the server, as MLflow asks.").says(),
        get("/v2", "The server's name, version and extensions."),
        get("/v2/health/live", "Whether the process lives."),
        get("/v2/health/ready", "Whether the server is ready.").either(),
        get("/v2/models", "The names of all models."),
        get("/v2/models/stats", "Statistics of all models."),
        invocations(),
        labels(),
    ]
}

fn open_inference() -> Vec<ApiCall> {
    vec![
        get(
            "/v2/models/{name}",
            "The inputs, outputs and versions of a model.",
        ),
        get(
            "/v2/models/{name}/versions/{version}",
            "The inputs and outputs of a version.",
        ),
        get("/v2/models/{name}/ready", "Whether a model serves.").either(),
        get(
            "/v2/models/{name}/versions/{version}/ready",
            "Whether a version serves.",
        )
        .either(),
        get("/v2/models/{name}/config", "The configuration of a model."),
        get(
            "/v2/models/{name}/versions/{version}/config",
            "The configuration of a version.",
        ),
        get("/v2/models/{name}/stats", "Statistics of a model."),
        get(
            "/v2/models/{name}/versions/{version}/stats",
            "Statistics of a version.",
        ),
        post(
            "/v2/models/{name}/infer",
            "Predict with a model.",
            infer_schema(),
        ),
        post(
            "/v2/models/{name}/versions/{version}/infer",
            "Predict with a version.",
            infer_schema(),
        ),
    ]
}

fn tensorflow_serving() -> Vec<ApiCall> {
    vec![
        get("/v1/models/{name}", "The states of a model's versions."),
        get("/v1/models/{name}/metadata", "The signature of a model."),
        get(
            "/v1/models/{name}/versions/{version}",
            "The state of a version.",
        ),
        get(
            "/v1/models/{name}/versions/{version}/metadata",
            "The signature of a version.",
        ),
        get(
            "/v1/models/{name}/labels/{label}",
            "The state of the version with a label.",
        ),
        get(
            "/v1/models/{name}/labels/{label}/metadata",
            "The signature of the version with a label.",
        ),
        post(
            "/v1/models/{name}:predict",
            "Predict with a model.",
            predict_schema(),
        ),
        post(
            "/v1/models/{name}/versions/{version}:predict",
            "Predict with a version.",
            predict_schema(),
        ),
        post(
            "/v1/models/{name}/labels/{label}:predict",
            "Predict with the version that has a label.",
            predict_schema(),
        ),
        post(
            "/v1/models/{name}:classify",
            "Classes with scores, of examples.",
            examples_schema(),
        )
        .answers(results_schema()),
        post(
            "/v1/models/{name}/versions/{version}:classify",
            "Classes with scores, of examples, from a version.",
            examples_schema(),
        )
        .answers(results_schema()),
        post(
            "/v1/models/{name}:regress",
            "One number of each example.",
            examples_schema(),
        )
        .answers(results_schema()),
        post(
            "/v1/models/{name}/versions/{version}:regress",
            "One number of each example, from a version.",
            examples_schema(),
        )
        .answers(results_schema()),
    ]
}

fn predict_schema() -> Value {
    json!({
        "type": "object",
        "properties": {"signature_name": {"enum": [null, "", "serving_default"]}, "instances": {"type": ["array", "null"], "minItems": 1}, "inputs": {}},
        "anyOf": [{"required": ["instances"]}, {"required": ["inputs"]}],
    })
}

/// Examples with named features.
fn examples_schema() -> Value {
    json!({
        "type": "object",
        "required": ["examples"],
        "properties": {
            "signature_name": {"type": ["string", "null"]},
            "context": {"type": ["object", "null"]},
            "examples": {"type": "array", "minItems": 1, "items": {"type": "object"}},
        },
    })
}

fn results_schema() -> Value {
    json!({
        "type": "object",
        "required": ["results"],
        "properties": {"results": {"type": "array"}},
    })
}

fn operating() -> Vec<ApiCall> {
    let load = json!({
        "type": "object",
        "properties": {"parameters": {
            "type": "object",
            "description": "`config` is a configuration in JSON; `file:VERSION/NAME` a file in Base64.",
            "additionalProperties": {"type": "string"},
        }},
    });
    let index = json!({"type": "object", "properties": {"ready": {"type": "boolean"}}});
    let log = json!({
        "type": "object",
        "properties": {
            "log_info": {"type": "boolean"},
            "log_warning": {"type": "boolean"},
            "log_error": {"type": "boolean"},
            "log_verbose_level": {"type": "integer", "minimum": 0},
        },
        "additionalProperties": false,
    });
    let trace = || {
        json!({
            "type": "object",
            "description": "A setting that is null has the value of the configuration again.",
            "additionalProperties": {"type": ["string", "array", "null"]},
        })
    };
    let mut index = change(
        "/v2/repository/index",
        "All versions with their states.",
        index,
    )
    .lists();
    index.summary = "All versions with their states and, where they do not serve, why.";
    vec![
        index,
        change(
            "/v2/repository/models/{name}/load",
            "Load a model, under explicit control.",
            load,
        ),
        act(
            "/v2/repository/models/{name}/unload",
            "Unload a model, under explicit control.",
        ),
        get("/v2/logging", "The settings of the log."),
        change("/v2/logging", "Change settings of the log.", log).answers(object()),
        get("/v2/trace/setting", "The settings of traces."),
        change("/v2/trace/setting", "Change settings of traces.", trace()).answers(object()),
        get(
            "/v2/models/{name}/trace/setting",
            "The settings of traces of a model.",
        ),
        change(
            "/v2/models/{name}/trace/setting",
            "Change settings of traces, which all models share.",
            trace(),
        )
        .answers(object()),
    ]
}

fn regions() -> Vec<ApiCall> {
    let region = json!({
        "type": "object",
        "required": ["key", "byte_size"],
        "properties": {
            "key": {"type": "string", "minLength": 1},
            "offset": {"type": "integer", "minimum": 0},
            "byte_size": {"type": "integer", "minimum": 0},
        },
    });
    vec![
        get(
            "/v2/systemsharedmemory/status",
            "All regions of shared memory.",
        )
        .lists(),
        get(
            "/v2/systemsharedmemory/region/{region}/status",
            "One region of shared memory.",
        )
        .lists(),
        change(
            "/v2/systemsharedmemory/region/{region}/register",
            "Register a region of shared memory.",
            region,
        ),
        act(
            "/v2/systemsharedmemory/region/{region}/unregister",
            "Unregister a region of shared memory.",
        ),
        act(
            "/v2/systemsharedmemory/unregister",
            "Unregister all regions of shared memory.",
        ),
        get(
            "/v2/cudasharedmemory/status",
            "All regions of CUDA shared memory, which are none.",
        )
        .lists(),
        act(
            "/v2/cudasharedmemory/region/{region}/register",
            "Not supported.",
        ),
        act(
            "/v2/cudasharedmemory/region/{region}/unregister",
            "Unregister a region, of which there are none.",
        ),
        act(
            "/v2/cudasharedmemory/unregister",
            "Unregister all regions, which are none.",
        ),
    ]
}

/// A request to any model. Each model that serves has a path of its own, with its inputs and outputs.
fn infer_schema() -> Value {
    let tensor = json!({
        "type": "object",
        "required": ["name", "datatype", "shape", "data"],
        "properties": {
            "name": {"type": "string"},
            "datatype": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "parameters": parameters_schema(),
            "data": {"type": "array"},
        },
    });
    let output = json!({
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "parameters": parameters_schema()},
    });
    json!({
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": ["string", "null"]},
            "parameters": parameters_schema(),
            "inputs": {"type": "array", "items": tensor},
            "outputs": {"type": ["array", "null"], "items": output},
        },
    })
}

/// MLflow's call with a table.
fn invocations() -> ApiCall {
    let table = json!({
        "type": "object",
        "description": "A table, as exactly one of these. The content type text/csv has a table in CSV.",
        "properties": {
            "dataframe_split": {"type": "object"},
            "dataframe_records": {"type": "array", "items": {"type": "object"}},
            "instances": {"type": "array"},
            "inputs": {},
        },
        "minProperties": 1,
    });
    let predictions = json!({
        "type": "object",
        "required": ["predictions"],
        "properties": {"predictions": {"type": "array"}},
    });
    post("/invocations", INVOKE, table).answers(predictions)
}

const INVOKE: &str =
    "Predict with a table, as MLflow does. The query `model=NAME` names the model.";

/// The call with ground-truth labels.
fn labels() -> ApiCall {
    let label = json!({
        "type": "object",
        "required": ["prediction_id", "label"],
        "properties": {
            "prediction_id": {"type": "string", "format": "uuid"},
            "row": {"type": "integer", "minimum": 0},
            "label": {"type": ["string", "number", "boolean"]},
            "time": {"type": "string", "format": "date-time"},
        },
        "additionalProperties": false,
    });
    let body = json!({
        "type": "object",
        "required": ["labels"],
        "properties": {"labels": {"type": "array", "minItems": 1, "items": label}},
        "additionalProperties": false,
    });
    post(
        "/v1/feedback",
        "Ground-truth labels of earlier predictions.",
        body,
    )
    .either()
}
