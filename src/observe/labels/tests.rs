//! Tests of `labels` from their arrival to measured performance, on a store in a folder.

mod kept;
mod sliced;

use super::*;
use crate::core::hash::Digest;
use crate::core::model::Signature;
use crate::core::model::task::{Classification, Task};
use crate::core::request::id::minted_at;
use crate::observe::drift::watch::WatchSubject;
use crate::observe::quality::answer::{Label, RowAnswer};
use uuid::Uuid;

/// The labels of a server over a store.
struct Desk {
    feedback: Arc<Feedback>,
    mint: Arc<Mint>,
    worse: Arc<Mutex<Vec<PerformanceAlarm>>>,
    subject: Arc<WatchSubject>,
}

fn settings() -> FeedbackSettings {
    FeedbackSettings {
        corrections_max: 1,
        labels_max: 1_000,
        rows_max: 10_000,
        answers_bytes_max: 1 << 20,
        poll: Duration::from_millis(20),
        ..FeedbackSettings::default()
    }
}

fn desk(folder: &std::path::Path, settings: FeedbackSettings) -> Desk {
    let records = Records::open(&folder.display().to_string(), "default").expect("opens");
    let mint = Arc::new(Mint::new());
    mint.adopt([7; 16]);
    let worse: Arc<Mutex<Vec<PerformanceAlarm>>> = Arc::default();
    let sent = Arc::clone(&worse);
    let metrics = Metrics::new().expect("metrics");
    let sink: LossSink = Box::new(move |one| sent.lock().push(one.clone()));
    let runtime = tokio::runtime::Handle::current();
    let feedback = Feedback::start(
        (records, Arc::clone(&mint)),
        LabelOptions {
            settings,
            false_alarms_per_month: 1.0,
        },
        metrics,
        sink,
        &runtime,
    );

    let classes = ["no", "yes"].map(str::to_owned).to_vec();
    let task = Task::Classification(Classification {
        scores: 0,
        is_single: false,
        label: None,
        classes,
    });

    let subject = WatchSubject {
        model: ModelName::parse("m").expect("legal"),
        version: Version::new(3).expect("legal"),
        digest: Digest([3; 32]),
        signature: Signature {
            inputs: Vec::new(),
            outputs: Vec::new(),
            ..Signature::default()
        },
        features: Vec::new(),
        baseline: None,
        task: Some(task),
        slices: vec!["colour".to_owned()],
        rules: Default::default(),
    };

    Desk {
        feedback,
        mint,
        worse,
        subject: Arc::new(subject),
    }
}

impl Desk {
    /// Predicts two rows: `no` with a score of 0.8, and `yes` with 0.6.
    fn predict(&self) -> Uuid {
        self.predict_by(&self.subject)
    }

    fn predict_by(&self, subject: &Arc<WatchSubject>) -> Uuid {
        let prediction = self.mint.mint();
        self.answer(subject, prediction);
        prediction
    }

    fn answer(&self, subject: &Arc<WatchSubject>, prediction: Uuid) {
        let answers = [
            Some(RowAnswer::Class(0, vec![0.8, 0.2])),
            Some(RowAnswer::Class(1, vec![0.4, 0.6])),
        ];
        let parts = [vec!["red".to_owned(), "blue".to_owned()]];
        let answered = Answered {
            subject,
            prediction,
            inputs: &[],
            optional: &[],
            outputs: &[],
            answers: &answers,
            parts: &parts,
        };

        self.feedback.keeper().keep(&answered);
    }

    async fn give(&self, id: Uuid, row: u32, label: &str) -> Result<Receipt> {
        let label = Label::Word(label.to_owned());
        self.feedback
            .accept(vec![Ok(Given {
                id,
                row,
                label,
                time: None,
            })])
            .await
    }

    /// Sends labels and compares the counts of accepted, joined and duplicate ones, and the refusal.
    async fn check(
        &self,
        (id, row, label): (Uuid, u32, &str),
        expected: (usize, usize, usize),
        refused: &str,
    ) {
        let receipt = self.give(id, row, label).await.expect("taken");
        assert_eq!(
            (receipt.accepted, receipt.joined, receipt.duplicates),
            expected,
            "{receipt:?}"
        );

        let said = receipt
            .refused
            .first()
            .map_or("", |r| r.error.message.as_str());
        assert!(
            said.contains(refused) && said.is_empty() == refused.is_empty(),
            "{said:?} does not say {refused:?}"
        );
    }

    fn window(&self) -> serde_json::Value {
        let reports = self.feedback.report(&self.subject.model, None);
        serde_json::to_value(reports.first().map(|r| &r.window)).expect("JSON")
    }

    async fn until(&self, what: &str, is: impl Fn(&serde_json::Value) -> bool) {
        for _ in 0..500 {
            if is(&self.window()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }

        panic!("{what}: {}", self.window());
    }
}

fn run(test: impl AsyncFnOnce(&std::path::Path)) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let folder = tempfile::tempdir().expect("a folder");

    runtime.expect("a runtime").block_on(test(folder.path()));
}

#[test]
fn labels_are_joined_once_and_corrected_up_to_the_limit() {
    run(async |folder| {
        let desk = desk(folder, settings());
        let id = desk.predict();
        desk.check((id, 0, "no"), (1, 1, 0), "").await;
        desk.check((id, 0, "no"), (0, 0, 1), "").await;
        desk.check((id, 1, "no"), (1, 1, 0), "").await;
        let window = desk.window();
        assert_eq!(
            (&window["labelled_rows"], &window["maturity"]),
            (&2.into(), &1.0.into())
        );
        assert_eq!(window["measures"]["accuracy"], 0.5);
        desk.check((id, 1, "yes"), (1, 1, 0), "").await;
        assert_eq!(desk.window()["measures"]["accuracy"], 1.0);
        desk.check((id, 1, "no"), (0, 0, 0), "corrected 1 time")
            .await;
        let slices = &desk.feedback.report(&desk.subject.model, None)[0].slices;
        assert_eq!((slices[0].part.as_str(), slices[0].rows), ("blue", 1));
    });
}

#[test]
fn labels_of_unknown_predictions_and_of_the_wrong_kind_are_refused() {
    run(async |folder| {
        let desk = desk(
            folder,
            FeedbackSettings {
                age_max: Duration::from_secs(3600),
                ..settings()
            },
        );
        let id = desk.predict();
        desk.check(
            (Uuid::now_v7(), 0, "no"),
            (0, 0, 0),
            "not of a prediction of this fleet",
        )
        .await;
        desk.check((id, 2, "no"), (0, 0, 0), "row 2").await;
        desk.check((id, 0, "maybe"), (0, 0, 0), "no, yes").await;
        let at = |seconds: i64| {
            chrono::DateTime::<Utc>::from(minted_at(id).expect("a time"))
                + chrono::TimeDelta::seconds(seconds)
        };
        for (seconds, part) in [(7_200, "future"), (-7_200, "older")] {
            let given = Given {
                id,
                row: 0,
                label: Label::Word("no".to_owned()),
                time: Some(at(seconds)),
            };
            let receipt = desk
                .feedback
                .accept(vec![Ok(given)])
                .await
                .expect("looked at");
            assert!(
                receipt.refused[0].error.message.contains(part),
                "{:?}",
                receipt.refused
            );
        }
        let none = desk.feedback.accept(Vec::new()).await.expect_err("none");
        assert!(none.message.contains("1 to 1000"), "{none}");
        assert_eq!(desk.window()["labelled_rows"], 0);
    });
}

#[test]
fn a_label_survives_a_restart_and_is_joined_by_the_server_that_predicted() {
    run(async |folder| {
        let (one, two) = (desk(folder, settings()), desk(folder, settings()));
        let id = one.predict();
        // The other server accepts the label without knowing the prediction.
        two.check((id, 0, "no"), (1, 0, 0), "").await;
        two.check((id, 0, "no"), (0, 0, 1), "").await;
        one.until("the maker joins it", |w| w["labelled_rows"] == 1)
            .await;
        two.until("and tells the other", |w| w["labelled_rows"] == 1)
            .await;
        let later = desk(folder, settings());
        later
            .until("a later one reads it", |w| w["labelled_rows"] == 1)
            .await;
        assert_eq!(later.window()["measures"]["accuracy"], 1.0);
        assert_eq!(one.window()["labelled_rows"], 1, "once");
    });
}

#[test]
fn of_two_labels_for_one_row_in_a_request_the_later_counts() {
    run(async |folder| {
        let desk = desk(folder, settings());
        let id = desk.predict();
        let label = |word: &str| {
            Ok(Given {
                id,
                row: 0,
                label: Label::Word(word.to_owned()),
                time: None,
            })
        };
        let receipt = desk
            .feedback
            .accept(vec![label("no"), label("yes")])
            .await
            .expect("taken");
        assert_eq!(receipt.accepted, 2);
        assert_eq!(
            desk.window()["measures"]["accuracy"],
            0.0,
            "yes is the truth, no was answered"
        );
        // Changed back: in whatever order labels are read, the last one counts.
        desk.check((id, 0, "no"), (0, 0, 0), "corrected").await;
        let later = self::desk(folder, settings());
        later
            .until("a later one reads it", |w| w["labelled_rows"] == 1)
            .await;
        assert_eq!(later.window()["measures"]["accuracy"], 0.0);
    });
}

#[test]
fn labels_from_before_the_start_do_not_count_in_the_test_again() {
    run(async |folder| {
        let first = desk(folder, settings());
        for round in 0..700 {
            let id = first.predict();
            first
                .check(
                    (id, 0, if round < 500 { "no" } else { "yes" }),
                    (1, 1, 0),
                    "",
                )
                .await;
        }
        assert_eq!(first.worse.lock().len(), 1);
        let again = desk(folder, settings());
        again.predict();
        again
            .until("they are read", |w| w["labelled_rows"] == 700)
            .await;
        assert_eq!(
            again.worse.lock().len(),
            0,
            "the alarm was raised before the restart"
        );
        assert!(again.feedback.report(&again.subject.model, None)[0].alarm);
    });
}

#[test]
fn labels_that_cannot_be_stored_are_not_acknowledged() {
    run(async |folder| {
        let desk = desk(folder, settings());
        let id = desk.predict();
        desk.check((id, 0, "no"), (1, 1, 0), "").await;
        // A file in place of the folder of labels makes writing impossible.
        let labels = folder.join("ns/default/records/labels");
        std::fs::remove_dir_all(&labels).expect("removed");
        std::fs::write(&labels, b"").expect("in the way");
        let refused = desk.give(id, 1, "no").await.expect_err("not stored");
        assert!(refused.message.contains("store the labels"), "{refused}");
        assert_eq!(desk.window()["labelled_rows"], 1, "and not counted");
    });
}

#[test]
fn a_model_that_got_worse_raises_one_alarm() {
    run(async |folder| {
        let desk = desk(folder, settings());
        for round in 0..800 {
            let id = desk.predict();
            let label = if round < 500 { "no" } else { "yes" };
            desk.check((id, 0, label), (1, 1, 0), "").await;
        }
        let worse = desk.worse.lock();
        assert_eq!(worse.len(), 1, "{worse:?}");
        assert!(
            worse[0].rows < 100 && worse[0].lost == worse[0].rows,
            "{worse:?}"
        );
        assert!(desk.feedback.report(&desk.subject.model, None)[0].alarm);
    });
}

#[test]
fn files_in_the_folder_are_imported_once() {
    run(async |folder| {
        let drop = folder.join("drop");
        std::fs::create_dir(&drop).expect("a folder");
        let desk = desk(
            folder,
            FeedbackSettings {
                drop: Some(drop.clone()),
                ..settings()
            },
        );
        let id = desk.predict();
        let file = drop.join("a.csv");
        std::fs::write(
            &file,
            format!("prediction_id,row,label\n{id},0,no\n{id},1,yes\n{id},7,yes\n"),
        )
        .expect("written");
        let old = std::time::SystemTime::now() - Duration::from_secs(60);
        std::fs::File::options()
            .write(true)
            .open(&file)
            .and_then(|f| f.set_modified(old))
            .expect("dated");
        desk.until("the file is taken", |w| w["labelled_rows"] == 2)
            .await;
        let note = drop.join("taken/a.csv.json");
        for _ in 0..500 {
            if note.exists() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let note: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&note).expect("a note")).expect("JSON");
        assert_eq!(
            (&note["accepted"], &note["refused"]),
            (&2.into(), &1.into())
        );
        assert!(
            note["errors"][0]["message"]
                .as_str()
                .is_some_and(|m| m.contains("row 7")),
            "{note}"
        );
        assert!(!file.exists() && drop.join("taken/a.csv").exists());
    });
}
