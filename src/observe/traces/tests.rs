//! Tests of `traces`.

use super::*;
use crate::core::model::{ModelName, Version};
use crate::core::request::Timing;

fn response() -> Response {
    Response {
        model: ModelName::parse("m").expect("legal"),
        version: Version::new(3).expect("legal"),
        id: "mine".to_owned(),
        prediction_id: uuid::Uuid::nil(),
        outputs: Vec::new(),
        trace: None,
        timing: Timing {
            scatter: Duration::ZERO,
            queue: Duration::from_micros(10),
            gather: Duration::from_micros(20),
            run: Duration::from_micros(30),
            batch_rows: 4,
            batch: 9,
        },
    }
}

#[test]
fn a_prediction_has_one_span_with_three_children() {
    let (tracer, mut outbox) = Tracer::new(1.0, IntCounter::new("a", "a").expect("a counter"));
    let arrived = Instant::now();
    let came = Context {
        trace: 5,
        parent: 6,
        sampled: true,
    };

    let followed = tracer.follow(Some(came), arrived).expect("followed");
    let response = response();
    let submitted = Some(arrived + Duration::from_micros(5));
    let ended = EndedPrediction {
        model: "m",
        version: 3,
        protocol: "oip_grpc",
        submitted,
        outcome: Ok(&response),
    };

    tracer.end(&followed, &ended);
    let spans: Vec<Span> = std::iter::from_fn(|| outbox.try_recv().ok()).collect();
    let names: Vec<&str> = spans.iter().map(|s| s.name).collect();
    assert_eq!(names, ["predict", "queue", "batch", "run"]);
    assert!(spans.iter().all(|s| s.trace == 5) && spans[0].parent == 6);
    assert!(
        spans[1..]
            .iter()
            .all(|s| s.parent == spans[0].id && s.id != spans[0].id)
    );

    assert_eq!(spans[1].start_ns - spans[0].start_ns, 5_000);
    assert_eq!(
        (spans[1].end_ns, spans[2].end_ns),
        (spans[2].start_ns, spans[3].start_ns)
    );
    assert_eq!(spans[3].end_ns - spans[3].start_ns, 30_000);
    assert!(
        spans[3]
            .attributes
            .contains(&("ortus.batch_id", AttributeValue::Whole(9)))
    );
}

#[test]
fn the_callers_sampling_decision_holds_and_a_share_of_the_rest_is_traced() {
    let counter = || IntCounter::new("a", "a").expect("a counter");
    let (none, _outbox) = Tracer::new(0.0, counter());
    let context = |sampled| {
        Some(Context {
            trace: 1,
            parent: 2,
            sampled,
        })
    };

    let now = Instant::now();
    assert!(none.follow(context(true), now).is_some() && none.follow(None, now).is_none());
    let (all, _outbox) = Tracer::new(1.0, counter());
    assert!(all.follow(context(false), now).is_none() && all.follow(None, now).is_some());
    let (some, _outbox) = Tracer::new(0.25, counter());
    let followed = (0..4_000)
        .filter(|_| some.follow(None, now).is_some())
        .count();
    assert!(
        (850..1_150).contains(&followed),
        "{followed} of a quarter of 4,000"
    );
}

#[test]
fn spans_beyond_the_queue_are_dropped_and_a_failure_has_its_reason() {
    let dropped = IntCounter::new("a", "a").expect("a counter");
    let (tracer, mut outbox) = Tracer::new(1.0, dropped.clone());
    let followed = tracer.follow(None, Instant::now()).expect("followed");
    let ended = EndedPrediction {
        model: "m",
        version: 3,
        protocol: "p",
        submitted: None,
        outcome: Err(Kind::NotFound),
    };

    (0..SPANS_MAX + 5).for_each(|_| tracer.end(&followed, &ended));
    assert_eq!(dropped.get(), 5);
    assert_eq!(
        outbox.try_recv().expect("a span").error,
        Some(Kind::NotFound.label())
    );
}
