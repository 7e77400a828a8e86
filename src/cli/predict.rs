//! `ortus models` and `ortus predict`: calls of a running server.

use super::print::{self, TextTable, line};
use super::{Models, Predict};
use crate::api::oip::json as oip_json;
use crate::api::oip::shared_memory::Regions;
use crate::client;
use crate::core::error::{Error, Result, short};
use crate::core::tensor::DType;
use bytes::Bytes;
use http::{Method, StatusCode};

pub(super) async fn models(arguments: &Models) -> Result<()> {
    let mut http = client::Http::connect(&arguments.server).await?;
    let (status, _, body) = http
        .send(Method::POST, "/v2/repository/index", Bytes::new())
        .await?;
    if status == StatusCode::NOT_FOUND {
        return Err(client::refusal(status, &body).context(format!(
            "{} is not the HTTP port of a server (8000 by default)",
            arguments.server
        )));
    }
    if !status.is_success() {
        return Err(client::refusal(status, &body));
    }

    if arguments.json {
        line(&String::from_utf8_lossy(&body));
        return Ok(());
    }
    let lines: Vec<VersionLine> = serde_json::from_slice(&body).map_err(|e| {
        Error::internal("the server's list of models cannot be read").with_source(e)
    })?;
    let mut table = TextTable::new(&["model", "version", "state", "memory", "reason"]);
    for l in &lines {
        let memory = memory(&mut http, l).await?;
        table.row(&[&l.name, &l.version, &l.state, &memory, &l.reason]);
    }
    table.print();
    Ok(())
}

/// A version of the server's list.
#[derive(serde::Deserialize)]
struct VersionLine {
    name: String,
    version: String,
    state: String,
    reason: String,
}

/// The estimated memory of a version that serves; empty if it does not.
async fn memory(http: &mut client::Http, line: &VersionLine) -> Result<String> {
    if line.state != "READY" {
        return Ok(String::new());
    }
    let path = format!("/v2/models/{}/versions/{}", line.name, line.version);
    let (status, _, body) = http.send(Method::GET, &path, Bytes::new()).await?;
    let metadata: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let bytes = metadata["properties"]["ortus.memory_bytes"].as_str();
    let bytes = bytes.and_then(|text| text.parse::<u64>().ok());
    // It may have left since the list was made.
    let bytes = bytes.filter(|_| status.is_success());
    Ok(bytes.map_or_else(String::new, |bytes| {
        format!("{} MiB", bytes.div_ceil(1 << 20))
    }))
}

pub(super) async fn predict(arguments: &Predict) -> Result<()> {
    if let Some(row) = &arguments.row {
        return predict_rows(arguments, row).await;
    }
    let body = request_body(arguments)?;
    let server = arguments.server.as_deref();
    if !arguments.grpc {
        let mut http = client::Http::connect(server.unwrap_or("127.0.0.1:8000")).await?;
        let (headers, answer) = http
            .infer(&arguments.model, &arguments.version, body)
            .await?;
        return print::answer(&headers, &answer, arguments.json);
    }

    let inputs = oip_json::decode(&body, None, &Regions::off())?.inputs;
    let mut client = client::grpc(server.unwrap_or("127.0.0.1:8001")).await?;
    let request = client::infer_request(&arguments.model, &arguments.version, &inputs);
    print::grpc_answer(&client::infer(&mut client, request).await?, arguments.json)
}

/// Sends rows as a table, and prints the answer.
async fn predict_rows(arguments: &Predict, rows: &str) -> Result<()> {
    let rows = rows.trim();
    let instances = match rows.starts_with('[') {
        true => rows.to_owned(),
        false => format!("[{rows}]"),
    };
    let model = &arguments.model;
    let version = match arguments.version.as_str() {
        "" => String::new(),
        alias if alias.parse::<u64>().is_err() => format!("/labels/{alias}"),
        number => format!("/versions/{number}"),
    };
    let path = format!("/v1/models/{model}{version}:predict");
    let server = arguments.server.as_deref().unwrap_or("127.0.0.1:8000");
    let mut http = client::Http::connect(server).await?;
    let body = format!("{{\"instances\":{instances}}}");
    let (status, _, answer) = http.send(Method::POST, &path, body.into()).await?;
    if !status.is_success() {
        return Err(client::refusal(status, &answer));
    }
    line(String::from_utf8_lossy(&answer).trim_end());
    Ok(())
}

fn request_body(arguments: &Predict) -> Result<Bytes> {
    let unreadable = |e: std::io::Error| {
        Error::precondition("the request file given with --file cannot be read").with_source(e)
    };
    match &arguments.file {
        Some(path) if path.as_os_str() == "-" => std::io::read_to_string(std::io::stdin())
            .map(Bytes::from)
            .map_err(unreadable),
        Some(path) => std::fs::read(path).map(Bytes::from).map_err(unreadable),
        None => {
            let inputs = arguments.input.iter().map(|input| input_json(input));
            let inputs: Vec<String> = inputs.collect::<Result<_>>()?;
            Ok(format!("{{\"inputs\":[{}]}}", inputs.join(",")).into())
        }
    }
}

/// Reads NAME:TYPE:SHAPE:VALUES as a tensor in JSON.
fn input_json(argument: &str) -> Result<String> {
    let refuse = |why: String| {
        Error::invalid(format!(
            "--input '{}': {why}; it must be NAME:TYPE:SHAPE:VALUES, such as x:FP32:1,3:0.5,1,nan",
            short(argument)
        ))
    };

    let parts: Vec<&str> = argument.splitn(4, ':').collect();
    let [name, datatype, shape, values] = parts[..] else {
        return Err(refuse(format!("it has {} of 4 parts", parts.len())));
    };
    let datatype = DType::parse(datatype).map_err(|e| refuse(e.message))?;
    let lengths = shape.split(',').filter(|length| !length.is_empty());
    let lengths: Vec<u64> = lengths
        .map(|length| {
            let whole = length.trim().parse();
            whole.map_err(|_| refuse(format!("the shape has '{length}', which is no length")))
        })
        .collect::<Result<_>>()?;
    let values: Vec<String> = match datatype {
        DType::String => words(values).map_err(refuse)?,
        _ => {
            let values = values.split(',').filter(|value| !value.is_empty());
            let values = values.map(|value| {
                number(value.trim())
                    .ok_or_else(|| refuse(format!("the values have '{value}', which is no number")))
            });
            values.collect::<Result<_>>()?
        }
    };
    let name = serde_json::Value::from(name);
    let values = values.join(",");
    Ok(format!(
        r#"{{"name":{name},"datatype":"{datatype}","shape":{lengths:?},"data":[{values}]}}"#
    ))
}

/// A number or a truth value in JSON, or what stands for a missing or an infinite number.
fn number(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    Some(match lower.as_str() {
        "nan" => "NaN".to_owned(),
        "inf" | "infinity" | "+inf" => "Infinity".to_owned(),
        "-inf" | "-infinity" => "-Infinity".to_owned(),
        "true" | "false" | "null" => lower,
        _ => {
            let number: serde_json::Number = serde_json::from_str(text).ok()?;
            number.to_string()
        }
    })
}

/// Strings in JSON, of words between commas. A word in quotes may have commas, and two quotes for one.
fn words(text: &str) -> std::result::Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = text;
    loop {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (mut word, mut rest) = (String::new(), quoted);
                loop {
                    let end = rest.find('"').ok_or("a word has no closing quote")?;
                    word.push_str(&rest[..end]);
                    rest = &rest[end + 1..];
                    // Two quotes stand for one.
                    match rest.strip_prefix('"') {
                        Some(more) => rest = more,
                        None => break (word, rest),
                    }
                    word.push('"');
                }
            }
            None => {
                let (word, rest) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
                (word.to_owned(), rest)
            }
        };
        words.push(serde_json::Value::from(word).to_string());
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None if after.is_empty() => return Ok(words),
            None => return Err("a word goes on after its quote".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_on_the_command_line_are_tensors_in_json() {
        for (argument, data) in [
            ("x:FP32:1,4:0.5,nan,-inf,1e3", "[0.5,NaN,-Infinity,1000.0]"),
            ("x:BOOL:2:true,false", "[true,false]"),
            ("x:INT64:0:", "[]"),
            ("x:BYTES:2:a b,\"c, d\"", r#"["a b","c, d"]"#),
            ("x:BYTES:1:\"a, \"\"b\"\"\"", r#"["a, \"b\""]"#),
            ("x:BYTES:1:", r#"[""]"#),
        ] {
            let json = input_json(argument).expect(argument);
            assert!(json.ends_with(&format!("\"data\":{data}}}")), "{json}");
        }
        for (argument, why) in [
            ("x:FP32:1", "3 of 4 parts"),
            ("x:fp32:1:1", "use one of BOOL"),
            ("x:FP32:[1]:1", "'[1]', which is no length"),
            ("x:FP32:1:0x1", "'0x1', which is no number"),
            ("x:BYTES:1:\"a", "no closing quote"),
            ("x:BYTES:1:\"a\"b", "goes on"),
        ] {
            let error = input_json(argument).expect_err(argument);
            assert!(error.message.contains(why), "{error}");
        }
    }
}
