//! Tests in the background whether requests may be merged, for versions whose graph proves nothing. Such
//! a version serves each request alone until its test ends. One thread makes one test after
//! another, each in the sandbox at the lowest priority, so that only idle time is spent.

use super::Settings;
use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::core::model::padding::Padding;
use crate::onnx::batchability::KnownInputs;
use crate::onnx::first_run::{FirstRunSubject, GoldenRows, PaddingTested, Passed, Prober};
use crate::onnx::runtime::SessionOptions;
use crate::registry::directory::Loaded;
use crate::registry::model_file::ModelFile;
use crate::serve::servable::{Batching, Servable, UNMERGED};
use crate::serve::settings;
use bytes::Bytes;
use std::any::Any;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};

/// A test that is to be made.
pub(super) struct BatchTest {
    digest: Digest,
    file: ModelFile,
    /// The folder of external data, kept as long as the version.
    copy: Option<Weak<dyn Any + Send + Sync>>,
    external_dir: Option<PathBuf>,
    golden: Option<Bytes>,
    known: KnownInputs,
    options: SessionOptions,
    rows: usize,
    is_wished: bool,
    padding: Option<Padding>,
    /// Whether batching is to be decided, and not only padding.
    pub is_open: bool,
}

/// Makes tests on a thread of its own, which ends when this is dropped.
pub(super) struct BatchTests {
    tests: Option<Sender<(BatchTest, Weak<Servable>)>>,
}

impl BatchTests {
    /// Starts the thread; without a sandbox there are no tests in the background.
    pub(super) fn start(prober: Option<Prober>) -> Self {
        let Some(prober) = prober else {
            return Self { tests: None };
        };
        let (tests, inbox) = channel();
        let started = std::thread::Builder::new()
            .name("batch tests".to_owned())
            .spawn(move || serve(&prober, &inbox));
        if let Err(error) = started {
            tracing::error!(%error, "the thread that tests batching cannot start; versions that need the test are not batched");
        }
        Self { tests: Some(tests) }
    }

    /// Makes a test once those before it are made.
    pub(super) fn add(&self, test: BatchTest, servable: &Arc<Servable>) {
        if let Some(tests) = &self.tests {
            // Without its thread nothing is tested, which was logged.
            let _ = tests.send((test, Arc::downgrade(servable)));
        }
    }
}

impl BatchTest {
    /// Keeps what the test of a version needs while the version serves.
    pub(super) fn of(loaded: &Loaded, settings: &Settings, known: KnownInputs) -> Self {
        let copy = loaded.copy.clone();
        let copy = copy.map(|copy| copy as Arc<dyn Any + Send + Sync>);
        Self {
            digest: loaded.digest,
            file: loaded.file.clone(),
            copy: copy.map(|copy| Arc::downgrade(&copy)),
            external_dir: loaded.external_dir.clone(),
            golden: loaded.golden.clone().filter(|_| settings.golden),
            known,
            options: settings.model.session_options(),
            rows: super::load::largest_batch(settings, true),
            is_wished: settings.model.batching == settings::Batching::On,
            padding: settings.model.padding.clone(),
            is_open: true,
        }
    }

    fn run(&self, prober: &Prober) -> Result<Passed> {
        let _kept = self.copy.as_ref().and_then(Weak::upgrade);
        let bytes = self.file.read()?;
        let subject = FirstRunSubject {
            digest: self.digest,
            bytes: &bytes,
            external_dir: self.external_dir.as_deref(),
            options: &self.options,
            rows: self.rows,
            golden: self
                .golden
                .as_deref()
                .map_or(GoldenRows::Skip, GoldenRows::Compare),
            padding: self.padding.as_ref(),
        };
        prober.test_batches(&subject, &self.known)
    }
}

/// What a test found; the error says why requests may not be merged.
pub(super) fn tested(passed: &Passed) -> Result<()> {
    let generated = &passed.generated;
    match (&generated.refused, &generated.alone) {
        (Some(why), _) => Err(Error::invalid(format!(
            "the test of batching failed: {why}"
        ))),
        (None, Some(why)) => Err(Error::invalid(why.clone())),
        (None, None) if passed.measured.batchable => Ok(()),
        (None, None) => Err(Error::invalid("the test of batching has no result")),
    }
}

/// What a test found about padding; the error says why requests may not be padded.
pub(super) fn padding_tested(passed: &Passed) -> std::result::Result<(), String> {
    match (&passed.generated.padding, &passed.generated.refused) {
        (Some(PaddingTested::Same), _) => Ok(()),
        (Some(PaddingTested::Refuted(why)), _) => Err(why.clone()),
        (None, Some(why)) => Err(format!("the test of padding failed: {why}")),
        (None, None) => Err("the test of padding has no result".to_owned()),
    }
}

fn serve(prober: &Prober, inbox: &Receiver<(BatchTest, Weak<Servable>)>) {
    for (test, servable) in inbox {
        // It may be out of service by now.
        if servable.upgrade().is_none() {
            continue;
        }
        let result = test.run(prober);
        let Some(servable) = servable.upgrade() else {
            continue;
        };
        if test.is_open {
            conclude_batching(&test, &result, &servable);
        }
        if test.padding.is_some() {
            servable.conclude_padding(match (&result, servable.batching().is_joined()) {
                (_, false) => Err(UNMERGED.to_owned()),
                (Ok(passed), true) => padding_tested(passed),
                (Err(error), true) => Err(error.message.clone()),
            });
        }
    }
}

/// Merges the requests of a version if its test allows that.
fn conclude_batching(test: &BatchTest, result: &Result<Passed>, servable: &Servable) {
    let (model, version) = (servable.name.as_str(), servable.version.number());
    let found = match result {
        Ok(passed) => tested(passed).map_err(|error| error.message),
        Err(error) => Err(error.message.clone()),
    };
    let batching = match found {
        Ok(()) => {
            tracing::info!(
                model,
                version,
                "batching on: the test in the background passed"
            );
            Batching::Joined
        }
        Err(reason) if test.is_wished => Batching::Forced(reason),
        Err(reason) => {
            tracing::info!(model, version, reason, "served without batching");
            Batching::Alone(reason)
        }
    };
    servable.conclude_test(batching);
}
