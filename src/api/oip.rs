//! Open Inference Protocol v2, over gRPC and REST.

mod answer;
mod client_settings;
pub(crate) mod codec;
pub(crate) mod describe;
pub(crate) mod grpc;
pub(crate) mod json;
mod load;
pub(crate) mod options;
pub(crate) mod read;
pub(crate) mod rest;
pub(crate) mod shared_memory;
pub(crate) mod stream;
pub(crate) mod wire;
pub(crate) mod wishes;

use crate::core::error::{Error, Result};

/// The request parameter that stands for the header `ortus-route-key`.
const ROUTE_KEY: &str = "route_key";

/// The parameters of an input or output that is in shared memory.
const REGION: &str = "shared_memory_region";
const REGION_OFFSET: &str = "shared_memory_offset";
const REGION_BYTES: &str = "shared_memory_byte_size";
/// The parameter of an output that asks for classes.
const CLASSIFICATION: &str = "classification";

/// Refuses an unsupported parameter that would change the answer. `idle` tells that
/// its value switches it off.
fn check_served(name: &str, idle: bool) -> Result<()> {
    let unserved = name.starts_with("sequence_");
    if unserved && !idle {
        return Err(Error::unimplemented(format!(
            "parameter '{}' is not supported; remove it",
            crate::core::error::short(name)
        )));
    }

    Ok(())
}

/// The error of a region without its number of bytes.
fn no_region_bytes() -> Error {
    Error::invalid(format!(
        "parameter '{}' is missing; it goes with '{}'",
        REGION_BYTES, REGION
    ))
}
