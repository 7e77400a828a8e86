//! Defaults, errors of a file, and writing settings back to TOML.

mod layers;
mod values;

use super::*;
use crate::core::model::Version;
use crate::core::settings::section::SettingSection;
use crate::onnx::runtime::provider::{Provider, ProviderKind};
use crate::registry::version_policy::VersionPolicy;
use crate::serve::settings::{Batching, cpu};

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

fn load(text: &str, env: &[(&str, &str)], flags: &[(&str, Value)]) -> Result<Config> {
    let env = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let flags = flags
        .iter()
        .map(|(path, value)| ((*path).to_owned(), value.clone()))
        .collect();
    load::merge(Some(("ortus.toml", text)), env, flags)
}

#[track_caller]
fn accept(text: &str) -> Config {
    load(text, &[], &[]).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[track_caller]
fn refuse(text: &str, message: &str) {
    let error = load(text, &[], &[]).expect_err(text);
    assert_eq!(error.kind, crate::core::error::Kind::InvalidArgument);
    assert!(
        error.message.contains(message),
        "{text}\n  says  {error}\n  lacks {message}"
    );
}

#[track_caller]
fn refuse_variable(name: &str, value: &str, message: &str) {
    let error = load("", &[(name, value)], &[]).expect_err(name);
    assert!(
        error.message.starts_with(name) && error.message.contains(message),
        "{error}\n  lacks {message}"
    );
}

/// Reads the value at a dotted path of the effective settings.
fn at(config: &Config, path: &str) -> Option<Value> {
    path.split('.')
        .try_fold(Value::Table(config.to_table()), |value, key| {
            value.get(key).cloned()
        })
}

#[test]
fn defaults_are_the_documented_ones() {
    let config = accept("");
    assert_eq!(config, Config::default());
    assert_eq!(config.server.http.to_string(), "0.0.0.0:8000");
    assert_eq!(config.server.operator.to_string(), "127.0.0.1:8003");
    assert_eq!(config.server.drain, Duration::from_secs(25));
    assert_eq!(config.limits.message_bytes_max, 64 << 20);
    assert!(config.limits.bytes_in_flight_max >= 64 << 20);
    assert_eq!(config.models.control, ModelControl::Poll);
    let model = config.model("anything");
    assert_eq!(
        (model.batch_rows_max, model.queue_rows_max, model.batching),
        (64, 4096, Batching::Auto)
    );
    assert_eq!(model.providers, [cpu()]);
    assert_eq!(model.version_policy, VersionPolicy::Latest(1));
    assert_eq!(
        (model.request_timeout, model.batch_delay),
        (None, Duration::ZERO)
    );
}

#[test]
fn unknown_key_is_refused_with_its_line_and_the_nearest_key() {
    let twelfth = "\n".repeat(9) + "[model.fraud]\nqueue_rows_max = 100\nbatch_row_max = 8\n";
    refuse(
        &twelfth,
        "ortus.toml:12: unknown key 'batch_row_max' in [model.fraud]; did you mean 'batch_rows_max'?",
    );
    refuse(
        "[server]\nhtpp = 1",
        "ortus.toml:2: unknown key 'htpp' in [server]; did you mean 'http'?",
    );
    refuse(
        "server.htpp = 1",
        "ortus.toml:1: unknown key 'htpp' in [server]",
    );
    refuse(
        "[sever]",
        "ortus.toml:1: unknown section 'sever'; did you mean 'server'?",
    );
    refuse(
        "\n[models.default]\nlanes = 1",
        "ortus.toml:2: unknown key 'default' in [models]",
    );
    refuse(
        "[models.defaults]\nlane = 1",
        "ortus.toml:2: unknown key 'lane' in [models.defaults]; did you mean 'lanes'?",
    );
    refuse(
        "[log]\nzzzzzzzz = 1",
        "in [log]; the known ones are level, format",
    );
    refuse(
        "[model.a.b]\nlanes = 1",
        "ortus.toml:1: unknown key 'b' in [model.a]",
    );
    refuse(
        "[[model]]\nlanes = 1",
        "ortus.toml:1: key 'model' is outside of any section",
    );
    refuse(
        "model.a = 1",
        "ortus.toml:1: 'a' in [model] must be a table",
    );
    refuse(
        "http = 1",
        "ortus.toml:1: key 'http' is outside of any section; the sections are server, limits",
    );
}

#[test]
fn first_error_of_the_file_is_the_one_reported() {
    refuse("[server]\nx = 1\n[limits]\ny = 2", "ortus.toml:2:");
    refuse("[log]\n\n\nlevel = 3\n[limits]\ny = 2", "ortus.toml:4:");
}

#[test]
fn malformed_file_is_refused_with_its_line() {
    refuse("[server]\n\nhttp = \n", "ortus.toml:3:");
    refuse("[server]\nhttp = \"a\"\nhttp = \"b\"", "ortus.toml:3:");
    refuse("[log]\n# ü\nlevel = \"é", "ortus.toml:3:");
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let queue = "ortus.toml:2: [model.m]: 'queue_rows_max' is 99; it must be at least 'batch_rows_max', 100";
    refuse(
        "model.m.batch_rows_max = 100\nmodel.m.queue_rows_max = 99",
        queue,
    );
    accept("model.m.batch_rows_max = 100\nmodel.m.queue_rows_max = 100");
    refuse(
        "models.defaults.queue_rows_max = 63",
        "ortus.toml:1: [models.defaults]: 'queue_rows_max' is 63",
    );
    refuse(
        "models.defaults.queue_rows_max = 64\nmodel.m.batch_rows_max = 65",
        "ortus.toml:2: [model.m]",
    );
    let padded = "[models.defaults.padding]\nlengths = [8]\ninputs = { x = 0 }\nmask = 'm'\n";
    refuse(
        &format!("{padded}[model.m]\nbatch_invariant = true"),
        "ortus.toml:6: [model.m]: 'batch_invariant' and 'padding' exclude each other",
    );
    accept(&format!(
        "{padded}[model.m]\nbatch_invariant = true\npadding = 'off'"
    ));
    refuse(
        "limits.bytes_in_flight_max = '63MiB'",
        "it must be at least 'message_bytes_max', 67108864",
    );
    refuse(
        "server.http = '0.0.0.0:8001'",
        "'grpc' in [server] is the same address as 'http'",
    );
    refuse(
        "server.operator = '10.0.0.1:8000'",
        "ortus.toml:1: 'operator' in [server] is the same address as 'http'",
    );
    accept("server = { http = '127.0.0.1:0', grpc = '127.0.0.1:0' }");
    accept("server = { http = '127.0.0.1:80', grpc = '127.0.0.2:80' }");
    for path in ["", "metrics", "/a b", "/m?x=1"] {
        refuse(
            &format!("server.metrics_path = '{path}'"),
            "begins with a slash",
        );
    }
}

#[test]
fn effective_values_round_trip() {
    let texts = [
        "",
        "server = { ports_file = '/tmp/p', drain = '1500us', metrics_path = '/m/metrics' }",
        "models = { directory = '/m', control = 'explicit', poll = '250ms' }\nlog = { level = 'warn,a=debug', format = 'json' }",
        "[models.defaults]\nrequest_timeout = '2s'\n[model.'a.b']\nlabels = { x = 1 }\nversions = 'all'\n[model.c]\nlanes = 3",
        "model.m.providers = [{ name = 'tensorrt', options = { a = \"q'\\\"\" } }, 'cuda']\nmodel.m.versions = [9223372036854775807]",
    ];

    for text in texts
        .into_iter()
        .chain(["models.defaults.labels.a = 1\nmodel.m.labels = {}"])
    {
        let config = accept(text);
        let written = config.to_toml();
        let again = accept(&written);
        assert_eq!(again.to_toml(), written);
        assert_eq!(
            (&again.server, &again.limits, &again.models),
            (&config.server, &config.limits, &config.models)
        );
        assert_eq!((&again.runtime, &again.log), (&config.runtime, &config.log));
        for name in config.model.keys().map(String::as_str).chain(["other"]) {
            assert_eq!(again.model(name), config.model(name));
        }
    }
}

#[test]
fn json_has_durations_as_text_and_sizes_as_integers() {
    let json = serde_json::to_value(accept("model.m.versions = [1]")).unwrap();
    assert_eq!(json["server"]["drain"], "25s");
    assert_eq!(json["limits"]["message_bytes_max"], 64 << 20);
    assert_eq!(json["model"]["m"]["versions"], serde_json::json!([1]));
    assert_eq!(
        json["models"]["defaults"]["providers"],
        serde_json::json!(["cpu"])
    );
    assert!(json["server"].get("ports_file").is_none());
}

#[test]
fn every_key_can_be_set_and_each_section_lists_its_own() {
    let mut table = accept("").to_table();
    table.remove("model");
    let unset = [
        "ports_file",
        "directory",
        "name",
        "config_file",
        "metrics_path",
        "library",
        "state",
        "weights_cache",
        "webhook",
        "store",
        "url",
        "drop",
        "endpoint",
    ];

    let count = |name: &str, keys: &[&str]| {
        let section = table[name].as_table().unwrap();
        let missing = keys.iter().filter(|key| !section.contains_key(**key));
        assert!(
            missing.clone().all(|key| unset.contains(key)),
            "{name}: {missing:?}"
        );
    };

    count("server", Server::KEYS);
    count("limits", Limits::KEYS);
    count("models", Models::KEYS);
    count("runtime", Runtime::KEYS);
    count("log", LogSettings::KEYS);
    count("monitor", MonitorSettings::KEYS);
    count("records", Records::KEYS);
    count("feedback", FeedbackSettings::KEYS);
    count("capture", CaptureSettings::KEYS);
    count("traces", TraceSettings::KEYS);
    assert_eq!(Model::KEYS.len(), 21);
}

#[test]
fn named_file_is_read_and_a_missing_one_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    std::fs::write(&path, "[server]\nio_threads = 5\nx = 1").unwrap();
    let load = |path: &Path| Config::load(Some(path), std::iter::empty(), Vec::new());
    let error = load(&path).expect_err("an unknown key");
    assert!(
        error.message.contains("a.toml:3: unknown key 'x'"),
        "{error}"
    );
    std::fs::write(&path, "[server]\nio_threads = 5").unwrap();
    assert_eq!(load(&path).unwrap().server.io_threads, 5);
    let missing = load(&folder.path().join("b.toml")).expect_err("a missing file");
    assert!(
        missing.message.contains("read ") && missing.message.contains("b.toml"),
        "{missing}"
    );

    for (bytes, accepted) in [(4 << 20, true), ((4 << 20) + 1, false)] {
        std::fs::write(&path, "\n".repeat(bytes)).unwrap();
        assert_eq!(load(&path).is_ok(), accepted, "{bytes} bytes");
    }
}
