//! MLflow's scoring protocol: `/invocations` with tables in JSON or CSV, `/ping` and `/version`.

pub(crate) mod table;
#[cfg(test)]
mod tests;

use super::Front;
use super::body::Metered;
use super::inbound::Decoded;
use super::rest::call::Call;
use super::rest::reply::Reply;
use super::tables::TableSchema;
use super::tfs::json as tfs_json;
use crate::core::error::{Error, Result, short};
use crate::core::request::{Protocol, Response, Target};
use crate::core::tensor::json::{StringForm, Writer, write_json};
use crate::core::tensor::{NamedTensors, Tensor};
use crate::serve::servable::Servable;
use http::{HeaderMap, StatusCode, header};

/// The content type of tables in CSV.
const CSV: &str = "text/csv";

/// Answers `POST /invocations`. `query` may name the model.
pub(crate) async fn invoke(call: &Call<'_>, query: Option<&str>, body: Metered) -> Result<Reply> {
    let inbound = call.inbound(Protocol::Mlflow);
    let admitted = inbound.admit(target(call.front, query))?;
    let schema = admitted.schema(&call.front.limits);
    let decoded = match call.body(body).await {
        Ok(body) => read_table(call, &body, schema),
        Err(error) => Err(error),
    };
    let decoded = decoded.map(|inputs| Decoded {
        id: String::new(),
        priority: 0,
        timeout_us: None,
        route_key: None,
        inputs,
        outputs: Vec::new(),
        form: (),
    });
    admitted.predict(decoded, encode).await
}

fn read_table(call: &Call<'_>, body: &[u8], schema: TableSchema<'_>) -> Result<NamedTensors> {
    let inputs = match is_csv(call.headers) {
        true => table::decode_csv(body, schema),
        false => table::decode(body, schema),
    }?;
    call.charge.add_tensors(&inputs, body.len())?;
    Ok(inputs)
}

/// Tells whether the content type is CSV, in any case and with any parameters.
fn is_csv(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.as_bytes().split(|b| *b == b';').next());
    kind.is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(CSV.as_bytes()))
}

/// The model that a request means: the one that `model=NAME` in its query names, or the only one.
fn target(front: &Front, query: Option<&str>) -> Result<Target> {
    let mut pairs = query.unwrap_or_default().split('&');
    let named = pairs.find_map(|pair| pair.strip_prefix("model="));
    if let Some(name) = named {
        let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
        return Target::parse(&name, "");
    }

    let table = front.predictor.routes().table();
    let mut names: Vec<&str> = table.models.keys().map(|name| name.as_str()).collect();
    match names.as_slice() {
        [only] => Target::parse(only, ""),
        [] => Err(Error::not_found("no model serves")),
        _ => {
            names.sort_unstable();
            let all = names.join(", ");
            let shown = short(&all);
            Err(Error::invalid(format!(
                "this server has several models: name one as /invocations?model=NAME, of {shown}"
            )))
        }
    }
}

/// Writes the predictions: a value for each row, or an object with each output. An output of one column is a
/// list of bare values, as MLflow writes those of ONNX models.
fn encode(response: &Response, (): (), _: &Servable) -> Result<Reply> {
    let mut flat = Vec::with_capacity(response.outputs.len());
    for (name, tensor) in &response.outputs {
        let tensor = match tensor.shape() {
            [rows, 1] => Tensor::from_raw(tensor.dtype(), vec![*rows], tensor.to_raw())?,
            _ => tensor.clone(),
        };
        flat.push((name.clone(), tensor));
    }
    tfs_json::check_rows_agree(&flat)?;

    let rows = flat
        .first()
        .and_then(|(_, tensor)| tensor.rows())
        .unwrap_or(0);
    let mut writers: Vec<Writer<'_>> = flat
        .iter()
        .map(|(_, tensor)| Writer::new(tensor, StringForm::Plain))
        .collect();
    let mut out = b"{\"predictions\":[".to_vec();
    for row in 0..rows {
        if row > 0 {
            out.push(b',');
        }
        write_row(&mut out, &flat, &mut writers);
    }
    out.extend_from_slice(b"]}");
    Ok(Reply::json(out))
}

/// Appends the next row of every output.
fn write_row(
    out: &mut Vec<u8>,
    outputs: &[(std::sync::Arc<str>, Tensor)],
    writers: &mut [Writer<'_>],
) {
    if let ([(_, tensor)], [writer]) = (outputs, &mut *writers) {
        return writer.write(out, &tensor.shape()[1..]);
    }
    out.push(b'{');
    for (i, ((name, tensor), writer)) in outputs.iter().zip(writers).enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_json(out, &**name);
        out.push(b':');
        writer.write(out, &tensor.shape()[1..]);
    }
    out.push(b'}');
}

/// Answers `GET /ping` and `GET /health`.
pub(crate) fn ping(front: &Front) -> Reply {
    let is_ready = front.predictor.is_ready();
    let mut reply = text(if is_ready { "\n" } else { "not ready\n" });
    if !is_ready {
        reply.status = StatusCode::SERVICE_UNAVAILABLE;
    }
    reply
}

/// Answers `GET /version`.
pub(crate) fn version() -> Reply {
    text(env!("CARGO_PKG_VERSION"))
}

fn text(body: &'static str) -> Reply {
    let mut reply = Reply::json(body);
    let kind = header::HeaderValue::from_static("text/plain; charset=utf-8");
    reply.headers.insert(header::CONTENT_TYPE, kind);
    reply
}
