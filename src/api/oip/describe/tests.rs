//! What is said of a version whose batching a recheck ended.

use super::*;
use crate::core::error::Error;
use crate::core::hash::Digest;
use crate::core::model::optional::CheckedInputs;
use crate::core::model::{ModelName, Version};
use crate::core::tensor::DType;
use crate::core::tensor::Tensor;
use crate::observe::metrics::Metrics;
use crate::onnx::runtime::fake::{FakeSession, Script};
use crate::registry::version_policy::VersionPolicy;
use crate::serve::batch::BatchOptions;
use crate::serve::batch::cost::BatchCost;
use crate::serve::batch::watchdog::Watchdog;
use crate::serve::explanations::VersionExplanation;
use crate::serve::servable::DeclaredSettings;
use crate::serve::servable::ServableParts;
use crate::testing::tensor_spec;
use std::sync::Arc;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// A version whose rows influence each other although it was found batchable.
fn mixing(watchdog: &Watchdog) -> Arc<Servable> {
    let name = ModelName::parse("m").expect("legal");
    let version = Version::new(1).expect("legal");
    let metrics = Metrics::new().expect("metrics");
    let session = FakeSession {
        script: Script::Scaled,
        runs: Arc::default(),
    };
    let parts = ServableParts {
        ends: Vec::new(),
        declared: DeclaredSettings {
            is_whole: false,
            rows_max: None,
            versions: VersionPolicy::Latest(2),
            model_file: Some("net.onnx".to_owned()),
            label_files: [("y".to_owned(), "labels.txt".to_owned())].into(),
            queue_rows_max: None,
            queue_timeout: None,
            intra_op_threads: None,
            reshapes: None,
        },
        columns: Default::default(),
        task: None,
        metrics: metrics.servable(&name, version),
        name,
        version,
        digest: Digest([0; 32]),
        signature: Signature {
            inputs: vec![tensor_spec("x", DType::F32, &[-1, 1])],
            outputs: vec![tensor_spec("y", DType::F32, &[-1, 1])],
            ..Signature::default()
        },
        batching: Batching::Joined,
        padding: None,
        sessions: vec![Box::new(session)],
        reopen: Box::new(|| Err(Error::internal("this test opens no second session"))),
        options: BatchOptions {
            batched: true,
            batch_rows_max: 8,
            sizes: None,
            queue_rows_max: 16,
            queue_timeout: LONG,
            batch_delay: Duration::ZERO,
            cost: BatchCost::default(),
            learns: true,
            in_place: true,
            shape_change: None,
            lane_niceness: 0,
            padding: None,
            inputs: Arc::default(),
        },
        recheck: Duration::from_nanos(1),
        request_timeout: None,
        observer: None,
        explanation: VersionExplanation::None,
    };
    Servable::start(parts, watchdog).expect("starts").0
}

async fn ask(servable: &Servable, value: f32) {
    let inputs = CheckedInputs {
        required: vec![Tensor::from_f32(vec![1, 1], &[value]).expect("fits")],
        optional: Vec::new(),
    };
    let submitted = servable.submit(inputs, None, 0).expect("queued");
    submitted.await.expect("served");
}

#[tokio::test]
async fn a_version_whose_batching_a_recheck_ended_says_why() {
    let watchdog = Watchdog::start().expect("starts");
    let servable = mixing(&watchdog);
    let said = |servable: &Servable| {
        let metadata = metadata(servable, &RouteTable::default());
        metadata.properties["ortus.batching"].clone()
    };
    assert_eq!(said(&servable), "joined");
    assert!(config(&servable).scheduling_choice.is_some());

    while servable.unbatched().is_none() {
        tokio::join!(ask(&servable, 100.0), ask(&servable, 200.0));
    }

    assert_eq!(
        said(&servable),
        "alone: a row's answer alone differed from its answer in a batch"
    );
    // What a client may send stays the same.
    let config = config(&servable);
    assert!(config.scheduling_choice.is_none());
    assert_eq!(
        (config.max_batch_size, &config.input[0].dims[..]),
        (8, &[1_i64][..])
    );
}
