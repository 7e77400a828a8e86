//! Makes a servable of a version's files: read and verify, build, probe, warm.
//! Blocks; runs on the manager's thread, never on a request's.

use super::{Parts, Settings};
use crate::core::error::{Error, Result};
use crate::core::model::task::{Kind, Task};
use crate::core::model::{Dim, ModelName, Version};
use crate::observe::drift::baseline::Baseline;
use crate::observe::drift::observer::Monitor;
use crate::observe::drift::watch;
use crate::observe::quality::companion::{Companion, Wiring};
use crate::onnx::batchability::{self, Sample};
use crate::onnx::first_run::{GoldenRows, Subject};
use crate::onnx::golden::Golden;
use crate::onnx::runtime::{Engine, Session, SessionOptions, Source};
use crate::registry::directory::Loaded;
use crate::serve::batch::{Options, cost::Cost};
use crate::serve::servable::{self, Batching, Drained, Servable};
use std::sync::Arc;
use std::time::Duration;

/// The least deadline of a request that brings none.
const DEADLINE_MIN: Duration = Duration::from_secs(1);
/// … and its multiple of the time one row takes.
const DEADLINE_RUNS: u32 = 20;

/// What is probed before it is built here.
pub(super) fn subject<'l>(loaded: &'l Loaded, settings: &'l Settings) -> Subject<'l> {
    Subject {
        digest: loaded.digest,
        bytes: &loaded.bytes,
        external_dir: loaded.external_dir.as_deref(),
        options: &settings.session,
        rows: if settings.batched {
            settings.batch_rows_max
        } else {
            1
        },
        // Held against the very sessions that serve.
        golden: GoldenRows::Skip,
    }
}

/// Builds, probes and warms.
pub(super) fn load(
    (name, version): (&ModelName, Version),
    loaded: Loaded,
    settings: &Settings,
    Parts {
        engine,
        metrics,
        monitor,
        ..
    }: &Parts,
) -> Result<(Arc<Servable>, Drained)> {
    let bounded = loaded.graph.runs_in_bounded_time();
    let signature = loaded.graph.signature.clone();
    let watched = |monitor: &Arc<Monitor>| {
        let baseline = loaded.baseline.as_deref().map(Baseline::read).transpose()?;
        let (model, signature) = (name.clone(), signature.clone());
        let (features, slices) = (loaded.features.clone(), settings.slices.clone());
        let task = Task::find(&signature, &loaded.graph.ends, &settings.task)?;
        let digest = loaded.digest;
        let subject = watch::Subject {
            model,
            version,
            digest,
            signature,
            features,
            baseline,
            task,
            slices,
        };
        let companion = companion(&loaded, &subject, settings.task.kind, engine.as_ref())?;
        monitor.watch(subject, companion)
    };
    // A baseline or a companion that is not its own refuses the version before anything is built.
    let observer = monitor.as_ref().map(watched).transpose()?;
    let source = Source {
        bytes: loaded.bytes,
        external_dir: loaded.external_dir,
    };
    let mut first = engine.open(&source, &settings.session)?;
    let (batching, sample) = match Sample::find(&signature, first.as_mut()) {
        Ok(_) if !settings.batched => (
            Batching::Alone("the configuration says so".to_owned()),
            None,
        ),
        Ok(sample) => {
            let joins = batchability::check(&signature, &sample, first.as_mut());
            (
                joins.map_or_else(|e| Batching::Alone(e.message), |()| Batching::Joined),
                Some(sample),
            )
        }
        Err(error) => (
            Batching::Alone(format!("made-up inputs do not suit it: {error}")),
            None,
        ),
    };
    let mut sessions = vec![first];
    while sessions.len() < settings.lanes {
        sessions.push(engine.open(&source, &settings.session)?);
    }
    if let Some(golden) = loaded.golden.as_ref().filter(|_| settings.golden) {
        let golden = Golden::read(golden)?;
        // The others are of the same model: one case shows that they run.
        for (lane, session) in sessions.iter_mut().enumerate() {
            golden.check(
                &signature,
                session.as_mut(),
                if lane == 0 { usize::MAX } else { 1 },
            )?;
        }
    }
    let batched = batching == Batching::Joined;
    // Rows of a request that runs alone have no limit but the message's.
    let all_fixed = !signature
        .inputs
        .iter()
        .any(|i| i.shape.iter().flatten().any(|d| *d == Dim::Dynamic));
    let warm = match &sample {
        Some(sample) => warm(
            sample,
            &mut sessions,
            if batched { settings.batch_rows_max } else { 1 },
        )?,
        None => Warm {
            single: Duration::ZERO,
            largest: Duration::MAX,
        },
    };
    if let Batching::Alone(reason) = &batching {
        tracing::info!(
            model = name.as_str(),
            version = version.number(),
            reason,
            "served without batching"
        );
    }
    Servable::start(servable::Parts {
        name: name.clone(),
        version,
        digest: loaded.digest,
        signature,
        batching,
        sessions,
        options: Options {
            batched,
            batch_rows_max: settings.batch_rows_max,
            queue_rows_max: settings.queue_rows_max,
            batch_delay: settings.batch_delay,
            cost: Cost::default(),
            in_place: bounded
                && (batched || all_fixed)
                && warm.largest <= IN_PLACE_MAX
                && settings.batch_delay.is_zero(),
        },
        deadline: settings
            .deadline
            .unwrap_or_else(|| DEADLINE_MIN.max(warm.single * DEADLINE_RUNS)),
        metrics: metrics.servable(name, version),
        observer,
    })
}

/// Opens the companion, where there is one and answers are values.
fn companion(
    loaded: &Loaded,
    subject: &watch::Subject,
    wished: Option<Kind>,
    engine: &dyn Engine,
) -> Result<Option<Companion>> {
    let Some(bytes) = loaded
        .companion
        .clone()
        .filter(|_| wished != Some(Kind::Neither))
    else {
        return Ok(None);
    };
    let wiring = Wiring::read(&subject.signature, bytes.clone())?;
    if !matches!(subject.task, Some(Task::Regression(_))) {
        return Err(Error::precondition(
            "a companion came with the model, but its answers are not taken for values",
        ));
    }
    let session = engine.open(
        &Source {
            bytes,
            external_dir: None,
        },
        &SessionOptions::single(),
    )?;
    Ok(Some(Companion::new(session, wiring)))
}

/// A model whose largest batch takes no longer runs on the thread that asks,
/// if no request can make it take longer: that thread serves others too.
const IN_PLACE_MAX: Duration = Duration::from_micros(300);

/// What runs take on a warm session.
struct Warm {
    single: Duration,
    largest: Duration,
}

/// Runs every session at every bucket of the batch size.
fn warm(sample: &Sample, sessions: &mut [Box<dyn Session>], rows_max: usize) -> Result<Warm> {
    let mut times = Warm {
        single: Duration::MAX,
        largest: Duration::MAX,
    };
    for session in sessions {
        let mut rows = 1;
        while rows < rows_max {
            sample.run(session.as_mut(), rows)?;
            rows *= 2;
        }
        sample.run(session.as_mut(), rows_max)?;
        times.largest = times.largest.min(sample.time(session.as_mut(), rows_max)?);
        times.single = times.single.min(sample.time(session.as_mut(), 1)?);
    }
    Ok(times)
}
