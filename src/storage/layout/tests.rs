//! Tests of `layout`.

use super::*;
use crate::testing::block_on;

#[test]
fn servers_of_one_store_share_a_key() {
    block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let url = folder.path().join("s").display().to_string();
        let records = Records::open(&url, "default").expect("opens");
        let first = records.fleet_key().await.expect("a key");
        assert_eq!(
            Records::open(&url, "default")
                .expect("opens")
                .fleet_key()
                .await
                .expect("a key"),
            first
        );
        assert_ne!(
            Records::open(&url, "other")
                .expect("opens")
                .fleet_key()
                .await
                .expect("a key"),
            first
        );
        records
            .overwrite("key", "nonsense".into())
            .await
            .expect("written");
        assert!(records.fleet_key().await.is_err());
    });
}
