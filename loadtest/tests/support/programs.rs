//! The programs of this build, and the library that they need.

use super::optional::run;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("a workspace")
}

pub(crate) fn loadtest_program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_ortus-loadtest"))
}

pub(crate) fn ortus_program() -> PathBuf {
    let beside = || loadtest_program().with_file_name("ortus");
    std::env::var_os("ORTUS_TEST_PROGRAM").map_or_else(beside, PathBuf::from)
}

/// ONNX Runtime, or the reason why it cannot be had.
pub(crate) fn library() -> Result<PathBuf, String> {
    if let Some(library) = std::env::var_os("ORT_DYLIB_PATH") {
        return Ok(library.into());
    }
    let program = ortus_program();
    if !program.exists() {
        return Err(format!("{} is not built", program.display()));
    }
    let printed = run(Command::new(program).args(["runtime", "install"]))?;
    Ok(printed.trim().into())
}
