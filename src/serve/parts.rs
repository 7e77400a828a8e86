//! A request of more rows than a batch may have: served in parts of a batch each, a few at a time, whose outputs are
//! joined. Only for models whose rows do not influence each other.

#[cfg(test)]
mod tests;

use super::servable::Servable;
use crate::core::error::{Error, Kind, Result, short};
use crate::core::model::optional::CheckedInputs;
use crate::core::request::{Deadline, Timing};
use crate::core::tensor::Tensor;
use crate::core::tensor::batch::{join, split};
use crate::serve::batch::Done;
use crate::serve::batch::waiting::Waiting;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The most parts of a request.
const PARTS_MAX: usize = 4_096;

/// A submitted request.
pub(crate) enum Submitted {
    Whole(Waiting),
    Parts(Box<WaitingParts>),
}

impl Submitted {
    /// Waits for the outputs.
    pub(crate) fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<Result<Done>> {
        match self {
            Self::Whole(waiting) => Pin::new(waiting).poll(cx),
            Self::Parts(parts) => parts.poll_done(cx),
        }
    }
}

/// The most rows of a request; none where each runs alone with any number of them.
pub(crate) fn rows_max(servable: &Servable) -> Option<usize> {
    let each = servable.options.batch_rows_max;
    let rows_max = match servable.declared.rows_max {
        Some(_) => each,
        None => each.saturating_mul(PARTS_MAX),
    };
    servable.has_rows().then_some(rows_max)
}

/// Submits a request, in parts if it has too many rows for a batch.
pub(crate) fn submit(
    servable: &Arc<Servable>,
    inputs: CheckedInputs,
    deadline: Option<Deadline>,
    priority: u8,
) -> Result<Submitted> {
    let rows = inputs.required.first().and_then(Tensor::rows).unwrap_or(1);
    let each = servable.options.batch_rows_max;
    let is_cut = rows > each
        && servable.has_rows()
        && inputs.optional.is_empty()
        // As with Triton, that is what the model takes.
        && servable.declared.rows_max.is_none()
        && inputs.required.iter().all(|t| t.rows() == Some(rows));
    if !is_cut {
        let waiting = servable.submit(inputs, deadline, priority)?;
        return Ok(Submitted::Whole(waiting));
    }
    if rows > each.saturating_mul(PARTS_MAX) {
        return Err(Error::invalid(format!(
            "the request has {rows} rows; at most {PARTS_MAX} batches of {each} (batch_rows_max) serve one request"
        )));
    }

    let sizes: Vec<usize> = (0..rows)
        .step_by(each)
        .map(|at| each.min(rows - at))
        .collect();
    let inputs: Vec<Vec<Tensor>> = inputs
        .required
        .iter()
        .map(|tensor| split(tensor, &sizes))
        .collect::<Result<_>>()?;
    let mut parts = WaitingParts {
        servable: Arc::clone(servable),
        deadline,
        priority,
        inputs,
        running: Vec::new(),
        next: 0,
        done: sizes.iter().map(|_| None).collect(),
    };
    // Twice the lanes: none is idle between two parts, and other requests come in between.
    for _ in 0..servable.lanes * 2 {
        parts.submit_next()?;
    }
    Ok(Submitted::Parts(Box::new(parts)))
}

/// The parts of a request. Dropping it cancels those that do not run yet.
pub(crate) struct WaitingParts {
    servable: Arc<Servable>,
    deadline: Option<Deadline>,
    priority: u8,
    /// Each input, cut.
    inputs: Vec<Vec<Tensor>>,
    /// The parts that were submitted, by their places.
    running: Vec<(usize, Waiting)>,
    /// The first part that was not.
    next: usize,
    done: Vec<Option<Done>>,
}

impl WaitingParts {
    fn submit_next(&mut self) -> Result<()> {
        let at = self.next;
        if at < self.done.len() {
            self.next += 1;
            let inputs = CheckedInputs {
                required: self.inputs.iter().map(|parts| parts[at].clone()).collect(),
                optional: Vec::new(),
            };
            let waiting = self.servable.submit(inputs, self.deadline, self.priority)?;
            self.running.push((at, waiting));
        }
        Ok(())
    }

    fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<Result<Done>> {
        let mut ended = 0;
        let mut at = 0;
        while let Some((part, waiting)) = self.running.get_mut(at) {
            let Poll::Ready(done) = Pin::new(waiting).poll(cx) else {
                at += 1;
                continue;
            };
            let part = *part;
            self.running.swap_remove(at);
            match done {
                Ok(done) => self.done[part] = Some(done),
                Err(error) => return Poll::Ready(Err(self.stopped(error))),
            }
            ended += 1;
        }
        for _ in 0..ended {
            if let Err(error) = self.submit_next() {
                return Poll::Ready(Err(self.stopped(error)));
            }
        }

        if self.running.is_empty() {
            return Poll::Ready(self.joined());
        }
        if ended > 0 {
            // What was submitted now is polled in a turn of its own: other requests of this thread come before.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// The error of a request of which some parts were run.
    fn stopped(&self, error: Error) -> Error {
        let served = self.done.iter().flatten().count();
        if served == 0 {
            return error;
        }
        let all = self.done.len();
        let text = match error.kind {
            Kind::DeadlineExceeded => {
                format!("the deadline passed after {served} of the request's {all} batches")
            }
            _ => format!(
                "{served} of the request's {all} batches were run: {}",
                error.message
            ),
        };
        Error::new(error.kind, text)
    }

    fn joined(&mut self) -> Result<Done> {
        let done: Vec<Done> = self.done.iter_mut().filter_map(Option::take).collect();
        let timing = done.iter().map(|done| done.timing).reduce(|a, b| Timing {
            queue: a.queue.min(b.queue),
            gather: a.gather.max(b.gather),
            run: a.run.max(b.run),
            scatter: a.scatter.max(b.scatter),
            batch_rows: a.batch_rows.max(b.batch_rows),
            batch: a.batch.min(b.batch),
        });
        let mut columns: Vec<_> = done.iter().map(|done| done.outputs.iter()).collect();
        let mut outputs = Vec::new();
        for spec in &self.servable.signature.outputs {
            let parts: Vec<&Tensor> = columns.iter_mut().filter_map(Iterator::next).collect();
            let joined = join(&parts).map_err(|e| {
                e.context(format_args!(
                    "output '{}' of the request's batches",
                    short(&spec.name)
                ))
            })?;
            outputs.push(joined);
        }
        Ok(Done {
            outputs,
            timing: timing.unwrap_or_default(),
        })
    }
}
