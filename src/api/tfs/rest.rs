//! TensorFlow Serving over REST: predict, status and metadata.

use super::grpc::{VersionState, versions};
use super::inference::{self, Inference};
use super::{examples, json};
use crate::api::Front;
use crate::api::body::Metered;
use crate::api::inbound::Decoded;
use crate::api::rest::call::Call;
use crate::api::rest::reply::Reply;
use crate::api::tables::TableSchema;
use crate::core::error::Result;
use crate::core::model::ModelName;
use crate::core::request::{Protocol, Response, Selector, Target};
use crate::serve::servable::Servable;

/// Answers `POST /v1/models/{name}[…]:predict`.
pub(crate) async fn predict(
    call: &Call<'_>,
    target: Result<Target>,
    body: Metered,
) -> Result<Reply> {
    let admitted = call.inbound(Protocol::TfsRest).admit(target)?;
    let schema = admitted.schema(&call.front.limits);
    let decoded = read_predict(call, schema, body).await;
    admitted.predict(decoded, encode_predict).await
}

async fn read_predict(
    call: &Call<'_>,
    schema: TableSchema<'_>,
    body: Metered,
) -> Result<Decoded<json::RequestForm>> {
    let body = call.body(body).await?;
    // JSON does not say its datatypes; the signature does.
    let (inputs, form) = json::decode(&body, schema)?;

    Ok(Decoded {
        id: String::new(),
        priority: 0,
        timeout_us: None,
        route_key: None,
        inputs,
        outputs: Vec::new(),
        form,
    })
}

fn encode_predict(response: &Response, form: json::RequestForm, _: &Servable) -> Result<Reply> {
    json::encode(response, form).map(Reply::json)
}

/// Answers `POST /v1/models/{name}[…]:classify` and `:regress`.
pub(crate) async fn infer(
    call: &Call<'_>,
    target: Result<Target>,
    asked: Inference,
    body: Metered,
) -> Result<Reply> {
    let admitted = call.inbound(Protocol::TfsRest).admit(target)?;
    let decoded = match call.body(body).await {
        Ok(body) => {
            let servable = admitted.servable();
            asked.output(servable).and_then(|output| {
                let schema = admitted.schema(&call.front.limits);
                let (name, inputs) = examples::decode_json(&body, schema)?;
                asked.check_signature(&name)?;
                call.charge.add_tensors(&inputs, body.len())?;
                inference::decoded(inputs, vec![output], vec![asked])
            })
        }
        Err(error) => Err(error),
    };
    admitted.predict(decoded, encode_inference).await
}

fn encode_inference(
    response: &Response,
    asked: Vec<Inference>,
    servable: &Servable,
) -> Result<Reply> {
    let results = match asked.first() {
        Some(Inference::Regress) => json::values(&inference::regressions(response, servable)?),
        _ => json::classes(&inference::classes(response, servable)?),
    };
    Ok(Reply::json(results))
}

/// Answers `GET /v1/models/{name}[…]`.
pub(crate) fn status(front: &Front, name: &str, selector: Option<&Selector>) -> Result<Reply> {
    let found = versions(front, &ModelName::parse(name)?, selector)?;
    let lines: Vec<_> = found.into_iter().map(line).collect();
    Ok(Reply::json(json::status_body(&lines)))
}

fn line(version: VersionState) -> json::StatusLine {
    json::StatusLine {
        version: version.version,
        state: version.state.as_str_name(),
        code: match version.code {
            tonic::Code::Ok => "OK",
            _ => "FAILED_PRECONDITION",
        },
        message: version.message,
    }
}

/// Answers `GET /v1/models/{name}[…]/metadata`.
pub(crate) fn metadata(front: &Front, name: &str, selector: Selector) -> Result<Reply> {
    let servable = front.predictor.resolve(&Target {
        model: ModelName::parse(name)?,
        selector,
        key: None,
    })?;

    Ok(Reply::json(json::metadata_body(
        servable.name.as_str(),
        servable.version.number(),
        &servable.signature,
    )))
}
