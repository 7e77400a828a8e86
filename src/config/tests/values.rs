//! The forms and ranges of values.

use super::*;

#[test]
fn value_of_the_wrong_form_is_refused_with_what_it_must_be() {
    let cases = [
        (
            "server.http = \"localhost\"",
            "'http' in [server] is \"localhost\"; it must be an IP address and a port",
        ),
        ("server.http = 8000", "it must be an IP address and a port"),
        ("server.io_threads = \"four\"", "it must be an integer"),
        ("server.io_threads = -1", "it must be an integer from 0"),
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
