//! Tests of `library`.

use super::*;

fn refused(bytes: &[u8], part: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(FILE);
    fs::write(&path, bytes).expect("written");
    let error = check(&path).expect_err("must be refused");
    assert!(error.message.contains(part), "{error}");
}

#[test]
fn a_library_for_another_machine_is_refused() {
    refused(b"", "cannot be read");
    refused(
        b"not a library at all, but long enough",
        "is not a shared library",
    );
    let mut elf = *b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x08\0";
    refused(&elf, "another machine");
    elf[18] = if cfg!(target_arch = "aarch64") {
        183
    } else {
        62
    };

    refused(&elf, "is not ONNX Runtime");
}

#[test]
fn offline_without_a_library_says_what_to_do() {
    let nowhere = Path::new("/nonexistent/libonnxruntime.so");
    let error = locate(Some(nowhere), true, &|_| {}).expect_err("absent");
    assert!(
        error.message.starts_with("config runtime.library: "),
        "{error}"
    );
}
