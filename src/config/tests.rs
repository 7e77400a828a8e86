//! Precedence, ranges, suggestions, and the way back to TOML.

use super::model::{Batching, Provider, ProviderKind, VersionPolicy};
use super::*;

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
    assert_eq!(model.providers, [Provider::cpu()]);
    assert_eq!(model.version_policy, VersionPolicy::Latest(1));
    assert_eq!((model.deadline, model.batch_delay), (None, Duration::ZERO));
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
    refuse("[log]\nzzzzzzzz = 1", "in [log]; known are level, format");
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
fn first_fault_of_the_file_is_the_one_named() {
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
fn value_of_the_wrong_form_is_refused_with_what_it_must_be() {
    let cases = [
        (
            "server.http = \"localhost\"",
            "'http' in [server] is \"localhost\"; it must be an IP address and a port",
        ),
        ("server.http = 8000", "it must be an IP address and a port"),
        ("server.io_threads = \"four\"", "it must be a whole number"),
        ("server.io_threads = -1", "it must be a whole number from 0"),
        ("server.drain = 25", "it must be a duration in a string"),
        ("server.drain = \"1.5s\"", "it must be a duration"),
        ("server.drain = \"-1s\"", "it must be a duration"),
        ("server.drain = \"5w\"", "it must be a duration"),
        (
            "server.drain = \"99999999999999999999s\"",
            "it must be a duration",
        ),
        (
            "server.drain = \"9999999999999999h\"",
            "it must be a duration",
        ),
        ("server.ports_file = \"\"", "it must be a path"),
        (
            "limits.message_bytes_max = \"64MB\"",
            "it must be a number of bytes",
        ),
        (
            "limits.message_bytes_max = \"99999999999999GiB\"",
            "it must be a number of bytes",
        ),
        (
            "limits.message_bytes_max = -5",
            "it must be a number of bytes",
        ),
        (
            "models.control = \"auto\"",
            "it must be one of \"none\", \"poll\", \"explicit\"",
        ),
        ("models.defaults = 3", "unknown key 'defaults' in [models]"),
        ("runtime.offline = \"yes\"", "it must be true or false"),
        ("log.level = \"inof\"", "it must be off, error"),
        (
            "log.format = \"xml\"",
            "it must be one of \"text\", \"json\"",
        ),
        (
            "model.m.versions = \"newest\"",
            "it must be \"all\", \"latest:N\"",
        ),
        ("model.m.versions = \"latest:0\"", "it must be \"all\""),
        ("model.m.versions = \"latest:1025\"", "it must be \"all\""),
        ("model.m.versions = []", "it must be \"all\""),
        ("model.m.versions = [0]", "it must be \"all\""),
        ("model.m.versions = [1, 1]", "it must be \"all\""),
        (
            "model.m.labels = { stable = 0 }",
            "it must be a table of at most 256 labels",
        ),
        (
            "model.m.labels = { 12 = 1 }",
            "it must be a table of at most 256 labels",
        ),
        (
            "model.m.labels = { \"a/b\" = 1 }",
            "it must be a table of at most 256 labels",
        ),
        ("model.m.providers = []", "it must be a list of \"cpu\""),
        (
            "model.m.providers = [\"gpu\"]",
            "it must be a list of \"cpu\"",
        ),
        (
            "model.m.providers = [{ options = {} }]",
            "it must be a list of \"cpu\"",
        ),
        (
            "model.m.providers = [{ name = \"cuda\", option = {} }]",
            "it must be a list of \"cpu\"",
        ),
        ("model.m.providers = [\"cpu\", \"cuda\"]", "\"cpu\" last"),
        (
            "model.m.providers = [\"cuda\", \"cuda\"]",
            "names each provider once",
        ),
        ("model.\"a b\".lanes = 1", "[model.a b]: the model name"),
    ];
    for (text, message) in cases {
        refuse(text, message);
        refuse(text, "ortus.toml:1: ");
    }
}

#[test]
fn range_is_checked_below_at_and_above() {
    let cases = [
        ("server.io_threads", "0", "1024", None, Some("1025")),
        ("server.drain_delay", "'0s'", "'10m'", None, Some("'601s'")),
        ("server.drain", "'0s'", "'1h'", None, Some("'3601s'")),
        (
            "limits.message_bytes_max",
            "1024",
            "67108864",
            Some("1023"),
            Some("'2049MiB'"),
        ),
        (
            "limits.bytes_in_flight_max",
            "'64MiB'",
            "'1024GiB'",
            Some("1"),
            Some("'1025GiB'"),
        ),
        (
            "limits.header_list_bytes_max",
            "4096",
            "'1MiB'",
            Some("4095"),
            Some("1048577"),
        ),
        (
            "limits.header_timeout",
            "'1ms'",
            "'10m'",
            Some("'999us'"),
            Some("'601s'"),
        ),
        (
            "limits.read_timeout",
            "'1ms'",
            "'1h'",
            Some("'999us'"),
            Some("'3601s'"),
        ),
        (
            "limits.idle_timeout",
            "'1ms'",
            "'24h'",
            Some("'0s'"),
            Some("'25h'"),
        ),
        (
            "limits.concurrent_streams_max",
            "1",
            "65536",
            Some("0"),
            Some("65537"),
        ),
        (
            "limits.local_error_reset_streams_max",
            "1",
            "65536",
            Some("0"),
            Some("65537"),
        ),
        (
            "limits.pending_accept_reset_streams_max",
            "1",
            "65536",
            Some("0"),
            Some("65537"),
        ),
        (
            "limits.connections_max",
            "1",
            "1000000",
            Some("0"),
            Some("1000001"),
        ),
        (
            "limits.decompressed_bytes_max",
            "1024",
            "'2GiB'",
            Some("1023"),
            Some("2147483649"),
        ),
        (
            "limits.decompression_ratio_max",
            "2",
            "10000",
            Some("1"),
            Some("10001"),
        ),
        (
            "models.poll",
            "'10ms'",
            "'1h'",
            Some("'9ms'"),
            Some("'61m'"),
        ),
        ("models.settle", "'0ms'", "'1h'", None, Some("'61m'")),
        (
            "models.defaults.batch_rows_max",
            "1",
            "4096",
            Some("0"),
            Some("65537"),
        ),
        (
            "model.m.batch_rows_max",
            "1",
            "4096",
            Some("0"),
            Some("65537"),
        ),
        (
            "model.m.queue_rows_max",
            "64",
            "16777216",
            Some("0"),
            Some("16777217"),
        ),
        ("model.m.lanes", "0", "1024", None, Some("1025")),
        (
            "model.m.intra_op_threads",
            "1",
            "1024",
            Some("0"),
            Some("1025"),
        ),
        (
            "model.m.batch_delay",
            "'0s'",
            "'10s'",
            None,
            Some("'10001ms'"),
        ),
        (
            "model.m.deadline",
            "'1ms'",
            "'1h'",
            Some("'0s'"),
            Some("'3601s'"),
        ),
    ];
    for (path, least, most, below, above) in cases {
        for value in [least, most] {
            let config = accept(&format!("{path} = {value}"));
            assert!(at(&config, path).is_some(), "{path}");
        }
        for value in [below, above].into_iter().flatten() {
            refuse(&format!("{path} = {value}"), "; it must be from ");
        }
    }
    refuse(
        "model.m.deadline = '0s'",
        "'deadline' in [model.m] is \"0s\"; it must be from \"1ms\" to \"3600s\"",
    );
    accept("model.m = { batch_rows_max = 65536, queue_rows_max = 65536 }");
    accept("limits = { message_bytes_max = '2GiB', bytes_in_flight_max = '2GiB' }");
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let queue = "ortus.toml:2: [model.m]: 'queue_rows_max' is 99, less than 'batch_rows_max', 100";
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
    refuse(
        "limits.bytes_in_flight_max = '63MiB'",
        "less than 'message_bytes_max', 67108864",
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
}

#[test]
fn later_layer_wins() {
    let file = "[server]\nio_threads = 1\n[model.m]\nlanes = 1";
    let env = [
        ("ORTUS_SERVER__IO_THREADS", "2"),
        ("ORTUS_MODEL__M__LANES", "2"),
    ];
    let flags = [
        ("server.io_threads", Value::Integer(3)),
        ("model.m.lanes", Value::Integer(3)),
    ];
    let threads = |config: Result<Config>| {
        let config = config.unwrap();
        (config.server.io_threads, config.model("m").lanes)
    };
    assert_eq!(threads(load("", &[], &[])), (0, 0));
    assert_eq!(threads(load(file, &[], &[])), (1, 1));
    assert_eq!(threads(load(file, &env, &[])), (2, 2));
    assert_eq!(threads(load(file, &env, &flags)), (3, 3));
    assert_eq!(threads(load("", &[], &flags)), (3, 3));
}

#[test]
fn variable_is_a_toml_value_or_text() {
    let cases = [
        (
            "ORTUS_SERVER__HTTP",
            "127.0.0.1:9000",
            "server.http",
            Value::from("127.0.0.1:9000"),
        ),
        (
            "ORTUS_SERVER__HTTP",
            "\"127.0.0.1:9000\"",
            "server.http",
            Value::from("127.0.0.1:9000"),
        ),
        (
            "ORTUS_SERVER__DRAIN",
            "2m",
            "server.drain",
            Value::from("120s"),
        ),
        (
            "ORTUS_LIMITS__MESSAGE_BYTES_MAX",
            "1MiB",
            "limits.message_bytes_max",
            Value::from(1 << 20),
        ),
        (
            "ORTUS_MODELS__DIRECTORY",
            "2024",
            "models.directory",
            Value::from("2024"),
        ),
        (
            "ORTUS_MODELS__DIRECTORY",
            "/srv/models",
            "models.directory",
            Value::from("/srv/models"),
        ),
        (
            "ORTUS_MODELS__DEFAULTS__LANES",
            "7",
            "models.defaults.lanes",
            Value::from(7),
        ),
        (
            "ORTUS_MODEL__A__B__LANES",
            "7",
            "model.a__b.lanes",
            Value::from(7),
        ),
        (
            "ORTUS_MODEL__M__VERSIONS",
            "[1, 3]",
            "model.m.versions",
            Value::from(vec![1, 3]),
        ),
        (
            "ORTUS_RUNTIME__OFFLINE",
            "true",
            "runtime.offline",
            Value::from(true),
        ),
    ];
    for (name, text, path, value) in cases {
        assert_eq!(
            at(&load("", &[(name, text)], &[]).unwrap(), path),
            Some(value),
            "{name}"
        );
    }
}

#[test]
fn unknown_variable_or_flag_is_refused_by_name() {
    refuse_variable(
        "ORTUS_SERVER__HTPP",
        "1",
        "unknown key 'htpp' in [server]; did you mean 'http'?",
    );
    refuse_variable(
        "ORTUS_SEVER__HTTP",
        "1",
        "unknown section 'sever'; did you mean 'server'?",
    );
    refuse_variable("ORTUS_SERVER__", "1", "unknown key ''");
    refuse_variable("ORTUS___", "1", "unknown section");
    refuse_variable("ORTUS_MODEL__A B__LANES", "1", "the model name");
    refuse_variable(
        "ORTUS_SERVER__IO_THREADS",
        "1025",
        "is 1025; it must be from 0 to 1024",
    );
    for name in ["ORTUS_HOME", "ORTUS_", "PATH__X", "ortus_server__http"] {
        assert_eq!(
            load("", &[(name, "1")], &[]).unwrap(),
            Config::default(),
            "{name}"
        );
    }
    let flag = |path, message: &str| {
        let error = load("", &[], &[(path, Value::Integer(1))]).expect_err(path);
        assert!(
            error.message.starts_with("flag ") && error.message.contains(message),
            "{error}"
        );
    };
    flag(
        "server.htpp",
        "flag server.htpp: unknown key 'htpp' in [server]; did you mean 'http'?",
    );
    flag("http", "flag http: key 'http' is outside of any section");
    flag("server.http", "it must be an IP address");
}

#[test]
fn model_section_covers_the_defaults_key_by_key() {
    let text = "
        [models.defaults]
        batch_rows_max = 8
        deadline = '1s'
        labels = { stable = 1 }
        [model.fraud]
        batch_rows_max = 16
        providers = [{ name = 'cuda', options = { device_id = 0, tf32 = true } }, 'cpu']
        versions = [1, 3]
        [model.fraud.labels]
        canary = 3
        [model.'a.b']
        versions = 'latest:2'";
    let config = accept(text);
    let fraud = config.model("fraud");
    assert_eq!(
        (fraud.batch_rows_max, fraud.deadline),
        (16, Some(Duration::from_secs(1)))
    );
    assert_eq!(fraud.version_policy, VersionPolicy::Specific(vec![1, 3]));
    assert_eq!(fraud.labels, BTreeMap::from([("canary".to_owned(), 3)]));
    let options = BTreeMap::from([
        ("device_id".to_owned(), "0".to_owned()),
        ("tf32".to_owned(), "true".to_owned()),
    ]);
    assert_eq!(
        fraud.providers,
        [
            Provider {
                kind: ProviderKind::Cuda,
                options
            },
            Provider::cpu()
        ]
    );
    assert_eq!(config.model("a.b").version_policy, VersionPolicy::Latest(2));
    assert_eq!(config.model("other").batch_rows_max, 8);

    let set = config.overrides("fraud");
    assert_eq!(
        (set.batch_rows_max, set.deadline, set.lanes),
        (Some(16), Some(fraud.deadline), None)
    );
    assert_eq!(
        config.overrides("other").labels,
        Some(BTreeMap::from([("stable".to_owned(), 1)]))
    );
    let file = ModelOverrides {
        batch_rows_max: Some(2),
        lanes: Some(2),
        ..ModelOverrides::default()
    };
    let merged = set.over(file).resolve();
    assert_eq!((merged.batch_rows_max, merged.lanes), (16, 2));
}

#[test]
fn settings_from_elsewhere_are_checked_too() {
    assert!(Model::default().check().is_ok());
    let check = |change: fn(&mut Model)| {
        let mut model = Model::default();
        change(&mut model);
        model.check().expect_err("out of range").message
    };
    assert!(
        check(|m| m.batch_rows_max = 0)
            .contains("'batch_rows_max' is 0; it must be from 1 to 65536")
    );
    assert!(check(|m| m.batch_rows_max = 4097).contains("a full batch could never wait"));
    assert!(check(|m| m.version_policy = VersionPolicy::Latest(0)).contains("'versions' is"));
    assert!(check(|m| m.deadline = Some(Duration::ZERO)).contains("'deadline' is"));
    assert!(check(|m| m.providers.clear()).contains("'providers' is []"));
    assert!(check(|m| m.labels = BTreeMap::from([("9".into(), 1)])).contains("'labels' is"));
}

#[test]
fn effective_values_round_trip() {
    let texts = [
        "",
        "server = { ports_file = '/tmp/p', drain = '1500us' }",
        "models = { directory = '/m', control = 'explicit', poll = '250ms' }\nlog = { level = 'warn,a=debug', format = 'json' }",
        "[models.defaults]\ndeadline = '2s'\n[model.'a.b']\nlabels = { x = 1 }\nversions = 'all'\n[model.c]\nlanes = 3",
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
        "library",
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
    assert_eq!(Model::KEYS.len(), 15);
}

#[test]
fn memory_share_is_a_quarter_of_what_may_be_used() {
    let meminfo = |kib: u64| format!("MemTotal:       {kib} kB\nMemFree: 1 kB\n");
    assert_eq!(
        crate::api::memory::share(&meminfo(16 << 20), "max\n"),
        4 << 30
    );
    assert_eq!(
        crate::api::memory::share(&meminfo(16 << 20), "2147483648\n"),
        512 << 20
    );
    assert_eq!(
        crate::api::memory::share(&meminfo(1 << 20), "9223372036854771712"),
        256 << 20
    );
    assert_eq!(crate::api::memory::share(&meminfo(1), ""), 64 << 20);
    assert_eq!(crate::api::memory::share("", ""), 1 << 30);
    let config = accept("limits.bytes_in_flight_max = 0");
    assert_eq!(
        config.limits.bytes_in_flight_max,
        crate::api::memory::quarter()
    );
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
