//! MLflow's scoring protocol: `/invocations` with tables in JSON or CSV, `/ping` and `/version`.

#[cfg(test)]
mod tests;

use super::Front;
use super::body::Metered;
use super::inbound::Decoded;
use super::rest::call::Call;
use super::rest::reply::Reply;
use super::tables::{TableCell, TableReader};
use super::tfs::json as tfs_json;
use crate::core::error::{Error, Result, short};
use crate::core::model::Signature;
use crate::core::model::columns::InputColumns;
use crate::core::request::{Protocol, Response, Target};
use crate::core::tensor::json::document::{Json, read_body};
use crate::core::tensor::json::{StringForm, Writer, write_json};
use crate::core::tensor::{NamedTensors, Tensor};
use crate::serve::servable::Servable;
use http::{StatusCode, header};

/// Content types of tables in CSV.
const CSV: &str = "text/csv";
/// The members of a body, of which it has one.
const TABLES: [&str; 4] = [
    "dataframe_split",
    "dataframe_records",
    "instances",
    "inputs",
];

/// Answers `POST /invocations`. `query` may name the model.
pub(crate) async fn invoke(call: &Call<'_>, query: Option<&str>, body: Metered) -> Result<Reply> {
    let inbound = call.inbound(Protocol::Mlflow);
    let admitted = inbound.admit(target(call.front, query))?;
    let kind = call.headers.get(header::CONTENT_TYPE);
    let is_csv = kind.is_some_and(|kind| kind.as_bytes().starts_with(CSV.as_bytes()));
    let decoded = match call.body(body).await {
        Ok(body) => decode(&body, is_csv, admitted.signature(), admitted.columns()),
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

/// Reads the tensors of a body.
fn decode(
    body: &[u8],
    is_csv: bool,
    signature: &Signature,
    columns: &InputColumns,
) -> Result<NamedTensors> {
    if is_csv {
        return decode_csv(body, signature, columns);
    }
    read_body(body, |request| {
        let [split, records, instances, inputs] = request.fields("the request", TABLES)?;
        match (split, records, instances, inputs) {
            (Some(split), None, None, None) => decode_split(split, signature, columns),
            (None, Some(records), None, None) => {
                let mut reader = TableReader::new(signature, columns)?;
                for row in records.array("dataframe_records")? {
                    reader.push_object(row)?;
                }
                reader.finish()
            }
            (None, None, Some(rows), None) => tfs_json::decode_rows(rows, signature, columns),
            (None, None, None, Some(inputs)) => tfs_json::decode_columns(inputs, signature),
            _ => Err(Error::invalid(format!(
                "the request must have exactly one of {}",
                TABLES.join(", ")
            ))),
        }
    })
}

/// Reads a table as pandas splits it: names of columns, and rows of values.
fn decode_split(
    split: Json<'_>,
    signature: &Signature,
    columns: &InputColumns,
) -> Result<NamedTensors> {
    let what = "dataframe_split";
    let [names, data] = split.fields(what, ["columns", "data"])?;
    let data = data.ok_or_else(|| Error::invalid("dataframe_split has no data"))?;
    let mut reader = TableReader::new(signature, columns)?;
    let places = match names {
        Some(names) => {
            let names: Vec<_> = names.array("columns")?.collect();
            let names = names.iter().map(|name| match name.string("a column") {
                Ok(name) => Ok(name.into_owned()),
                // Pandas numbers columns without names.
                Err(_) if name.is_scalar() => Ok(name.text().to_owned()),
                Err(error) => Err(error),
            });
            places(&names.collect::<Result<Vec<_>>>()?, &reader, columns)?
        }
        None if columns.are_nameless() => (0..columns.len()).collect(),
        None => return Err(Error::invalid("dataframe_split has no columns")),
    };

    for values in data.array("data")? {
        let mut row = reader.row();
        let name = reader.row_name();
        let mut given = 0;
        for value in values.array(&name)? {
            let at = places.get(given).ok_or_else(|| {
                Error::invalid(format!("{name} has more than {} values", places.len()))
            })?;
            row.put(&reader, *at, TableCell::Json(value))?;
            given += 1;
        }
        if given < places.len() {
            return Err(Error::invalid(format!(
                "{name} has {given} values for {} columns",
                places.len()
            )));
        }
        reader.push(row)?;
    }
    reader.finish()
}

/// Which column of the model each column of a table is: by its name, or by its place where no column of the model
/// has a name.
fn places(
    names: &[String],
    reader: &TableReader<'_>,
    columns: &InputColumns,
) -> Result<Vec<usize>> {
    if columns.are_nameless() && names.len() == columns.len() {
        return Ok((0..columns.len()).collect());
    }
    names.iter().map(|name| reader.column(name)).collect()
}

/// Reads CSV with a header.
fn decode_csv(body: &[u8], signature: &Signature, columns: &InputColumns) -> Result<NamedTensors> {
    let malformed = |e: csv::Error| Error::invalid(format!("the body is not CSV: {e}"));
    let mut reader = TableReader::new(signature, columns)?;
    let mut table = csv::ReaderBuilder::new()
        .trim(csv::Trim::Headers)
        .from_reader(body);
    let names = table.headers().map_err(malformed)?;
    let names: Vec<String> = names.iter().map(str::to_owned).collect();
    let places = places(&names, &reader, columns)?;
    for record in table.records() {
        let record = record.map_err(malformed)?;
        let mut row = reader.row();
        for (at, cell) in places.iter().zip(&record) {
            row.put(&reader, *at, TableCell::Text(cell))?;
        }
        reader.push(row)?;
    }
    reader.finish()
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
