//! The paths that do not depend on a model.

mod calls;
#[cfg(test)]
mod tests;

use super::operation;
use calls::calls;
use serde_json::{Map, Value, json};

/// The description of every path, with the models and versions as its parameters. `example` is the name of a model.
pub(super) fn paths(example: Option<&str>) -> Map<String, Value> {
    let mut paths = Map::new();
    for call in calls() {
        let (path, method, mut operation) = call.described();
        let parameters = operation
            .get_mut("parameters")
            .and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten() {
            if let (Some("name"), Some(example)) = (parameter["name"].as_str(), example) {
                parameter["example"] = example.into();
            }
        }
        let item = paths.entry(path).or_insert_with(|| json!({}));
        item[method] = operation;
    }
    paths
}

/// One call.
struct ApiCall {
    /// In lower case, as OpenAPI has it.
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    /// The schema of a body in JSON, and whether the body may be left out.
    body: Option<(Value, bool)>,
    answer: CallAnswer,
}

/// The body of an answer.
enum CallAnswer {
    Json(Value),
    Text,
    Nothing,
    /// An object also where it refuses: a probe whose answer is no, or labels that were refused one by one.
    Either,
}

impl ApiCall {
    /// The path, the method, and what they do.
    fn described(self) -> (String, &'static str, Value) {
        let answer = match &self.answer {
            CallAnswer::Json(schema) => schema.clone(),
            _ => Value::Bool(true),
        };
        let (schema, optional) = self.body.unzip();
        let mut operation = operation(self.summary, schema, &answer);
        if optional == Some(true) {
            operation["requestBody"]["required"] = false.into();
        }
        match self.answer {
            CallAnswer::Json(_) => {}
            CallAnswer::Text => {
                let text = |what: &str| json!({"description": what, "content": {"text/plain": {"schema": {"type": "string"}}}});
                operation["responses"]["200"] = text("The answer.");
                operation["responses"]["503"] = text("Not ready.");
            }
            CallAnswer::Either => {
                let object = json!({"application/json": {"schema": object()}});
                for status in ["400", "404", "429"] {
                    operation["responses"][status]["content"] = object.clone();
                }
            }
            CallAnswer::Nothing => operation["responses"]["200"] = json!({"description": "Done."}),
        }

        if self.path == "/invocations" {
            let content = &mut operation["requestBody"]["content"];
            content["text/csv"] = json!({"schema": {"type": "string"}});
        }
        let parameters: Vec<Value> = parameters(self.path).map(parameter).collect();
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        (self.path.to_owned(), self.method, operation)
    }
}

fn object() -> Value {
    json!({"type": "object"})
}

/// The names between braces in a path.
fn parameters(path: &str) -> impl Iterator<Item = &str> {
    let parts = path.split('{').skip(1);
    parts.filter_map(|part| Some(part.split_once('}')?.0))
}

fn parameter(name: &str) -> Value {
    let schema = match name {
        "version" => json!({"type": "string", "pattern": "^[1-9][0-9]{0,17}$"}),
        "name" => json!({"type": "string", "pattern": "^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}$"}),
        _ => json!({"type": "string", "minLength": 1}),
    };
    json!({"name": name, "in": "path", "required": true, "schema": schema})
}

fn get(path: &'static str, summary: &'static str) -> ApiCall {
    ApiCall {
        method: "get",
        path,
        summary,
        body: None,
        answer: CallAnswer::Json(object()),
    }
}

/// A call with a body, answered with an object.
fn post(path: &'static str, summary: &'static str, schema: Value) -> ApiCall {
    ApiCall {
        method: "post",
        body: Some((schema, false)),
        ..get(path, summary)
    }
}

/// A call whose body may be left out, answered without one.
fn change(path: &'static str, summary: &'static str, schema: Value) -> ApiCall {
    ApiCall {
        body: Some((schema, true)),
        answer: CallAnswer::Nothing,
        ..post(path, summary, Value::Null)
    }
}

/// A call that reads no body and is answered without one.
fn act(path: &'static str, summary: &'static str) -> ApiCall {
    ApiCall {
        body: None,
        ..change(path, summary, Value::Null)
    }
}

impl ApiCall {
    /// Answered with an object also where it refuses.
    fn either(mut self) -> Self {
        self.answer = CallAnswer::Either;
        self
    }

    /// Answered with a list.
    fn lists(mut self) -> Self {
        self.answer = CallAnswer::Json(json!({"type": "array", "items": {"type": "object"}}));
        self
    }

    /// Answered with text.
    fn says(mut self) -> Self {
        self.answer = CallAnswer::Text;
        self
    }

    /// Answered with a value of a schema.
    fn answers(mut self, schema: Value) -> Self {
        self.answer = CallAnswer::Json(schema);
        self
    }
}
