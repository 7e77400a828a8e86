//! Open Inference Protocol v2, over gRPC and REST.

pub(crate) mod codec;
pub(crate) mod describe;
pub(crate) mod grpc;
pub(crate) mod json;
pub(crate) mod read;
pub(crate) mod rest;
pub(crate) mod wire;

use crate::core::error::{Error, Result};

/// The request parameter that stands for the header `ortus-route-key`.
const ROUTE_KEY: &str = "route_key";

/// Refuses an unsupported parameter that would change the answer. `idle` tells that
/// its value switches it off.
fn check_served(name: &str, idle: bool) -> Result<()> {
    let unserved = name == "classification"
        || name.starts_with("shared_memory")
        || name.starts_with("sequence_");
    if unserved && !idle {
        return Err(Error::unimplemented(format!(
            "parameter '{}' is not supported; remove it",
            crate::core::error::short(name)
        )));
    }

    Ok(())
}
