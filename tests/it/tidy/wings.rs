//! Which wing of the library may import which.

/// Wing, a folder of `src/` with its page beside it → the wings that it may import, in `lib.rs`'s order.
pub(super) const WINGS: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("proto", &[]),
    ("explain", &["core"]),
    ("sandbox", &["core"]),
    ("onnx", &["core", "proto", "sandbox"]),
    ("storage", &["core"]),
    ("observe", &["core", "proto", "onnx", "storage"]),
    (
        "registry",
        &["core", "explain", "onnx", "storage", "sandbox", "observe"],
    ),
    (
        "serve",
        &[
            "core", "explain", "onnx", "sandbox", "storage", "observe", "registry",
        ],
    ),
    ("client", &["core", "proto", "observe"]),
    (
        "api",
        &[
            "core", "explain", "proto", "onnx", "storage", "observe", "registry", "serve",
        ],
    ),
    (
        "config",
        &[
            "core", "onnx", "storage", "observe", "registry", "serve", "api",
        ],
    ),
    (
        "app",
        &[
            "core", "onnx", "sandbox", "storage", "observe", "registry", "serve", "client", "api",
            "config",
        ],
    ),
    (
        "cli",
        &[
            "core", "onnx", "storage", "observe", "registry", "serve", "client", "api", "config",
            "app",
        ],
    ),
    (
        "testing",
        &[
            "core", "proto", "onnx", "storage", "observe", "registry", "serve", "api",
        ],
    ),
    ("bin", &["cli"]),
    ("lib", &[]),
];
