//! Compiles the ONNX messages that the trainer writes, in pure Rust.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=../proto/onnx");
    let export = protox::compile(["onnx/export.proto"], ["../proto"])?;
    prost_build::Config::new()
        .bytes(["."])
        .compile_fds(export)?;
    Ok(())
}
