//! Which layer overrides which: file, variables, flags, and the sections of models.

use super::*;

#[test]
fn later_layer_overrides_an_earlier_one() {
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
fn model_section_overrides_the_defaults_key_by_key() {
    let text = "
        [models.defaults]
        batch_rows_max = 8
        request_timeout = '1s'
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
        (fraud.batch_rows_max, fraud.request_timeout),
        (16, Some(Duration::from_secs(1)))
    );
    assert_eq!(
        fraud.version_policy,
        VersionPolicy::Specific(vec![version(1), version(3)])
    );
    assert_eq!(
        fraud.labels,
        BTreeMap::from([("canary".to_owned(), version(3))])
    );
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
            cpu()
        ]
    );

    assert_eq!(config.model("a.b").version_policy, VersionPolicy::Latest(2));
    assert_eq!(config.model("other").batch_rows_max, 8);

    let set = config.overrides("fraud");
    assert_eq!(
        (set.batch_rows_max, set.request_timeout, set.lanes),
        (Some(16), Some(fraud.request_timeout), None)
    );
    assert_eq!(
        config.overrides("other").labels,
        Some(BTreeMap::from([("stable".to_owned(), version(1))]))
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
    assert!(check(|m| m.batch_rows_max = 4097).contains("could never hold a full batch"));
    assert!(check(|m| m.version_policy = VersionPolicy::Latest(0)).contains("'versions' is"));
    assert!(check(|m| m.request_timeout = Some(Duration::ZERO)).contains("'request_timeout' is"));
    assert!(check(|m| m.providers.clear()).contains("'providers' is []"));
    assert!(
        check(|m| m.labels = BTreeMap::from([("9".into(), version(1))])).contains("'labels' is")
    );
}
