//! Ground-truth labels over HTTP and gRPC: reads them for `observe::labels`,
//! which checks, stores and counts them, and answers with its receipt.

use super::Front;
use super::body::Metered;
use super::rest::call::Call;
use super::rest::reply::Reply;
use super::status;
use crate::core::error::{Error, Result};
use crate::observe::labels::Feedback;
use crate::observe::labels::given::{self, Given, Receipt};
use crate::observe::quality::answer::Label;
use crate::proto::feedback as p;
use crate::proto::feedback::feedback_server;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Returns the receiver of labels. Refuses if labels are switched off.
pub(super) fn labels(front: &Front) -> Result<&Arc<Feedback>> {
    front.labels.as_ref().ok_or_else(|| {
        Error::precondition(
            "labels are not accepted: feedback.enabled or monitor.enabled is false; set both to true",
        )
    })
}

/// Answers `POST /v1/feedback`: 200 where any label was accepted or known.
pub(super) async fn answer(call: &Call<'_>, body: Metered) -> Result<Reply> {
    let labels = labels(call.front)?;
    let body = call.body(body).await?;
    let labels_max = labels.labels_max();

    let receipt = labels
        .accept_on_worker(move || given::read(&body, labels_max))
        .await?;

    let mut reply = Reply::json(receipt.to_json().to_string());
    if let Some(kind) = receipt.error() {
        reply.status = status::http(kind);
    }
    Ok(reply)
}

/// The service; cheap to clone.
#[derive(Clone)]
pub(super) struct LabelService(pub Arc<Front>);

#[tonic::async_trait]
impl feedback_server::Feedback for LabelService {
    async fn give(
        &self,
        request: Request<p::GiveRequest>,
    ) -> Result<Response<p::GiveReply>, Status> {
        let given = request.into_inner().labels;

        let receipt = labels(&self.0)?
            .accept_on_worker(move || Ok(given.into_iter().map(read).collect()))
            .await?;

        if let (Some(kind), Some(first)) = (receipt.error(), receipt.refused.first()) {
            let (index, message) = (first.index, &first.error.message);
            return Err(Error::new(kind, format!("label {index}: {message}")).into());
        }
        Ok(Response::new(reply(&receipt)))
    }
}

fn read(label: p::Label) -> Result<Given> {
    let value = match label.label {
        Some(p::label::Label::Word(word)) => serde_json::Value::String(word),
        Some(p::label::Label::Number(number)) => serde_json::Number::from_f64(number)
            .map_or(serde_json::Value::Null, serde_json::Value::Number),
        Some(p::label::Label::Truth(truth)) => truth.into(),
        None => return Err(Error::invalid("label is missing")),
    };

    let time = match label.time.as_str() {
        "" => None,
        text => Some(given::time(text)?),
    };
    Given::of_parts(
        &label.prediction_id,
        label.row,
        Label::of_json(&value)?,
        time,
    )
}

fn reply(receipt: &Receipt) -> p::GiveReply {
    let json = receipt.to_json();
    let errors = json["errors"].as_array().map(Vec::as_slice);
    let errors = errors.unwrap_or_default().iter();

    p::GiveReply {
        accepted: receipt.accepted as u64,
        joined: receipt.joined as u64,
        pending: receipt.pending as u64,
        duplicates: receipt.duplicates as u64,
        refused: receipt.refused.len() as u64,
        errors: errors.map(refusal).collect(),
    }
}

fn refusal(error: &serde_json::Value) -> p::Refusal {
    p::Refusal {
        index: error["index"].as_u64().unwrap_or(0),
        code: error["code"].as_str().unwrap_or_default().to_owned(),
        message: error["message"].as_str().unwrap_or_default().to_owned(),
    }
}
