//! Tests of `copies`.

use super::*;
use crate::core::error::Kind;

#[test]
fn a_full_or_closed_place_is_named_with_its_remedy() {
    for (kind, expected, remedy) in [
        (
            io::ErrorKind::StorageFull,
            Kind::ResourceExhausted,
            "; free space there",
        ),
        (
            io::ErrorKind::QuotaExceeded,
            Kind::ResourceExhausted,
            "; free space there",
        ),
        (
            io::ErrorKind::PermissionDenied,
            Kind::ResourceExhausted,
            "may write to",
        ),
        (
            io::ErrorKind::ReadOnlyFilesystem,
            Kind::ResourceExhausted,
            "may write to",
        ),
        (
            io::ErrorKind::NotADirectory,
            Kind::Unavailable,
            "in models.weights_cache",
        ),
    ] {
        let error = not_copied(kind.into());
        assert!(
            error.kind == expected && error.message.contains(remedy),
            "{kind:?}: {error}"
        );
    }
}
