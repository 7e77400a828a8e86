//! The forms and ranges of values.

use super::*;

/// Refuses a setting of line 1 with a message that names the accepted values.
fn refuse_form(setting: &str, message: &str) {
    refuse(setting, message);
    refuse(setting, "ortus.toml:1: ");
}

#[test]
fn server_setting_of_the_wrong_form_is_refused_with_the_accepted_values() {
    refuse_form(
        "server.http = \"localhost\"",
        "'http' in [server] is \"localhost\"; it must be an IP address and a port",
    );
    refuse_form("server.http = 8000", "it must be an IP address and a port");
    refuse_form("server.io_threads = \"four\"", "it must be an integer");
    refuse_form("server.io_threads = -1", "it must be an integer from 0");
    refuse_form("server.drain = 25", "it must be a duration in a string");
    refuse_form("server.drain = \"1.5s\"", "it must be a duration");
    refuse_form("server.drain = \"-1s\"", "it must be a duration");
    refuse_form("server.drain = \"5w\"", "it must be a duration");
    refuse_form(
        "server.drain = \"99999999999999999999s\"",
        "it must be a duration",
    );
    refuse_form(
        "server.drain = \"9999999999999999h\"",
        "it must be a duration",
    );
    refuse_form("server.ports_file = \"\"", "it must be a path");
}

#[test]
fn setting_of_limits_models_runtime_or_log_of_the_wrong_form_is_refused() {
    refuse_form(
        "limits.message_bytes_max = \"64MB\"",
        "it must be a number of bytes",
    );
    refuse_form(
        "limits.message_bytes_max = \"99999999999999GiB\"",
        "it must be a number of bytes",
    );
    refuse_form(
        "limits.message_bytes_max = -5",
        "it must be a number of bytes",
    );
    refuse_form(
        "models.control = \"auto\"",
        "it must be one of \"none\", \"poll\", \"explicit\"",
    );
    refuse_form("models.defaults = 3", "unknown key 'defaults' in [models]");
    refuse_form("runtime.offline = \"yes\"", "it must be true or false");
    refuse_form("log.level = \"inof\"", "it must be off, error");
    refuse_form(
        "log.format = \"xml\"",
        "it must be one of \"text\", \"json\"",
    );
}

#[test]
fn setting_of_a_model_of_the_wrong_form_is_refused() {
    refuse_form(
        "model.m.versions = \"newest\"",
        "it must be \"all\", \"latest:N\"",
    );
    refuse_form("model.m.versions = \"latest:0\"", "it must be \"all\"");
    refuse_form("model.m.versions = \"latest:1025\"", "it must be \"all\"");
    refuse_form("model.m.versions = []", "it must be \"all\"");
    refuse_form("model.m.versions = [0]", "it must be \"all\"");
    refuse_form("model.m.versions = [1, 1]", "it must be \"all\"");
    refuse_form(
        "model.m.labels = { stable = 0 }",
        "it must be a table of at most 256 labels",
    );
    refuse_form(
        "model.m.labels = { 12 = 1 }",
        "it must be a table of at most 256 labels",
    );
    refuse_form(
        "model.m.labels = { \"a/b\" = 1 }",
        "it must be a table of at most 256 labels",
    );
    refuse_form("model.m.providers = []", "it must be a list of \"cpu\"");
    refuse_form(
        "model.m.providers = [\"gpu\"]",
        "it must be a list of \"cpu\"",
    );
    refuse_form(
        "model.m.providers = [{ options = {} }]",
        "it must be a list of \"cpu\"",
    );
    refuse_form(
        "model.m.providers = [{ name = \"cuda\", option = {} }]",
        "it must be a list of \"cpu\"",
    );
    refuse_form("model.m.providers = [\"cpu\", \"cuda\"]", "\"cpu\" last");
    refuse_form(
        "model.m.providers = [\"cuda\", \"cuda\"]",
        "names each provider once",
    );
    refuse_form("model.\"a b\".lanes = 1", "[model.a b]: the model name");
}

/// Accepts both ends of a setting's range and refuses the values beyond them.
fn check_range(path: &str, ends: [&str; 2], beyond: &[&str]) {
    for value in ends {
        let config = accept(&format!("{path} = {value}"));
        assert!(at(&config, path).is_some(), "{path}");
    }

    for value in beyond {
        refuse(&format!("{path} = {value}"), "; it must be from ");
    }
}

#[test]
fn range_of_a_server_or_limits_setting_is_checked_below_at_and_above() {
    check_range("server.io_threads", ["0", "1024"], &["1025"]);
    check_range("server.drain_delay", ["'0s'", "'10m'"], &["'601s'"]);
    check_range("server.drain", ["'0s'", "'1h'"], &["'3601s'"]);
    check_range(
        "limits.message_bytes_max",
        ["1024", "67108864"],
        &["1023", "'2049MiB'"],
    );
    check_range(
        "limits.bytes_in_flight_max",
        ["'64MiB'", "'1024GiB'"],
        &["1", "'1025GiB'"],
    );
    check_range(
        "limits.header_list_bytes_max",
        ["4096", "'1MiB'"],
        &["4095", "1048577"],
    );
    check_range(
        "limits.header_timeout",
        ["'1ms'", "'10m'"],
        &["'999us'", "'601s'"],
    );
    check_range(
        "limits.read_timeout",
        ["'1ms'", "'1h'"],
        &["'999us'", "'3601s'"],
    );
    check_range(
        "limits.idle_timeout",
        ["'1ms'", "'24h'"],
        &["'0s'", "'25h'"],
    );
    check_range(
        "limits.concurrent_streams_max",
        ["1", "65536"],
        &["0", "65537"],
    );
    check_range(
        "limits.local_error_reset_streams_max",
        ["1", "65536"],
        &["0", "65537"],
    );
    check_range(
        "limits.pending_accept_reset_streams_max",
        ["1", "65536"],
        &["0", "65537"],
    );
    check_range(
        "limits.connections_max",
        ["1", "1000000"],
        &["0", "1000001"],
    );
    check_range(
        "limits.decompressed_bytes_max",
        ["1024", "'2GiB'"],
        &["1023", "2147483649"],
    );
    accept("limits = { message_bytes_max = '2GiB', bytes_in_flight_max = '2GiB' }");
}

#[test]
fn range_of_a_model_setting_is_checked_below_at_and_above() {
    check_range("models.poll", ["'10ms'", "'1h'"], &["'9ms'", "'61m'"]);
    check_range("models.settle", ["'0ms'", "'1h'"], &["'61m'"]);
    check_range(
        "models.defaults.batch_rows_max",
        ["1", "4096"],
        &["0", "65537"],
    );
    check_range("model.m.batch_rows_max", ["1", "4096"], &["0", "65537"]);
    check_range(
        "model.m.queue_rows_max",
        ["64", "16777216"],
        &["0", "16777217"],
    );
    check_range("model.m.lanes", ["0", "1024"], &["1025"]);
    check_range("model.m.intra_op_threads", ["1", "1024"], &["0", "1025"]);
    check_range("model.m.batch_delay", ["'0s'", "'10s'"], &["'10001ms'"]);
    check_range("model.m.batch_recheck", ["'0s'", "'1h'"], &["'61m'"]);
    check_range(
        "model.m.request_timeout",
        ["'1ms'", "'1h'"],
        &["'0s'", "'3601s'"],
    );

    refuse(
        "model.m.request_timeout = '0s'",
        "'request_timeout' in [model.m] is \"0s\"; it must be from \"1ms\" to \"3600s\"",
    );
    accept("model.m = { batch_rows_max = 65536, queue_rows_max = 65536 }");
}

#[test]
fn padding_is_a_table_of_its_own_and_can_be_turned_off_for_one_model() {
    let table = "lengths = [16, 32]\ninputs = { ids = 0 }\nmask = \"mask\"";
    let both = format!("[models.defaults.padding]\n{table}\n[model.m]\npadding = \"off\"");
    let config = accept(&both);
    assert!(config.model("other").padding.is_some() && config.model("m").padding.is_none());
    let own = accept(&format!("[model.m.padding]\n{table}\ntokens_max = 64"));
    let padding = own.model("m").padding.expect("set");
    assert_eq!(
        (padding.lengths, padding.tokens_max),
        (vec![16, 32], Some(64))
    );
    refuse(
        &format!("[model.m.padding]\n{table}\ntokens_max = 8"),
        "'padding' in [model.m] is not accepted; it must be a table whose 'tokens_max' is at least its longest length, 32",
    );
    refuse(
        "[model.m.padding]\nlength = [8]",
        "'length' is unknown; did you mean 'lengths'?",
    );
}

#[test]
fn a_flag_or_variable_sets_one_key_of_padding() {
    let table =
        "[models.defaults.padding]\nlengths = [16, 32]\ninputs = { ids = 0 }\nmask = \"mask\"";
    let merged = |env: &[(&str, &str)], flags: Vec<(String, toml::Value)>| {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        crate::config::load::merge(Some(("ortus.toml", table)), env, flags)
    };
    let flag = |path: &str, value: toml::Value| vec![(path.to_owned(), value)];
    let tokens = |config: crate::config::Config, model: &str| {
        let padding = config.model(model).padding.expect("set");
        (padding.lengths, padding.tokens_max)
    };

    let config = merged(&[], flag("model.a.b.padding.tokens_max", 64.into())).expect("legal");
    assert_eq!(tokens(config.clone(), "a.b"), (vec![16, 32], Some(64)));
    assert_eq!(tokens(config, "other"), (vec![16, 32], None));
    let env = [("ORTUS_MODELS__DEFAULTS__PADDING__LENGTHS", "[8]")];
    let config = merged(&env, Vec::new()).expect("legal");
    assert_eq!(tokens(config, "other"), (vec![8], None));
    let small = merged(&[], flag("model.m.padding.tokens_max", 10.into()));
    let fault = small.expect_err("below a length").message;
    assert!(
        fault.starts_with("flag model.m.padding.tokens_max: 'padding' in [model.m] is not accepted; it must be a table whose 'tokens_max'"),
        "{fault}"
    );
}

#[test]
fn memory_share_is_a_quarter_of_the_usable_memory() {
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
