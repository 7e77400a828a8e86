//! Regions of real shared memory, good and bad.

use super::*;
use crate::core::error::Kind;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU32;

/// A shared memory object, unlinked in the end.
struct SharedObject {
    key: String,
    file: File,
}

impl SharedObject {
    fn of(content: &[u8]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let key = format!("/ortus-test-{}-{number}", std::process::id());
        let how = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR;
        let made: OwnedFd =
            shm::open(&*key, how, shm::Mode::RUSR | shm::Mode::WUSR).expect("shared memory");
        let file = File::from(made);
        file.write_all_at(content, 0).expect("written");
        Self { key, file }
    }
}

impl Drop for SharedObject {
    fn drop(&mut self) {
        let _ = shm::unlink(&*self.key);
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>, kind: Kind, needle: &str) {
    let error = result.expect_err(needle);
    assert!(
        error.kind == kind && error.message.contains(needle),
        "{error}"
    );
}

#[test]
fn tensors_are_read_and_written_in_parts_of_a_region() {
    let object = SharedObject::of(b"..abcdefgh");
    let regions = Regions::within(true, 100);
    regions.register("r", &object.key, 2, 8).expect("registers");
    let part = regions.part("r", 3, 4).expect("inside");
    assert_eq!(&part.read().expect("read")[..], b"defg");
    part.write(b"XY").expect("written");
    assert_eq!(&part.read().expect("read")[..], b"XYfg");
    let status = regions.status("").expect("on");
    assert_eq!(
        (status[0].key.as_str(), status[0].offset, status[0].bytes),
        (object.key.as_str(), 2, 8)
    );

    regions.unregister("r").expect("on");
    refused(regions.part("r", 0, 1), Kind::NotFound, "'r'");
    // What was found before goes on.
    assert_eq!(&part.read().expect("read")[..], b"XYfg");
}

#[test]
fn bad_names_sizes_and_offsets_are_refused() {
    let object = SharedObject::of(&[0; 64]);
    let regions = Regions::within(true, 1 << 20);
    let register =
        |name: &str, key: &str, offset, bytes| regions.register(name, key, offset, bytes);
    use Kind::InvalidArgument;
    for key in [
        "",
        "/",
        "/..",
        "/a/b",
        "a/../b",
        "//x",
        "/a\0b",
        &"k".repeat(300),
    ] {
        refused(
            register("r", key, 0, 1),
            InvalidArgument,
            "name of a shared memory object",
        );
    }
    refused(
        register("r", "/no-such-object", 0, 1),
        InvalidArgument,
        "cannot be opened",
    );
    refused(
        register("", &object.key, 0, 1),
        InvalidArgument,
        "1 to 255 bytes",
    );
    for (offset, bytes) in [(0, 65), (64, 1), (u64::MAX, 1), (1, u64::MAX), (0, 0)] {
        refused(
            register("r", &object.key, offset, bytes),
            InvalidArgument,
            "are not in the 64 bytes",
        );
    }

    register("r", &object.key, 0, 64).expect("registers");
    refused(
        register("r", &object.key, 0, 64),
        InvalidArgument,
        "registered already",
    );
    for (offset, bytes) in [(0, 65), (64, 1), (u64::MAX, 2), (3, u64::MAX)] {
        refused(
            regions.part("r", offset, bytes),
            InvalidArgument,
            "are not in shared memory region",
        );
    }
    let part = regions.part("r", 60, 4).expect("inside");
    refused(part.write(&[0; 5]), InvalidArgument, "takes 5 bytes");
}

#[test]
fn what_is_no_shared_memory_object_itself_is_refused() {
    let object = SharedObject::of(&[7; 64]);
    let folder = std::path::Path::new("/dev/shm");
    let other = |kind: &str| format!("{}-{kind}", &object.key[1..]);
    let (link, inner) = (other("link"), other("folder"));
    let target = tempfile::NamedTempFile::new().expect("a file");
    target.as_file().set_len(64).expect("filled");
    std::os::unix::fs::symlink(target.path(), folder.join(&link)).expect("linked");
    std::fs::create_dir(folder.join(&inner)).expect("made");
    let regions = Regions::within(true, 1 << 20);
    let results = [&link, &inner].map(|key| regions.register("r", key, 0, 1));
    let _ = std::fs::remove_file(folder.join(&link));
    let _ = std::fs::remove_dir(folder.join(&inner));
    for result in results {
        refused(result, Kind::InvalidArgument, "it cannot be opened");
    }
    refused(
        regions.register("a\u{1b}[2J", &object.key, 0, 1),
        Kind::InvalidArgument,
        "control characters",
    );
}

#[test]
fn a_part_that_cannot_be_the_tensor_is_not_copied() {
    let object = SharedObject::of(&[0; 64]);
    // Copies of 64 bytes are over the limit.
    let regions = Regions::within(true, 63);
    regions
        .register("r", &object.key, 0, 64)
        .expect("registers");
    let part = regions.part("r", 0, 64).expect("inside");
    for (dtype, shape) in [(DType::F32, vec![1, 2]), (DType::String, vec![17])] {
        let kind = part.tensor(dtype, shape).expect_err("refused").kind;
        assert_eq!(kind, Kind::InvalidArgument);
    }
    for (dtype, shape) in [(DType::F32, vec![16]), (DType::String, vec![16])] {
        let kind = part.tensor(dtype, shape).expect_err("refused").kind;
        assert_eq!(kind, Kind::ResourceExhausted);
    }
}

#[test]
fn a_region_that_shrinks_fails_requests_and_is_not_lengthened() {
    let object = SharedObject::of(&[7; 64]);
    let regions = Regions::within(true, 1 << 20);
    regions
        .register("r", &object.key, 0, 64)
        .expect("registers");
    let part = regions.part("r", 32, 32).expect("inside");
    object.file.set_len(40).expect("shrinks");
    refused(part.read(), Kind::InvalidArgument, "was it shrunk");
    refused(
        part.write(&[1; 32]),
        Kind::InvalidArgument,
        "cannot be written",
    );
    assert_eq!(object.file.metadata().expect("inspects").len(), 40);
}

#[test]
fn tensors_in_use_are_limited_and_given_back() {
    let object = SharedObject::of(&[7; 64]);
    let regions = Regions::within(true, 100);
    regions
        .register("r", &object.key, 0, 64)
        .expect("registers");
    let part = regions.part("r", 0, 64).expect("inside");
    let first = part.read().expect("has room");
    refused(part.read(), Kind::ResourceExhausted, "limit of 100 bytes");
    drop(first);
    part.read().expect("has room again");
}

#[test]
fn nothing_is_registered_where_it_is_off() {
    let regions = Regions::within(false, 100);
    refused(
        regions.register("r", "/x", 0, 1),
        Kind::Unimplemented,
        "server.shared_memory",
    );
    refused(
        regions.status(""),
        Kind::Unimplemented,
        "server.shared_memory",
    );
    refused(
        regions.part("r", 0, 1),
        Kind::Unimplemented,
        "server.shared_memory",
    );
}
