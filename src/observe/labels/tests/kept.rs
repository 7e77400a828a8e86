//! Tests of labels whose predictions are not in memory: of another run, dropped, or unknown.

use super::*;
use crate::observe::labels::state::RequestRows;
use crate::observe::report::performance::MeasuredPerformance;
use chrono::TimeDelta;

fn quick() -> FeedbackSettings {
    FeedbackSettings {
        answers_flush: Duration::from_millis(100),
        ..settings()
    }
}

impl Desk {
    fn measured(&self) -> MeasuredPerformance {
        self.feedback.report(&self.subject.model, None).remove(0)
    }

    /// Sends a label for the first row of each prediction; returns accepted, joined and pending.
    async fn give_all(&self, ids: &[Uuid], label: &str) -> (usize, usize, usize) {
        let given = ids.iter().map(|id| given(*id, 0, label)).collect();
        let receipt = self.feedback.accept(given).await.expect("taken");
        (receipt.accepted, receipt.joined, receipt.pending)
    }

    /// Waits until a condition holds.
    async fn eventually(&self, what: &str, is: impl Fn(&Desk) -> bool) {
        for _ in 0..1_000 {
            if is(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what}: {:?}", self.feedback.waiting());
    }
}

fn given(id: Uuid, row: u32, label: &str) -> Result<Given> {
    let label = Label::Word(label.to_owned());
    Ok(Given {
        id,
        row,
        label,
        time: None,
    })
}

#[test]
fn labels_of_predictions_made_before_a_restart_join() {
    run(async |folder| {
        let first = desk(folder, settings());
        let ids: Vec<Uuid> = (0..50).map(|_| first.predict()).collect();
        first.feedback.flush().await;
        drop(first);

        let again = desk(folder, settings());
        assert_eq!(again.give_all(&ids, "no").await, (50, 0, 50));
        again.until("they join", |w| w["labelled_rows"] == 50).await;
        let measured = again.measured();
        assert_eq!(measured.window.measures["accuracy"], 1.0);
        assert_eq!(
            (measured.window.predicted_rows, measured.window.maturity),
            (100, Some(0.5)),
            "the rows of the first run count"
        );
        assert_eq!(measured.slices[0].part, "red");
        assert_eq!(measured.pending_labels, 0);

        again.feedback.keeper().watched(&again.subject);
        // They are known now, so that duplicates, corrections and wrong rows are told at once.
        again.check((ids[0], 0, "no"), (0, 0, 1), "").await;
        let digest = again.subject.digest;
        assert_eq!(measured.digest, digest.to_string());
    });
}

#[test]
fn labels_of_predictions_that_left_memory_join() {
    run(async |folder| {
        let desk = desk(folder, quick());
        // About forty bytes each, of a MiB.
        let ids: Vec<Uuid> = (0..40_000).map(|_| desk.predict()).collect();
        let (accepted, joined, pending) = desk.give_all(&ids[..500], "no").await;
        assert_eq!((accepted, joined + pending), (500, 500));
        assert!(pending > 0, "the oldest left memory");
        desk.until("they join", |w| w["labelled_rows"] == 500).await;
        desk.eventually("nothing waits", |desk| desk.feedback.waiting().is_none())
            .await;
    });
}

#[test]
fn a_label_that_overtakes_its_prediction_joins_before_anything_is_written() {
    run(async |folder| {
        let desk = desk(folder, settings());
        let id = desk.mint.mint();
        let labels = vec![given(id, 0, "no"), given(id, 7, "no")];
        let receipt = desk.feedback.accept(labels).await.expect("taken");
        assert_eq!((receipt.joined, receipt.pending), (0, 2));
        desk.answer(&desk.subject, id);
        desk.until("it joins", |w| w["labelled_rows"] == 1).await;
        desk.eventually("there is no row 7", |desk| {
            desk.measured().unfit_labels == 1
        })
        .await;
        assert!(desk.feedback.waiting().is_none());
    });
}

#[test]
fn labels_that_do_not_fit_a_kept_prediction_are_counted_as_such() {
    run(async |folder| {
        let first = desk(folder, settings());
        let id = first.predict();
        first.feedback.flush().await;
        drop(first);

        let again = desk(folder, settings());
        let labels = vec![
            given(id, 0, "no"),
            given(id, 2, "no"),
            given(id, 1, "maybe"),
        ];
        let receipt = again.feedback.accept(labels).await.expect("taken");
        assert_eq!(receipt.accepted, 3, "the prediction is not known yet");
        again
            .eventually("two do not fit", |desk| {
                let reports = desk.feedback.report(&desk.subject.model, None);
                reports.first().is_some_and(|m| m.unfit_labels == 2)
            })
            .await;
        again.until("one joins", |w| w["labelled_rows"] == 1).await;
    });
}

#[test]
fn labels_of_predictions_that_nobody_kept_wait_with_a_reason() {
    run(async |folder| {
        let desk = desk(folder, quick());
        desk.predict();
        desk.feedback.flush().await;
        // Of a server that ended without a flush.
        let mut lost = Vec::new();
        for _ in 0..3 {
            lost.push(desk.mint.mint());
        }
        assert_eq!(desk.give_all(&lost, "no").await, (3, 0, 3));
        desk.eventually("the reason is known", |desk| {
            let waiting = desk.feedback.waiting();
            waiting.is_some_and(|w| {
                w.labels == 3 && w.reasons.len() == 1 && w.reasons[0].code != "search"
            })
        })
        .await;
        let waiting = desk.feedback.waiting().expect("labels wait");
        let code = waiting.reasons[0].code.as_str();
        assert!(code == "unknown" || code == "older", "{waiting:?}");
        assert_eq!(desk.measured().pending_labels, 3);
    });
}

#[test]
fn a_store_that_takes_no_answers_delays_no_prediction_and_no_label() {
    run(async |folder| {
        // A file in place of the folder of answers makes writing impossible.
        let answers = folder.join("ns/default/records/answers");
        std::fs::create_dir_all(answers.parent().expect("a folder")).expect("made");
        std::fs::write(&answers, b"").expect("in the way");
        let desk = desk(folder, quick());
        let ids: Vec<Uuid> = (0..100).map(|_| desk.predict()).collect();
        assert_eq!(desk.give_all(&ids, "no").await, (100, 100, 0));
        desk.feedback.flush().await;

        // Once the store works, the answers are written.
        std::fs::remove_file(&answers).expect("removed");
        desk.feedback.flush().await;
        drop(desk);
        let again = super::desk(folder, settings());
        let given = ids.iter().map(|id| given(*id, 1, "yes")).collect();
        again.feedback.accept(given).await.expect("taken");
        again
            .until("they join", |w| w["labelled_rows"] == 200)
            .await;
    });
}

#[test]
fn labels_of_a_request_are_counted_once_and_the_last_of_a_row_counts() {
    run(async |folder| {
        let desk = desk(folder, settings());
        let id = desk.predict();
        let accept = async |labels: &[&str]| {
            let given = labels.iter().map(|label| given(id, 0, label)).collect();
            let receipt = desk.feedback.accept(given).await.expect("taken");
            (receipt.accepted, receipt.duplicates, receipt.refused.len())
        };
        assert_eq!(accept(&["no", "no", "no"]).await, (1, 2, 0));
        // The last one is what is stored already; the one between is a correction.
        assert_eq!(accept(&["yes", "no"]).await, (2, 0, 0));
        assert_eq!(desk.window()["measures"]["accuracy"], 1.0);

        let other = desk.predict();
        let labels = ["no", "yes", "no", "yes"].map(|label| given(other, 0, label));
        let receipt = desk.feedback.accept(labels.into()).await.expect("taken");
        assert_eq!((receipt.accepted, receipt.refused.len()), (2, 1));
        assert_eq!(receipt.duplicates, 1, "the last is the last accepted one");
        let said = &receipt.refused[0].error.message;
        assert!(said.contains("corrected 1 time"), "{said}");
    });
}

#[test]
fn a_label_that_comes_after_the_label_horizon_is_refused() {
    run(async |folder| {
        let settings = FeedbackSettings {
            age_max: Duration::ZERO,
            ..settings()
        };
        let desk = desk(folder, settings);
        let id = desk.predict();
        tokio::time::sleep(Duration::from_millis(5)).await;
        desk.check((id, 0, "no"), (0, 0, 0), "feedback.age_max")
            .await;
    });
}

#[test]
fn a_label_that_comes_a_year_late_is_refused_with_the_limit_and_one_in_time_is_not() {
    run(async |folder| {
        let desk = desk(folder, settings());
        let id = desk.predict();
        let judge = |days: i64| {
            let given = given(id, 0, "no").expect("a label");
            let mut rows = RequestRows::new(Utc::now() + TimeDelta::days(days));
            let mut state = desk.feedback.lock();
            state.judge(&desk.mint, &given, &mut rows, &desk.feedback.options)
        };
        let limit = desk.feedback.options.settings.age_max.as_secs() / 86_400;
        let limit = i64::try_from(limit).expect("days");
        assert!(limit < 365 && judge(limit - 1).is_ok());
        for days in [limit + 1, 365] {
            let Err(refused) = judge(days) else {
                panic!("{days} days are too many");
            };
            let said = format!("older than {limit} days (feedback.age_max)");
            assert!(refused.message.contains(&said), "{refused}");
        }
    });
}

#[test]
fn a_clock_that_is_set_back_does_not_change_the_order_of_labels() {
    run(async |folder| {
        let desk = desk(folder, settings());
        let id = desk.predict();
        let judge = |label: &str, minutes: i64| {
            let now = Utc::now() - TimeDelta::minutes(minutes);
            let given = given(id, 0, label).expect("a label");
            let mut state = desk.feedback.lock();
            let mut rows = RequestRows::new(now);
            state.judge(&desk.mint, &given, &mut rows, &desk.feedback.options)
        };
        let Ok(LabelVerdict::New(first)) = judge("no", 0) else {
            panic!("it is new");
        };
        let Ok(LabelVerdict::New(second)) = judge("yes", 4) else {
            panic!("it is new");
        };
        assert!(first.time < second.time);
        // Too far back, the prediction seems to be of the future.
        let Err(refused) = judge("yes", 6) else {
            panic!("it is refused");
        };
        assert!(refused.message.contains("future"), "{refused}");
    });
}

#[test]
fn two_versions_with_the_same_bytes_are_measured_apart() {
    run(async |folder| {
        let desk = desk(folder, settings());
        let next = Arc::new(WatchSubject {
            version: Version::new(4).expect("legal"),
            ..(*desk.subject).clone()
        });
        let (one, two) = (desk.predict(), desk.predict_by(&next));
        assert_eq!(desk.give_all(&[one, two], "no").await, (2, 2, 0));
        let reports = desk.feedback.report(&desk.subject.model, None);
        let rows: Vec<(u64, u64)> = reports
            .iter()
            .map(|m| (m.version, m.window.labelled_rows))
            .collect();
        assert_eq!(rows, [(3, 1), (4, 1)]);
    });
}

#[test]
fn the_test_goes_on_after_a_restart_with_what_it_learned_before() {
    run(async |folder| {
        let first = desk(folder, settings());
        let ids: Vec<Uuid> = (0..500).map(|_| first.predict()).collect();
        assert_eq!(first.give_all(&ids, "no").await.1, 500);
        assert!(first.worse.lock().is_empty());
        drop(first);

        let again = desk(folder, settings());
        // The version is loaded, and nothing predicted yet.
        again.feedback.keeper().watched(&again.subject);
        again
            .eventually("the test is rebuilt", |desk| {
                let reports = desk.feedback.report(&desk.subject.model, None);
                reports.first().is_some_and(|m| m.loss_allowed.is_some())
            })
            .await;
        let ids: Vec<Uuid> = (0..100).map(|_| again.predict()).collect();
        assert_eq!(again.give_all(&ids, "yes").await.1, 100);
        assert_eq!(
            again.worse.lock().len(),
            1,
            "100 labels alone teach nothing"
        );
    });
}

#[test]
fn labels_that_come_while_the_log_is_read_still_raise_an_alarm() {
    run(async |folder| {
        let desk = desk(folder, settings());
        let mut lines = Vec::new();
        {
            let mut state = LabelState::new(&desk.feedback.options, Utc::now());
            state.loaded(&desk.subject, &desk.feedback.options);
            for round in 0..700 {
                let id = desk.predict();
                let label = given(id, 0, if round < 500 { "no" } else { "yes" });
                let mut rows = RequestRows::new(Utc::now());
                let judged = desk.feedback.lock().judge(
                    &desk.mint,
                    &label.expect("a label"),
                    &mut rows,
                    &desk.feedback.options,
                );
                let Ok(LabelVerdict::New(line)) = judged else {
                    panic!("it is new");
                };
                lines.push(*line);
            }
            let mut applied = AppliedLabels::default();
            for line in &lines {
                state.apply(
                    (line, LineSource::Own),
                    &desk.feedback.options,
                    &mut applied,
                );
            }
            assert!(applied.alarms.is_empty(), "not one by one");
            let alarms = state.begin_testing(&desk.feedback.options);
            assert_eq!(alarms.len(), 1);
            assert!(state.begin_testing(&desk.feedback.options).is_empty());
        }
    });
}

#[test]
fn a_large_file_of_late_labels_is_joined_whole() {
    run(async |folder| {
        let first = desk(folder, settings());
        let ids: Vec<Uuid> = (0..3_000).map(|_| first.predict()).collect();
        first.feedback.flush().await;
        drop(first);

        let drop = folder.join("drop");
        std::fs::create_dir(&drop).expect("a folder");
        let file = drop.join("late.csv");
        let rows: Vec<String> = ids.iter().map(|id| format!("{id},0,no\n")).collect();
        let text = format!("prediction_id,row,label\n{}", rows.concat());
        std::fs::write(&file, text).expect("written");
        let old = std::time::SystemTime::now() - Duration::from_secs(60);
        let opened = std::fs::File::options().write(true).open(&file);
        opened
            .and_then(|file| file.set_modified(old))
            .expect("dated");

        let importing = FeedbackSettings {
            drop: Some(drop.clone()),
            ..settings()
        };
        let again = desk(folder, importing);
        again
            .until("they join", |w| w["labelled_rows"] == 3_000)
            .await;
    });
}
