//! A follower on stores that do not answer, return wrong data, and recover.

use super::*;
use crate::core::model::Alias;
use crate::registry::commands::Operator;
use crate::registry::commands::conformance::{model_file, name, operator, version};
use crate::registry::commands::push::Push;
use crate::storage::store::Store;

/// A registry in a folder with version 1 of `m` as champion, and a follower.
struct Followed {
    _folder: tempfile::TempDir,
    log: Log,
    cache: PathBuf,
}

impl Followed {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path().join("store").to_str().expect("text"), true)
            .expect("a store");
        let log = Log::new(store, "n").expect("a namespace");
        let cache = folder.path().join("cache");
        let followed = Self {
            _folder: folder,
            log,
            cache,
        };

        followed.push(1.0);
        followed
    }

    fn by(&self, work: impl AsyncFnOnce(&Operator)) {
        crate::testing::block_on(work(&operator(&self.log, "ann")));
    }

    /// Pushes a version and makes it champion.
    fn push(&self, mark: f32) {
        self.by(async |operator| {
            let file = model_file(mark);
            let push = Push {
                path: file.path().to_owned(),
                alias: Some(Alias::champion()),
                ..Push::default()
            };
            operator
                .push(&name("m"), &push, &|_| {})
                .await
                .expect("pushed");
        });
    }

    fn follow(&self, now: Instant) -> Result<Follower> {
        self.follow_with(now, Policy::None, 0)
    }

    /// The cache of this log.
    fn cache_root(&self) -> PathBuf {
        let mut all = std::fs::read_dir(&self.cache).expect("listed");
        all.next().expect("a cache").expect("an entry").path()
    }

    fn follow_with(&self, now: Instant, signatures: Policy, approvals: u32) -> Result<Follower> {
        let options = FollowOptions {
            settings: Registry {
                previous_warm: Duration::from_secs(60),
                signatures,
                approvals,
                ..Registry::default()
            },
            cache: self.cache.clone(),
            addresses: Arc::default(),
        };

        Follower::open(self.log.clone(), options, now)
    }
}

fn wanted(follower: &mut Follower, now: Instant) -> Vec<u64> {
    let catalog = follower.scan(now);
    let pointers = catalog.models["m"].pointers.clone().expect("pointers");
    pointers.wanted.iter().map(|v| v.number()).collect()
}

#[test]
fn previous_is_wanted_while_it_is_kept_warm_and_a_retired_version_stays_listed() {
    let followed = Followed::new();
    let start = Instant::now();
    let mut follower = followed.follow(start).expect("follows");
    assert_eq!(wanted(&mut follower, start), [1]);
    followed.push(2.0);
    assert_eq!(follower.poll(start, true), LogLook::New);
    assert_eq!(follower.poll(start, true), LogLook::Same);
    assert_eq!(
        wanted(&mut follower, start + Duration::from_secs(59)),
        [1, 2]
    );
    assert_eq!(wanted(&mut follower, start + Duration::from_secs(61)), [2]);
    // Still listed, even after it is retired, so that the manager unloads it when
    // nothing needs it.
    let listed = |follower: &mut Follower| follower.scan(start).models["m"].versions.len();
    followed.by(async |operator| drop(operator.retire(&name("m"), "1").await.expect("retired")));
    follower.poll(start, true);
    assert_eq!(
        (listed(&mut follower), wanted(&mut follower, start)),
        (2, vec![2])
    );
}

#[test]
fn a_damaged_cache_is_fetched_again_and_a_damaged_store_refused() {
    let followed = Followed::new();
    let now = Instant::now();
    let follower = followed.follow(now).expect("follows");
    let loaded = follower.read(&name("m"), version(1)).expect("read");
    let copy = follower.cache_folder(&loaded.digest).join("model.onnx");
    let good = std::fs::read(&copy).expect("a copy");
    let mut bad = good.clone();
    bad[10] ^= 1;
    std::fs::write(&copy, &bad).expect("damaged");
    assert_eq!(
        follower
            .read(&name("m"), version(1))
            .expect("fetched again")
            .bytes,
        good
    );

    std::fs::remove_file(&copy).expect("removed");
    assert_eq!(
        follower
            .read(&name("m"), version(1))
            .expect("fetched again")
            .bytes,
        good
    );

    // The store is unavailable: complete versions in the cache are enough.
    std::fs::remove_dir_all(followed._folder.path().join("store")).expect("removed");
    assert!(follower.read(&name("m"), version(1)).is_ok());
    std::fs::write(&copy, &bad).expect("damaged");
    assert!(follower.read(&name("m"), version(1)).is_err());
}

#[test]
fn the_last_entry_is_checked_at_intervals() {
    let followed = Followed::new();
    let now = Instant::now();
    let mut follower = followed.follow(now).expect("follows");
    std::fs::remove_file(
        followed
            ._folder
            .path()
            .join("store/ns/n/log/00000000000000000001.json"),
    )
    .expect("removed");

    let looks: Vec<LogLook> = (0..RECHECK).map(|_| follower.poll(now, false)).collect();
    assert_eq!(
        looks.iter().filter(|l| **l == LogLook::Failed).count(),
        1,
        "{looks:?}"
    );

    assert!(
        follower
            .status()
            .refused
            .is_some_and(|why| why.contains("is gone"))
    );

    assert!(
        followed
            .follow(now)
            .is_ok_and(|again| again.status().refused.is_some()),
        "it continues from its cache"
    );

    std::fs::remove_dir_all(&followed.cache).expect("removed");
    let fresh = followed.follow(now).expect("an empty log can be followed");
    assert_eq!(fresh.status(), Standing::default());
}

#[test]
fn entries_before_a_malformed_one_are_applied() {
    let followed = Followed::new();
    let now = Instant::now();
    let mut follower = followed.follow(now).expect("follows");
    followed.push(2.0);
    let log = followed._folder.path().join("store/ns/n/log");
    std::fs::write(log.join("00000000000000000003.json"), "torn").expect("written");
    assert_eq!(follower.poll(now, true), LogLook::Failed);
    assert_eq!(
        (follower.status().seq, wanted(&mut follower, now)),
        (2, vec![1, 2])
    );
    assert!(
        follower
            .status()
            .refused
            .is_some_and(|why| why.contains("entry 3 is malformed"))
    );
}

#[test]
fn a_forged_checkpoint_is_not_used_where_signatures_are_required() {
    let followed = Followed::new();
    followed.push(2.0);
    followed.by(async |operator| {
        let mut forged = operator.state().await.expect("a state");
        forged
            .models
            .get_mut(&name("m"))
            .expect("a model")
            .champions = vec![version(1)];
        operator.log.checkpoint_now(&forged).await.expect("written");
    });

    let champion = |signatures, approvals| {
        let follower = followed
            .follow_with(Instant::now(), signatures, approvals)
            .expect("follows");
        follower.state.models[&name("m")].champion()
    };

    assert_eq!(
        champion(Policy::None, 0),
        Some(version(1)),
        "the checkpoint is used, as documented"
    );

    // A state that such a server left in the cache is not used either.
    assert_eq!(champion(Policy::Require, 0), Some(version(2)));
    assert_eq!(champion(Policy::None, 1), Some(version(2)));
    // Its last entry still counts as seen: a log that was rolled back is refused.
    let log = followed._folder.path().join("store/ns/n/log");
    std::fs::remove_file(log.join("00000000000000000002.json")).expect("removed");
    std::fs::remove_file(followed.cache_root().join("strict.json")).expect("removed");
    let error = followed
        .follow_with(Instant::now(), Policy::Require, 0)
        .err()
        .expect("rolled back");
    assert!(error.message.contains("forked or rolled back"), "{error}");
}

#[test]
fn a_server_may_require_approvals_that_the_namespace_does_not() {
    let followed = Followed::new();
    let now = Instant::now();
    let mut follower = followed.follow_with(now, Policy::None, 1).expect("follows");
    assert_eq!(
        follower.scan(now).models["m"]
            .pointers
            .as_ref()
            .expect("pointers")
            .champion,
        None
    );

    assert_eq!(wanted(&mut follower, now), Vec::<u64>::new());
}

#[test]
fn an_unreadable_trust_file_unloads_nothing() {
    use crate::registry::sign::PrivateKey;
    let followed = Followed::new();
    let (key, file) = PrivateKey::generate().expect("a key");
    let folder = followed._folder.path();
    std::fs::write(folder.join("key"), file).expect("written");
    let mut trust = Trust {
        format: 1,
        ..Trust::default()
    };

    trust.add(&key.public(), "bob").expect("trusted");
    let path = folder.join("trust.json");
    trust.write(&path).expect("written");
    followed.by(async |_| {
        let bob = Operator {
            key: Some(PrivateKey::read(&folder.join("key")).expect("a key")),
            ..operator(&followed.log, "bob")
        };
        bob.judge(&name("m"), "1", true).await.expect("approved");
    });

    let now = Instant::now();
    let mut follower = followed.follow_with(now, Policy::None, 1).expect("follows");
    follower.options.settings.trust = Some(path.clone());
    let champion = |follower: &mut Follower| {
        follower.scan(now).models["m"]
            .pointers
            .clone()
            .expect("pointers")
            .champion
    };

    assert_eq!(champion(&mut follower), Some(version(1)));
    for bad in ["{", ""] {
        std::fs::write(&path, bad).expect("written");
        assert_eq!(champion(&mut follower), Some(version(1)), "half a file");
    }

    std::fs::remove_file(&path).expect("removed");
    assert_eq!(champion(&mut follower), Some(version(1)), "no file");
    // Revoking a key unloads nothing; a new promotion needs another key.
    trust
        .revoke(&key.public(), "left", chrono::Utc::now())
        .expect("revoked");
    trust.write(&path).expect("written");

    assert_eq!(champion(&mut follower), Some(version(1)));
    followed.push(2.0);
    followed.by(async |_| {
        let bob = Operator {
            key: Some(PrivateKey::read(&folder.join("key")).expect("a key")),
            ..operator(&followed.log, "bob")
        };
        bob.judge(&name("m"), "2", true).await.expect("approved");
    });

    follower.poll(now, true);
    assert_eq!(champion(&mut follower), Some(version(1)));
}
