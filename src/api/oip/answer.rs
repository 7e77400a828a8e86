//! What ModelInfer and ModelStreamInfer share: whom a message is for, and the message of an answer.

use super::codec::{self, AnswerForm};
use super::wishes;
use crate::core::error::Result;
use crate::core::request::{Response, Target};
use crate::proto::inference as p;
use crate::serve::servable::Servable;

/// Which model and version a message is for.
pub(super) fn target(message: &p::ModelInferRequest) -> Result<Target> {
    Target::parse(&message.model_name, &message.model_version)
}

/// Writes an answer with what was asked of its outputs.
pub(super) fn encoded(
    response: &Response,
    form: &AnswerForm,
    servable: &Servable,
) -> Result<p::ModelInferResponse> {
    let Some(wishes) = form.wishes.as_deref() else {
        return Ok(codec::encode(response, form.contents));
    };
    let wished = wishes::apply(wishes, response, servable)?;
    Ok(codec::encode_placed(
        &wished.response,
        form.contents,
        &wished.placed,
    ))
}
