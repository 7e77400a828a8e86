//! TensorFlow Serving over REST: predict, status and metadata.

use super::grpc::versions;
use super::json;
use crate::api::body::Metered;
use crate::api::oip::rest::stamp;
use crate::api::rest::{Call, Reply};
use crate::api::{Front, context, deadline, route_key};
use crate::core::error::{Error, Result};
use crate::core::model::ModelName;
use crate::core::request::{Protocol, Request, Selector, Target};

/// Answers `POST /v1/models/{name}[…]:predict`.
pub(crate) async fn predict(
    call: &Call<'_>,
    name: &str,
    selector: Selector,
    body: Metered,
) -> Result<Reply> {
    let predictor = &call.front.predictor;
    let refused = |error: &Error| predictor.refused(Protocol::TfsRest, error);
    let model = ModelName::parse(name).inspect_err(refused)?;
    let target = Target {
        model,
        selector,
        key: None,
    }
    .routed_by(route_key(call.headers));
    let servable = predictor.resolve(&target).inspect_err(refused)?;
    let asked = deadline(call.headers, call.arrived).inspect_err(refused)?;
    let body = call.body(body).await.inspect_err(refused)?;
    // JSON does not say its datatypes; the signature does.
    let (inputs, form) = json::decode(&body, &servable.signature).inspect_err(refused)?;
    let request = Request {
        id: String::new(),
        protocol: Protocol::TfsRest,
        arrived: call.arrived,
        deadline: asked,
        priority: 0,
        inputs,
        outputs: Vec::new(),
        trace: context(call.headers),
    };
    let response = predictor.predict_on(&servable, request).await?;
    let mut reply = Reply::json(json::encode(&response, form).inspect_err(refused)?);
    stamp(&mut reply, &response);
    Ok(reply)
}

/// Answers `GET /v1/models/{name}[…]`.
pub(crate) fn status(front: &Front, name: &str, selector: Option<&Selector>) -> Result<Reply> {
    let found = versions(front, &ModelName::parse(name)?, selector)?;
    let lines: Vec<_> = found
        .into_iter()
        .map(|v| {
            let code = tonic::Code::from_i32(v.code);
            let code_name = if code == tonic::Code::Ok {
                "OK"
            } else {
                "FAILED_PRECONDITION"
            };
            (
                v.version,
                v.state.as_str_name(),
                v.code,
                code_name,
                v.message,
            )
        })
        .collect();
    Ok(Reply::json(json::status_body(&lines)))
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
