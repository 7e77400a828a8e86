//! Tests of `parity`.

use super::*;
use ortus::core::model::task::Task;
use ortus::core::tensor::View;
use ortus::onnx::runtime::Session;

/// A session that predicts like the model, but with one mistake.
struct Native {
    model: Model,
    wrong: fn(&[f32], Vec<f64>) -> Vec<f64>,
}

impl Session for Native {
    fn run(&mut self, inputs: &[View<'_>]) -> Result<Vec<Tensor>> {
        let ortus::core::tensor::ViewData::Fixed(bytes) = inputs[0].data else {
            panic!("numbers")
        };
        let values: Vec<f32> = bytes
            .as_chunks()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect();
        let answers: Vec<f32> = values
            .iter()
            .flat_map(|v| (self.wrong)(&[*v], self.model.answer(&[*v])))
            .map(|v| v as f32)
            .collect();
        Ok(vec![Tensor::from_f32(vec![values.len(), 1], &answers)?])
    }
    fn provider(&self) -> &'static str {
        "test"
    }
}

#[test]
fn a_graph_that_is_wrong_at_one_edge_is_found() {
    let y: Vec<f32> = (0..400).map(|i| ((i as f32) / 20.0).sin()).collect();
    let x = Values::Numbers((0..400).map(|i| i as f32).collect());
    let frame = Frame {
        columns: vec![Column {
            name: "x".to_owned(),
            values: x,
        }],
        rows: 400,
    };

    let rows: Vec<u32> = (0..400).collect();
    let features = vec![Feature::learn(&frame, 0, &rows)];
    let cuts = vec![crate::fit::bins::Cut::find(&frame, 0, &rows)];
    let data = crate::fit::bins::Binned::of(&frame, &features, cuts, &rows);
    let sample = trees::Sample {
        data: &data,
        targets: &y,
        weights: None,
    };

    let options = trees::Options {
        rounds_max: 20,
        ..trees::Options::default()
    };
    let booster = trees::fit(
        &sample,
        None,
        trees::loss::Loss::Squared,
        &options,
        &mut |_| {},
    );

    let threshold = match booster.trees[0].nodes[0].choice {
        Choice::UpTo { threshold, .. } => threshold,
        Choice::OneOf(_) => panic!("a number"),
    };
    let model = Model {
        features,
        classes: None,
        learned: Learned::Trees(booster),
    };

    let with = |wrong| {
        let session = Box::new(Native {
            model: model.clone(),
            wrong,
        });
        let signature = crate::export::signature(&model);
        let columns = crate::export::columns(&model.features);
        let mut predictor = Predictor {
            signature,
            task: Task::Regression(0),
            columns,
            session,
        };
        check(&model, &mut predictor, &frame, 20_000, 7)
    };

    let right = with(|_, answer| answer).expect("the same");
    assert!(right.worst < 1e-6 && right.rows == 20_000, "{right:?}");
    assert!(
        with(|row, answer| if row[0].is_nan() {
            vec![answer[0] + 0.01]
        } else {
            answer
        })
        .is_err()
    );

    assert!(
        with(|row, answer| if row[0] == f32::INFINITY {
            vec![answer[0] + 0.01]
        } else {
            answer
        })
        .is_err()
    );

    assert!(edges(&model)[0].contains(&threshold));
    let bent = bend(&model, &frame, 20_000, 7);
    let Values::Numbers(all) = &bent.columns[0].values else {
        panic!("numbers")
    };
    for edge in [threshold, threshold.next_up(), threshold.next_down()] {
        assert!(all.contains(&edge), "{edge} is among the rows");
    }
}
