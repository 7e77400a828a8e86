//! The parameters of a request, of its inputs and of its outputs, in JSON.

use super::super::shared_memory::{RegionPart, Regions};
use super::super::wishes::OutputWish;
use super::super::{
    CLASSIFICATION, REGION, REGION_BYTES, REGION_OFFSET, ROUTE_KEY, check_served, no_region_bytes,
};
use crate::core::error::{Error, Result, short};
use crate::core::tensor::json::document::Json;

/// The request parameters this server acts on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct JsonParameters {
    /// 0 is the default and the highest priority.
    pub(crate) priority: u8,
    /// Triton's `timeout`.
    pub(crate) timeout_us: Option<u64>,
    /// Whether outputs are binary by default.
    pub(crate) binary_data_output: bool,
    /// The routing key, if no header has it.
    pub(crate) route_key: Option<String>,
}

pub(super) fn parameters(given: Option<Json<'_>>) -> Result<JsonParameters> {
    let mut read = JsonParameters::default();
    let Some(given) = given else { return Ok(read) };
    refuse_unserved(given, "parameters")?;
    let names = ["priority", "timeout", "binary_data_output", ROUTE_KEY];

    let [priority, timeout, binary, key] = given.fields("parameters", names)?;
    if let Some(priority) = priority {
        read.priority = priority.integer("parameter 'priority' (0 to 255)")?;
    }
    if let Some(timeout) = timeout {
        // 0 means no timeout, as in Triton and over gRPC.
        read.timeout_us =
            Some(timeout.integer("parameter 'timeout' (microseconds)")?).filter(|us| *us > 0);
    }

    read.route_key = key
        .map(|key| key.string("parameter 'route_key'"))
        .transpose()?
        .map(Into::into);
    if let Some(binary) = binary {
        read.binary_data_output = binary.boolean("parameter 'binary_data_output'")?;
    }

    Ok(read)
}

/// Refuses unsupported parameters that would change the meaning of the answer, and
/// values of a wrong type. Ignores unknown parameters.
fn refuse_unserved(parameters: Json<'_>, what: &str) -> Result<()> {
    for member in parameters.object(what)? {
        let (name, value) = member?;
        let idle = matches!(value.text(), "0" | "\"\"" | "false");
        check_served(&name, idle)?;
        if !value.is_scalar() && value.text() != "null" {
            return Err(Error::invalid(format!(
                "parameter '{}' must be a boolean, a number or a string",
                short(&name)
            )));
        }
    }

    Ok(())
}

pub(super) fn binary_size(parameters: Option<Json<'_>>) -> Result<Option<usize>> {
    let Some(parameters) = parameters else {
        return Ok(None);
    };
    refuse_unserved(parameters, "parameters")?;
    let [size] = parameters.fields("parameters", ["binary_data_size"])?;
    size.map(|size| size.integer("binary_data_size"))
        .transpose()
}

/// Finds the part of a region that parameters name, if they name one.
pub(super) fn part(parameters: Option<Json<'_>>, regions: &Regions) -> Result<Option<RegionPart>> {
    let Some(parameters) = parameters else {
        return Ok(None);
    };
    let names = [REGION, REGION_OFFSET, REGION_BYTES];
    let [region, offset, bytes] = parameters.fields("parameters", names)?;
    let Some(region) = region else {
        return Ok(None);
    };
    let name = region.string(REGION)?;
    let offset = offset.map(|offset| offset.integer(REGION_OFFSET));
    let bytes = bytes.ok_or_else(no_region_bytes)?;
    let bytes = bytes.integer(REGION_BYTES)?;
    regions
        .part(&name, offset.transpose()?.unwrap_or(0), bytes)
        .map(Some)
}

/// Whether an output is wanted in binary, and what else is asked of it.
pub(super) fn output_parameters(
    parameters: Option<Json<'_>>,
    regions: &Regions,
) -> Result<(Option<bool>, OutputWish)> {
    let Some(given) = parameters else {
        return Ok((None, OutputWish::default()));
    };
    refuse_unserved(given, "parameters")?;
    let names = ["binary_data", CLASSIFICATION];
    let [binary, classes] = given.fields("parameters", names)?;
    let binary = binary.map(|binary| binary.boolean("binary_data"));
    let classes = classes.map(|classes| classes.integer("parameter 'classification'"));
    let wish = OutputWish {
        classes: classes.transpose()?.unwrap_or(0),
        region: part(Some(given), regions)?,
    };
    Ok((binary.transpose()?, wish))
}
