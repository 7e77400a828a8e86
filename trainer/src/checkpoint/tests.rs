//! Tests of `checkpoint`.

use super::*;
use ortus::testing::with_records;

#[test]
fn a_checkpoint_is_kept_once_and_a_damaged_one_is_replaced() {
    with_records(async |records| {
        let model = ModelName::parse("m").expect("a name");
        let (one, other) = (Digest::of(b"1"), Digest::of(b"2"));
        let steps = Checkpoints::of(records.clone(), &model, &one);
        assert_eq!(steps.done("fit").await.expect("read"), None);
        assert_eq!(
            steps.keep("fit", "first".into()).await.expect("kept"),
            "first"
        );
        assert_eq!(
            steps.keep("fit", "second".into()).await.expect("kept"),
            "first",
            "the first counts"
        );
        assert_eq!(
            Checkpoints::of(records.clone(), &model, &other)
                .done("fit")
                .await
                .expect("read"),
            None
        );
        let key = format!("{}/fit", steps.folder);
        let mut bytes = records
            .get(&key, 1 << 20)
            .await
            .expect("read")
            .expect("there")
            .to_vec();
        bytes[DIGEST] ^= 1;
        records
            .overwrite(&key, bytes.into())
            .await
            .expect("written");
        assert_eq!(steps.done("fit").await.expect("read"), None, "damaged");
        assert_eq!(
            steps.keep("fit", "third".into()).await.expect("kept"),
            "third"
        );
        assert_eq!(steps.done("fit").await.expect("read"), Some("third".into()));
        clear_old(&records, &model, Utc::now())
            .await
            .expect("swept");
        assert!(steps.done("fit").await.expect("read").is_some(), "young");
        clear_old(&records, &model, Utc::now() + TimeDelta::days(8))
            .await
            .expect("swept");
        assert_eq!(steps.done("fit").await.expect("read"), None);
    });
}
