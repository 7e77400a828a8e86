//! What a signature covers, and which keys count.

use super::*;

fn vouched(trust: &Trust, signatures: &[Signed], bytes: &[u8]) -> Result<usize, String> {
    trust
        .trusted_signers(signatures, bytes)
        .map(|keys| keys.len())
}

#[test]
fn a_signature_counts_only_over_its_own_bytes_by_a_trusted_key_that_is_not_revoked() {
    let folder = tempfile::tempdir().expect("a folder");
    let (key, file) = PrivateKey::generate().expect("a key");
    let path = folder.path().join("key");
    std::fs::write(&path, file).expect("written");
    let again = PrivateKey::read(&path).expect("read back");
    assert_eq!(again.public(), key.public());
    let model = ModelName::parse("m").expect("legal");
    let digest = crate::core::hash::Digest::of(b"x");
    let bytes = statement("n", &model, &digest);
    let signed = again.sign(&bytes);
    let mut trust = Trust {
        format: 1,
        keys: Vec::new(),
    };

    assert!(vouched(&trust, &[], &bytes).is_err_and(|w| w.contains("not signed")));
    assert!(
        vouched(&trust, std::slice::from_ref(&signed), &bytes)
            .is_err_and(|w| w.contains("not trusted here"))
    );
    trust.add(&key.public(), "ann").expect("trusted");
    assert_eq!(
        vouched(&trust, std::slice::from_ref(&signed), &bytes),
        Ok(1)
    );
    for other in [
        statement("other", &model, &digest),
        statement("n", &model, &crate::core::hash::Digest::of(b"y")),
    ] {
        assert!(
            vouched(&trust, std::slice::from_ref(&signed), &other)
                .is_err_and(|w| w.contains("not valid for this"))
        );
    }

    let (stranger, _) = PrivateKey::generate().expect("a key");
    let forged = Signed {
        key: key.public(),
        ..stranger.sign(&bytes)
    };

    assert!(vouched(&trust, &[forged], &bytes).is_err());
    assert_eq!(
        vouched(&trust, &[stranger.sign(&bytes), signed.clone()], &bytes),
        Ok(1)
    );
    trust
        .revoke(&key.public(), "lost", Utc::now())
        .expect("revoked");
    assert!(vouched(&trust, &[signed], &bytes).is_err_and(|w| w.contains("revoked at")));
    assert!(
        trust.add(&key.public(), "ann").is_err(),
        "a revoked key cannot be trusted again"
    );
    let file = folder.path().join("trust.json");
    trust.write(&file).expect("written");
    assert_eq!(Trust::read(&file).expect("read"), trust);
}

#[test]
fn an_invalid_key_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key");
    for text in [
        "",
        "nonsense",
        "ortus-private-key-1\n!!\n",
        "ortus-private-key-1\nAAAA\n",
    ] {
        std::fs::write(&path, text).expect("written");
        assert!(PrivateKey::read(&path).is_err(), "{text:?}");
    }

    for key in ["", "ed25519:", "ed25519:AAAA", "rsa:AAAA"] {
        assert!(check_public(key).is_err(), "{key}");
        assert!(!is_valid(
            &Signed {
                key: key.to_owned(),
                value: "AAAA".to_owned()
            },
            b"x"
        ));
    }

    std::fs::write(&path, "{\"format\":2,\"keys\":[]}").expect("written");
    assert!(Trust::read(&path).is_err());
}
