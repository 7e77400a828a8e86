//! The path of a prediction request, the same in every protocol: resolve the
//! servable, read the deadline, decode, predict, encode, and name the version
//! in the answer's headers. Counts a refused request once. Knows no protocol:
//! a handler passes in what it read and how it encodes.

use super::explained_answer::ExplainedAnswer;
use super::headers::{
    DIGEST_HEADER, EXPLAIN_HEADER, PREDICTION_HEADER, RequestHeaders, TRACED_HEADER,
    VERSION_HEADER, earlier,
};
use super::limits::Limits;
use super::tables::{TableLimits, TableSchema};
use crate::core::error::{Error, Kind, Result};
use crate::core::model::Signature;
use crate::core::request::{Deadline, Protocol, Request, Response, Target};
use crate::core::tensor::Tensor;
use crate::explain::request::check_request;
use crate::serve::batch::Done;
use crate::serve::explanations::AskedExplanation;
use crate::serve::parts;
use crate::serve::predict::{Predicted, Predictor, RunningPrediction};
use crate::serve::servable::Servable;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

/// When a request's headers arrived; travels with a gRPC request.
#[derive(Clone, Copy)]
pub(crate) struct Arrived(pub Instant);

impl Arrived {
    /// Reads it from a request's extensions; the current time, if it is not there.
    pub(crate) fn of(extensions: &http::Extensions) -> Instant {
        extensions.get().map_or_else(Instant::now, |Self(at)| *at)
    }
}

/// A prediction request before its body is read.
pub(crate) struct Inbound<'c, 'h> {
    pub predictor: &'c Predictor,
    pub protocol: Protocol,
    pub headers: RequestHeaders<'h>,
    pub arrived: Instant,
}

/// A prediction request with the servable that will answer it.
pub(crate) struct Admitted<'c, 'h> {
    inbound: Inbound<'c, 'h>,
    target: Target,
    servable: Arc<Servable>,
    deadline: Option<Deadline>,
}

/// What a protocol reads from a request besides its target.
#[derive(Debug)]
pub(crate) struct Decoded<F> {
    /// The client's own id.
    pub id: String,
    /// 0 is the default and the highest priority.
    pub priority: u8,
    /// Triton's `timeout` parameter.
    pub timeout_us: Option<u64>,
    /// The routing key, where it becomes known only with the body.
    pub route_key: Option<String>,
    /// Named tensors, in the order sent.
    pub inputs: Vec<(String, Tensor)>,
    /// The outputs selected; empty selects all.
    pub outputs: Vec<String>,
    /// How the client wants the answer encoded.
    pub form: F,
}

/// Marks a refusal of what may succeed later.
fn unexecuted(error: Error) -> Error {
    let is_passing = matches!(
        error.kind,
        Kind::ResourceExhausted | Kind::Unavailable | Kind::DeadlineExceeded
    );
    match is_passing && error.unexecuted.is_none() {
        true => error.unexecuted(None),
        false => error,
    }
}

/// The error of a message that cannot be decoded.
pub(crate) fn malformed(cause: &prost::DecodeError) -> Error {
    Error::invalid(format!("the message is malformed: {cause}"))
}

/// An answer whose headers can be set.
pub(crate) trait AnswerHeaders {
    fn headers_mut(&mut self) -> &mut HeaderMap;
}

impl<M> AnswerHeaders for tonic::Response<M> {
    fn headers_mut(&mut self) -> &mut HeaderMap {
        self.metadata_mut().as_mut()
    }
}

impl<'c, 'h> Inbound<'c, 'h> {
    /// Resolves the target and reads the deadline. Runs before the tensors are
    /// decoded, so that a refusal costs little.
    pub(crate) fn admit(self, target: Result<Target>) -> Result<Admitted<'c, 'h>> {
        let resolved = self.resolve(target);
        let (target, servable, deadline) = resolved.map_err(|error| self.refused(error))?;
        servable
            .check_room(deadline)
            .map_err(|error| self.refused_by(&servable, error))?;
        Ok(Admitted {
            inbound: self,
            target,
            servable,
            deadline,
        })
    }

    fn resolve(&self, target: Result<Target>) -> Result<(Target, Arc<Servable>, Option<Deadline>)> {
        let target = match self.headers.route_key() {
            [] => target?,
            key => target?.routed_by(key),
        };
        let servable = self.predictor.resolve(&target)?;
        let deadline = self.headers.deadline(self.arrived)?;

        Ok((target, servable, deadline))
    }

    /// Counts a request that is refused before it ran.
    pub(crate) fn refused(&self, error: Error) -> Error {
        self.predictor.refused(self.protocol, &error);
        unexecuted(error)
    }

    /// Counts a request that a servable refuses before it ran.
    fn refused_by(&self, servable: &Servable, error: Error) -> Error {
        let took = self.arrived.elapsed();
        servable
            .metrics
            .finished(self.protocol, Err(error.kind), took);
        error
    }
}

impl<'c> Admitted<'c, '_> {
    /// The version that answers, unless a routing key in the body chooses another one.
    pub(crate) fn servable(&self) -> &Servable {
        &self.servable
    }

    /// The tensors that the servable takes and answers.
    pub(crate) fn signature(&self) -> &Signature {
        &self.servable.signature
    }

    /// What a table has to give the servable, and how much it may.
    pub(crate) fn schema(&self, limits: &Limits) -> TableSchema<'_> {
        let servable = &self.servable;
        let largest_body = limits.decompressed_bytes_max.max(limits.message_bytes_max);
        TableSchema {
            signature: &servable.signature,
            columns: &servable.columns,
            limits: TableLimits {
                rows_max: parts::rows_max(servable),
                bytes_max: largest_body.min(limits.bytes_in_flight_max),
                shared_bytes_max: limits.message_bytes_max,
            },
        }
    }

    /// Predicts and encodes; names the version and the prediction in the
    /// answer's headers.
    pub(crate) async fn predict<F, T: AnswerHeaders>(
        self,
        decoded: Result<Decoded<F>>,
        encode: impl FnOnce(&Response, F, &Servable) -> Result<T>,
    ) -> Result<T> {
        let mut begun = self.begin(decoded)?;
        let done = std::future::poll_fn(|cx| begun.poll_done(cx)).await;
        begun.finish(done, encode)
    }

    /// Returns what is to be explained, if the headers ask for it. Refuses what cannot be explained before it is
    /// predicted.
    fn asked_explanation<F>(
        &self,
        decoded: &Result<Decoded<F>>,
    ) -> Result<Option<AskedExplanation>> {
        let Ok(decoded) = decoded else {
            // It is refused anyway.
            return Ok(None);
        };
        let inbound = &self.inbound;
        let top = inbound.headers.explain();
        let Some(top) = top.map_err(|error| inbound.refused(error))? else {
            return Ok(None);
        };
        if !matches!(inbound.protocol, Protocol::OipGrpc | Protocol::OipRest) {
            return Err(inbound.refused(Error::invalid(format!(
                "{EXPLAIN_HEADER} goes with the Open Inference Protocol only; send the request to ModelInfer or /v2/models/NAME/infer, or without it"
            ))));
        }

        let (servable, inputs) = (&self.servable, &decoded.inputs);
        // A routing key in the body may choose another version, which is looked at later.
        if decoded.route_key.is_none() {
            let checked = servable.explanation.model().and_then(|model| {
                servable.signature.check(inputs.clone())?;
                check_request(model, inputs, top)
            });
            checked.map_err(|error| inbound.refused_by(servable, error))?;
        }
        Ok(Some(AskedExplanation {
            top,
            inputs: inputs.clone(),
            deadline: earlier(self.deadline, decoded.timeout_us, inbound.arrived),
        }))
    }

    /// Starts to predict.
    pub(crate) fn begin<F>(self, decoded: Result<Decoded<F>>) -> Result<Begun<'c, F>> {
        let asked = self.asked_explanation(&decoded)?;
        let predictor = self.inbound.predictor;
        let (servable, request, form) = self.request(decoded)?;
        Ok(Begun {
            running: predictor.start(servable, request),
            // On the heap, as few requests need it.
            explaining: asked.map(|asked| Box::new(ExplainedAnswer::new(asked))),
            form,
        })
    }

    fn request<F>(self, decoded: Result<Decoded<F>>) -> Result<(Arc<Servable>, Request, F)> {
        let decoded = decoded.map_err(|error| self.inbound.refused(error))?;
        let servable = match &decoded.route_key {
            // The header overrides the body.
            Some(key) if self.target.key.is_none() => {
                let target = self.target.routed_by(key.as_bytes());
                let routed = self.inbound.predictor.resolve(&target);
                routed.map_err(|error| self.inbound.refused(error))?
            }
            _ => self.servable,
        };

        let Inbound {
            protocol,
            headers,
            arrived,
            ..
        } = self.inbound;

        let request = Request {
            id: decoded.id,
            protocol,
            arrived,
            deadline: earlier(self.deadline, decoded.timeout_us, arrived),
            priority: decoded.priority,
            inputs: decoded.inputs,
            outputs: decoded.outputs,
            trace: headers.trace(),
        };

        Ok((servable, request, decoded.form))
    }
}

/// A prediction request that was submitted. Dropping it cancels it.
pub(crate) struct Begun<'c, F> {
    running: RunningPrediction<'c>,
    /// What explains the prediction, if the request asks for it.
    explaining: Option<Box<ExplainedAnswer>>,
    form: F,
}

impl<F> Begun<'_, F> {
    /// Waits for the outputs, and for their explanation if there is one.
    pub(crate) fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<Result<Done>> {
        match &mut self.explaining {
            None => self.running.poll_done(cx),
            Some(explaining) => explaining.poll(&mut self.running, cx),
        }
    }

    /// Encodes what [`Begun::poll_done`] returned, and names the version and the prediction in the
    /// answer's headers.
    pub(crate) fn finish<T: AnswerHeaders>(
        self,
        done: Result<Done>,
        encode: impl FnOnce(&Response, F, &Servable) -> Result<T>,
    ) -> Result<T> {
        let form = self.form;
        let servable = self.running.servable();
        let texts = [
            (VERSION_HEADER, servable.version_text.clone()),
            (DIGEST_HEADER, servable.digest_text.clone()),
        ];
        let Predicted {
            response,
            encoded: mut answer,
        } = self
            .running
            .finish(done, |response, servable| match self.explaining {
                None => encode(response, form, servable),
                Some(explained) => encode(&explained.added_to(response), form, servable),
            })?;
        stamp(answer.headers_mut(), texts, &response);
        Ok(answer)
    }
}

/// Names the version that served with its digest, the prediction and its trace.
fn stamp(headers: &mut HeaderMap, texts: [(HeaderName, Bytes); 2], response: &Response) {
    for (name, text) in texts {
        if let Ok(text) = HeaderValue::from_maybe_shared(text) {
            headers.insert(name, text);
        }
    }

    let mut buffer = uuid::Uuid::encode_buffer();
    let id = response.prediction_id.hyphenated();
    if let Ok(mut id) = HeaderValue::from_str(id.encode_lower(&mut buffer)) {
        // It never comes again, so HTTP/2 need not remember it in its table of headers.
        id.set_sensitive(true);
        headers.insert(PREDICTION_HEADER, id);
    }

    let trace = response.trace.as_deref().map(HeaderValue::from_str);
    if let Some(Ok(trace)) = trace {
        headers.insert(TRACED_HEADER, trace);
    }
}
