//! A model directory that is changed at random, with what is true of it: which versions are good,
//! and which bytes each has held.

use ortus::testing::graphs;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// A model of the walk.
pub(super) struct WalkedModel {
    pub name: &'static str,
    /// The version policy in its `config.pbtxt`.
    pub policy: &'static str,
    /// Whether its weights are in a file beside `model.onnx`.
    pub is_outside: bool,
}

pub(super) const MODELS: [WalkedModel; 5] = [
    WalkedModel {
        name: "latest",
        policy: "",
        is_outside: false,
    },
    WalkedModel {
        name: "two",
        policy: "version_policy: { latest { num_versions: 2 } }\n",
        is_outside: false,
    },
    WalkedModel {
        name: "listed",
        policy: "version_policy: { specific { versions: [1, 2, 3] } }\n",
        is_outside: false,
    },
    WalkedModel {
        name: "every",
        policy: "version_policy: { all {} }\n",
        is_outside: false,
    },
    WalkedModel {
        name: "outside",
        policy: "",
        is_outside: true,
    },
];

/// The file of external data.
const DATA: &str = "w.bin";
/// Numbers in it, which fill many pages of memory.
const TABLE: usize = 1 << 16;

/// Versions are numbered up to this.
pub(super) const VERSION_MAX: u64 = 5;

/// What the folder of a version holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holding {
    /// A good model that was there from the beginning of the folder.
    Good,
    /// Bytes that took the place of others, or no model.
    Changed,
}

/// What the clients judge answers by.
#[derive(Default)]
pub(super) struct Truth {
    /// The model, version and mark of all files that were ever whole.
    held: Mutex<BTreeSet<(usize, u64, u32)>>,
    /// Odd while requests for the model may fail, since no good version was left.
    losses: [AtomicU64; MODELS.len()],
}

impl Truth {
    pub(super) fn has_held(&self, model: usize, version: u64, mark: u32) -> bool {
        let held = self.held.lock().expect("no client panicked");
        held.contains(&(model, version, mark))
    }

    /// Changes when requests for the model may fail from now on, and when they may no longer.
    pub(super) fn losses(&self, model: usize) -> Losses {
        Losses(self.losses[model].load(Ordering::SeqCst))
    }

    pub(super) fn set_may_fail(&self, model: usize, may: bool) {
        if self.losses(model).may_fail() != may {
            self.losses[model].fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// How often a model has lost its last good version, and got one again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Losses(u64);

impl Losses {
    pub(super) fn may_fail(self) -> bool {
        !self.0.is_multiple_of(2)
    }
}

/// The directory.
pub(super) struct Repository {
    parent: TempDir,
    pub truth: Arc<Truth>,
    /// For each model, its versions.
    pub versions: [BTreeMap<u64, Holding>; MODELS.len()],
    mark: u32,
    pub random: fastrand::Rng,
}

impl Repository {
    /// One with a good version of each model.
    pub(super) fn new(seed: u64) -> Self {
        let mut repository = Self {
            parent: tempfile::tempdir().expect("a temporary folder"),
            truth: Arc::default(),
            versions: Default::default(),
            mark: 0,
            random: fastrand::Rng::with_seed(seed),
        };
        fs::create_dir_all(repository.root().join(".store")).expect("made");
        for (model, walked) in MODELS.iter().enumerate() {
            fs::create_dir_all(repository.folder(model)).expect("made");
            repository.write_config(model, walked.policy);
            repository.put(model, 1);
        }
        repository
    }

    pub(super) fn root(&self) -> PathBuf {
        self.parent.path().join("models")
    }

    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.parent.path().join(name)
    }

    pub(super) fn folder(&self, model: usize) -> PathBuf {
        self.root().join(MODELS[model].name)
    }

    pub(super) fn version(&self, model: usize, version: u64) -> PathBuf {
        self.folder(model).join(version.to_string())
    }

    /// The file of a version that tells its bytes from those of others.
    pub(super) fn file(&self, model: usize, version: u64) -> PathBuf {
        let name = if MODELS[model].is_outside {
            DATA
        } else {
            "model.onnx"
        };
        self.version(model, version).join(name)
    }

    /// Does nothing if the model has none.
    pub(super) fn write_config(&self, model: usize, text: &str) {
        let file = self.folder(model).join("config.pbtxt");
        let aside = self.root().join(".config");
        fs::write(&aside, text).expect("written");
        fs::rename(aside, file).expect("renamed");
    }

    /// The bytes of a new [`Repository::file`], which `version` will hold. No other has its mark.
    pub(super) fn new_bytes(&mut self, model: usize, version: u64) -> Vec<u8> {
        self.mark += 1;
        self.hold(model, version, self.mark);
        let mark = self.mark as f32;
        if MODELS[model].is_outside {
            return graphs::marked_outside(mark, TABLE, DATA).data;
        }
        let table = self.random.choice([16, TABLE]).expect("one");
        graphs::marked(mark, table)
    }

    /// Makes a folder of a version with what it needs beside [`Repository::file`].
    pub(super) fn make_folder(&self, model: usize, folder: &Path) {
        fs::create_dir_all(folder).expect("made");
        if MODELS[model].is_outside {
            let outside = graphs::marked_outside(0.0, TABLE, DATA);
            fs::write(folder.join("model.onnx"), outside.model).expect("written");
        }
    }

    fn write_whole(&mut self, model: usize, version: u64, folder: &Path) {
        let bytes = self.new_bytes(model, version);
        self.make_folder(model, folder);
        let file = self.file(model, version);
        let name = file.file_name().expect("a name");
        fs::write(folder.join(name), bytes).expect("written");
    }

    fn hold(&self, model: usize, version: u64, mark: u32) {
        let mut held = self.truth.held.lock().expect("no client panicked");
        held.insert((model, version, mark));
    }

    /// Lets the `new` number hold whatever `old` has held.
    pub(super) fn hold_as(&self, model: usize, old: u64, new: u64) {
        let mut held = self.truth.held.lock().expect("no client panicked");
        let marks: Vec<u32> = held
            .iter()
            .filter(|(m, v, _)| (*m, *v) == (model, old))
            .map(|(_, _, mark)| *mark)
            .collect();
        held.extend(marks.into_iter().map(|mark| (model, new, mark)));
    }

    /// Puts a new good version into place: written aside and renamed.
    pub(super) fn put(&mut self, model: usize, version: u64) {
        let aside = self.root().join(".aside");
        self.write_whole(model, version, &aside);
        fs::rename(&aside, self.version(model, version)).expect("renamed");
        self.versions[model].insert(version, Holding::Good);
    }

    /// Puts one as a link into a hidden folder, or turns the link of one to new bytes.
    pub(super) fn link(&mut self, model: usize, version: u64) {
        let target = format!(".store/{}", self.mark + 1);
        self.write_whole(model, version, &self.root().join(&target));
        let aside = self.root().join(".link");
        std::os::unix::fs::symlink(Path::new("..").join(target), &aside).expect("linked");
        fs::rename(aside, self.version(model, version)).expect("renamed");
    }

    /// The versions that the policy of the model accepts and that are good.
    pub(super) fn good(&self, model: usize) -> Vec<u64> {
        let is_listed = |version: &u64| MODELS[model].name != "listed" || *version <= 3;
        self.versions[model]
            .iter()
            .filter(|(version, holding)| **holding == Holding::Good && is_listed(version))
            .map(|(version, _)| *version)
            .collect()
    }

    /// Says before it happens that a version will not be good any more.
    pub(super) fn spoil(&mut self, model: usize, version: u64) {
        if self.good(model) == [version] {
            self.truth.set_may_fail(model, true);
        }
        self.versions[model].insert(version, Holding::Changed);
    }

    /// Waits for a moment, at most so many milliseconds.
    pub(super) fn pause(&mut self, most: u64) {
        // What the walk varies is when the server looks.
        std::thread::sleep(Duration::from_millis(self.random.u64(..=most)));
    }
}

/// Writes a file in place, in pieces, with pauses in which the server may look.
pub(super) fn write_slowly(file: &Path, bytes: &[u8], mut pause: impl FnMut()) {
    let mut open = fs::File::create(file).expect("created");
    for piece in bytes.chunks(bytes.len().div_ceil(4).max(1)) {
        open.write_all(piece).expect("written");
        pause();
    }
}
