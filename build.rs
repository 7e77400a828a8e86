//! Compiles `proto/` in pure Rust: no system `protoc` is asked for.

use prost::Message;
use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let wire = protox::compile(
        [
            "inference/inference.proto",
            "tensorflow_serving/prediction_service.proto",
            "ortus/feedback.proto",
        ],
        ["proto"],
    )?;
    // The reflection service answers from this file.
    fs::write(out.join("wire.bin"), wire.encode_to_vec())?;
    let mut named = prost_build::Config::new();
    named.enable_type_names();
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".tensorflow")
        .compile_well_known_types(false)
        .codec_path("crate::api::bounded_codec::BoundedCodec")
        .compile_fds_with_config(wire, named)?;
    let traces = protox::compile(["opentelemetry/trace.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(traces)?;
    let operator = protox::compile(["ortus/operator.proto"], ["proto"])?;
    fs::write(out.join("operator.bin"), operator.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(operator)?;
    let onnx = protox::compile(["onnx/onnx.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".")
        .build_client(false)
        .build_server(false)
        .compile_fds(onnx)?;
    println!("cargo:rustc-env=ORTUS_TARGET={}", env::var("TARGET")?);
    Ok(())
}
