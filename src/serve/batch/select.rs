//! What a free lane takes from the queue. Pure: owns no clock, no lock and no thread; the lanes and the
//! simulation of the tests pass the time in.

use super::class_costs::ClassCosts;
use super::cost::BatchCost;
use super::explain::SizeReason;
use super::policy::{self, BatchLimits, LaneDecision, TokenLimit, WaitingRequest};
use super::queue::{Class, Flow, Queue, QueueHead, QueuedRequest, Rank};
use super::shapes::{KeepingLane, ShapeChoice, ShapeNeed};
use std::borrow::Cow;
use std::time::{Duration, Instant};

/// What a free lane finds in the queue.
pub(super) struct Selection<T> {
    /// Requests that left the queue because they cannot be served in time.
    pub(super) late: Vec<T>,
    pub(super) step: LaneStep<T>,
}

/// What a free lane does next.
pub(super) enum LaneStep<T> {
    /// Run these requests.
    Run(ClassBatch<T>),
    /// Look again at this time, or when a request arrives.
    Wait(Instant),
    /// Look again when a request arrives.
    Empty,
}

/// Requests of one class that run together.
pub(super) struct ClassBatch<T> {
    pub(super) class: Class,
    /// Why it has no more rows.
    pub(super) reason: SizeReason,
    pub(super) requests: Vec<(Rank, QueuedRequest<T>)>,
    /// Rows that the run is filled up to, where the lane keeps them.
    pub(super) kept: Option<usize>,
}

/// Takes the next batch from the queue, and the requests that cannot be served in time.
pub(super) fn select<T>(
    queue: &mut Queue<T>,
    costs: &ClassCosts,
    limits: BatchLimits,
    keeping: Option<KeepingLane<'_>>,
    now: Instant,
) -> Selection<T> {
    let mut late = queue.expire(now, |class| costs.of(class).mean(1));
    let mut choice = choose(queue, costs, limits, keeping.as_ref(), now);
    if let Some(chosen) = &choice
        && let Some(limited) = &chosen.limited
        && queue.is_overloaded(&chosen.class, &limited.flow)
    {
        late.extend(queue.shed(&chosen.class, now, limited.need));
        choice = choose(queue, costs, limits, keeping.as_ref(), now);
    }

    let step = match choice {
        Some(HeadChoice {
            class,
            decision: LaneDecision::Run(count),
            reason,
            shape,
            ..
        }) => {
            let requests = queue.take(&class, count);
            let kept = shape.as_ref().map(|shape| shape.rows);
            if let Some((lane, shape)) = keeping.zip(shape) {
                lane.keeper.keep(&class, shape);
            }
            LaneStep::Run(ClassBatch {
                class,
                reason,
                requests,
                kept,
            })
        }
        Some(HeadChoice {
            decision: LaneDecision::WaitUntil(then),
            ..
        }) => LaneStep::Wait(then),
        None => LaneStep::Empty,
    };
    Selection { late, step }
}

/// What the policy says about the head of the queue.
struct HeadChoice {
    class: Class,
    decision: LaneDecision,
    /// Why a batch has no more rows.
    reason: SizeReason,
    limited: Option<Limited>,
    /// The rows of the run, where the lane keeps them.
    shape: Option<ShapeChoice>,
}

/// A batch that deadlines keep smaller than the best. If more wait than can be served in time, small
/// batches for those whose time is nearly over would make many more late, so they are given up.
struct Limited {
    /// How fast the queue would empty after it.
    flow: Flow,
    /// What a batch of the best size takes.
    need: Duration,
}

fn choose<T>(
    queue: &Queue<T>,
    costs: &ClassCosts,
    limits: BatchLimits,
    keeping: Option<&KeepingLane<'_>>,
    now: Instant,
) -> Option<HeadChoice> {
    let limits = match limits.tokens {
        Some(tokens) => of_class(limits, tokens, queue.first_class()?),
        None => limits,
    };
    let head = queue.head(limits.rows_max)?;
    let limits = BatchLimits {
        delay: match head.class {
            Class::Sizes(_) => limits.delay,
            // No other request can join it.
            Class::Alone(_) => Duration::ZERO,
        },
        ..limits
    };
    let mut cost = Cow::Borrowed(costs.of(head.class));
    let shape = keeping.and_then(|lane| shape(lane, &head, &cost, limits.rows_max));
    let limits = match &shape {
        Some(shape) => {
            cost = Cow::Owned(cost.filled(shape.rows));
            BatchLimits {
                rows_max: shape.rows,
                fills: true,
                ..limits
            }
        }
        None => limits,
    };
    let cost = cost.as_ref();
    let decision = policy::next(&head.members, head.oldest, cost, now, &limits);
    let reason = match decision {
        LaneDecision::Run(count) => reason(&head.members, count, cost, &limits),
        LaneDecision::WaitUntil(_) => SizeReason::AllThatWaited,
    };
    let limited = match (decision, reason) {
        (LaneDecision::Run(count), SizeReason::Deadline) => {
            Some(limited(&head.members, count, cost, now, &limits))
        }
        _ => None,
    };

    Some(HeadChoice {
        class: head.class.clone(),
        decision,
        reason,
        limited,
        shape,
    })
}

/// The rows of the next run of a lane that keeps them. A request that is merged with no other is not filled
/// up.
fn shape(
    lane: &KeepingLane<'_>,
    head: &QueueHead<'_>,
    cost: &BatchCost,
    rows_max: usize,
) -> Option<ShapeChoice> {
    if matches!(head.class, Class::Alone(_)) {
        return None;
    }
    Some(lane.keeper.choose(ShapeNeed {
        class: head.class,
        first: head.members[0].rows,
        waiting: head.members.iter().map(|member| member.rows).sum(),
        rows_max,
        cost,
        change: lane.change,
    }))
}

/// The limits for the requests of a class.
fn of_class(limits: BatchLimits, tokens: TokenLimit, class: &Class) -> BatchLimits {
    let rows = match class {
        Class::Sizes(sizes) => tokens.rows(sizes),
        Class::Alone(_) => limits.rows_max,
    };
    BatchLimits {
        rows_max: rows.min(limits.rows_max),
        tokens: limits.tokens.filter(|_| rows < limits.rows_max),
        ..limits
    }
}

/// Why a batch of the first `count` members has no more rows.
fn reason(
    members: &[WaitingRequest],
    count: usize,
    cost: &BatchCost,
    limits: &BatchLimits,
) -> SizeReason {
    if limits.rows_max == 1 && limits.tokens.is_none() && !limits.fills {
        return SizeReason::RunsAlone;
    }
    let rows: usize = members[..count].iter().map(|m| m.rows).sum();
    let limit = match limits.tokens {
        _ if limits.fills => SizeReason::KeptShape,
        Some(_) => SizeReason::TokenLimit,
        None => SizeReason::RowLimit,
    };
    let Some(next) = members.get(count) else {
        return match rows >= limits.rows_max {
            true => limit,
            false => SizeReason::AllThatWaited,
        };
    };

    let grown = rows + next.rows;
    if grown > limits.rows_max {
        limit
    } else if grown > policy::best_rows(members, cost, limits) {
        SizeReason::NoGain
    } else {
        SizeReason::Deadline
    }
}

fn limited(
    members: &[WaitingRequest],
    count: usize,
    cost: &BatchCost,
    now: Instant,
    limits: &BatchLimits,
) -> Limited {
    let rows: usize = members[..count].iter().map(|m| m.rows).sum();
    let best = policy::best_rows(members, cost, limits);
    let lanes = limits.lanes.max(1);
    Limited {
        flow: Flow {
            first: count,
            start: now + cost.mean(rows),
            row: cost.mean(best).div_f64((best * lanes) as f64),
        },
        need: cost.high(best),
    }
}
