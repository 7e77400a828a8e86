//! Counts the requests of the queue in the windows of their versions, and shows them to the taps. Runs
//! on the monitor's thread.

use super::answered::Answered;
use super::keeper::Taps;
use super::offer::Offer;
use super::{MonitorShared, Observed, number};
use crate::core::model::optional::CheckedInputs;
use crate::observe::drift::share::{thread_time, turn};
use crate::observe::quality::answer::{RowAnswer, answers};
use crossbeam_channel::Receiver;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Counts the requests of a turn, and then shows them to the taps. Returns the CPU time that the
/// requests took which the share sampled: neither the floor of rows nor the taps depend on it.
pub(super) fn take_turn(
    shared: &MonitorShared,
    inbox: &Receiver<Offer>,
    until: Instant,
) -> Duration {
    let mut watches = shared.watches.lock();
    let (mut taken, before) = (Vec::new(), thread_time());
    let (mut by_share, mut counted) = (0_u32, 0_u32);
    turn(inbox, until, |offer| {
        let is_sampled = shared.is_sampled(number(offer.prediction)) && !offer.is_answer_only;
        let mut read = None;
        if (offer.is_of_floor || is_sampled)
            && let Some(observed) = watches.get_mut(&offer.watch)
        {
            read = Some(count_prediction(shared, observed, &offer));
            counted += 1;
            by_share += u32::from(!offer.is_of_floor);
        }
        taken.push((offer, read));
    });
    let spent = thread_time().saturating_sub(before);

    for (offer, read) in taken {
        if let Some(observed) = watches.get_mut(&offer.watch) {
            show_to_taps(shared, observed, &offer, read);
        }
        let bytes = &shared.waiting_bytes;
        bytes.fetch_sub(offer.bytes, Ordering::Release);
    }
    spent.mul_f64(f64::from(by_share) / f64::from(counted.max(1)))
}

/// Reads the prediction of each row; nothing if the task is unknown.
fn read_answers(observed: &Observed, offer: &Offer) -> Vec<Option<RowAnswer>> {
    let task = observed.watch.subject.task.as_ref();
    task.map(|task| answers(task, &offer.outputs))
        .unwrap_or_default()
}

/// Counts a request in the windows. Returns the prediction of each row.
fn count_prediction(
    shared: &MonitorShared,
    observed: &mut Observed,
    offer: &Offer,
) -> Vec<Option<RowAnswer>> {
    let answers = read_answers(observed, offer);
    let Observed {
        watch, companion, ..
    } = observed;
    let (inputs, outputs) = (&offer.inputs.required, &offer.outputs);

    watch.observe(inputs, outputs, (Instant::now(), &shared.options.settings));
    watch.estimate(&answers);
    if let Some(companion) = companion {
        let (errors, failure) = companion.expect(inputs, outputs);
        watch.expect(&errors);
        if let Some(error) = failure {
            let (model, version) = (watch.subject.model.as_str(), watch.subject.version.number());
            tracing::warn!(model, version, %error, "the companion model fails; these rows are not in the estimate");
        }
    }

    answers
}

/// Shows a request to the taps, and to the keeper of answers.
fn show_to_taps(
    shared: &MonitorShared,
    observed: &mut Observed,
    offer: &Offer,
    read: Option<Vec<Option<RowAnswer>>>,
) {
    let Taps {
        answered: taps,
        keeper,
    } = &shared.taps;
    let keeper = keeper
        .as_ref()
        .filter(|_| observed.watch.subject.task.is_some());
    let is_tapped = !offer.is_answer_only && !taps.is_empty();
    if !is_tapped && keeper.is_none() {
        return;
    }

    let answers = read.unwrap_or_else(|| read_answers(observed, offer));
    let CheckedInputs {
        required: inputs,
        optional,
    } = &offer.inputs;
    let watch = &mut observed.watch;
    let parts: Vec<Vec<String>> = watch.slicers.iter_mut().map(|s| s.parts(inputs)).collect();
    let answered = Answered {
        subject: &watch.subject,
        prediction: offer.prediction,
        inputs,
        optional,
        outputs: &offer.outputs,
        answers: &answers,
        parts: &parts,
    };

    if is_tapped {
        taps.iter().for_each(|tap| tap(&answered));
    }
    if let Some(keeper) = keeper {
        keeper.keep(&answered);
    }
}
