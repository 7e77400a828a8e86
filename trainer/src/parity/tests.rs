//! Tests of `parity`.

use super::*;
use ortus::core::model::task::Task;
use ortus::core::tensor::View;
use ortus::onnx::runtime::Session;

/// A session that predicts like the model, but with one mistake.
struct Native {
    model: TrainedModel,
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

/// 400 rows of one column, which counts them.
fn counted_rows() -> Frame {
    Frame {
        columns: vec![FrameColumn {
            name: "x".to_owned(),
            values: FrameValues::Numbers((0..400).map(|i| i as f32).collect()),
        }],
        rows: 400,
        ..Frame::default()
    }
}

/// Trees that are fitted to a sine of the rows.
fn fitted_to_sine(frame: &Frame) -> TrainedModel {
    let targets: Vec<f32> = (0..400).map(|i| ((i as f32) / 20.0).sin()).collect();
    let rows: Vec<u32> = (0..400).collect();
    let features = vec![Feature::learn(frame, 0, &rows)];
    let cuts = vec![crate::fit::bins::Cut::find(frame, 0, &rows)];
    let data = crate::fit::bins::Binned::of(frame, &features, cuts, &rows);
    let sample = trees::TreeRows {
        data: &data,
        targets: &targets,
        weights: None,
        queries: None,
    };
    let options = trees::TreeOptions {
        rounds_max: 20,
        ..trees::TreeOptions::default()
    };
    let loss = trees::loss::Loss::Squared;
    let booster = trees::fit(&sample, None, loss, &options, &mut |_| {});

    TrainedModel {
        features,
        classes: None,
        loss,
        calibration: None,
        learned: Learned::Trees(booster),
    }
}

/// The threshold of the first split of the first tree.
fn first_threshold(model: &TrainedModel) -> f32 {
    let Learned::Trees(booster) = &model.learned else {
        panic!("trees")
    };
    match booster.trees[0].nodes[0].choice {
        Choice::UpTo { threshold, .. } => threshold,
        Choice::OneOf(_) => panic!("a number"),
    }
}

fn off_where(is_wrong: bool, answer: Vec<f64>) -> Vec<f64> {
    if is_wrong {
        vec![answer[0] + 0.01]
    } else {
        answer
    }
}

#[test]
fn a_graph_that_is_wrong_at_one_edge_is_found() {
    let frame = counted_rows();
    let model = fitted_to_sine(&frame);
    let with = |wrong| {
        let mut predictor = OpenModel {
            signature: crate::export::signature(&model),
            task: Task::Regression(0),
            columns: crate::export::columns(&model.features),
            session: Box::new(Native {
                model: model.clone(),
                wrong,
            }),
        };
        check(&model, &mut predictor, &frame, 20_000, 7)
    };

    let right = with(|_, answer| answer).expect("the same");
    assert!(right.worst < 1e-6 && right.rows == 20_000, "{right:?}");
    assert!(with(|row, answer| off_where(row[0].is_nan(), answer)).is_err());
    assert!(with(|row, answer| off_where(row[0] == f32::INFINITY, answer)).is_err());
    let no_answer = with(|row, answer| match row[0] > 3.0 {
        true => vec![f64::NAN],
        false => answer,
    });
    assert!(no_answer.is_err_and(|e| e.to_string().contains("the graph predicts NaN")));
}

#[test]
fn rows_of_the_check_lie_on_both_sides_of_each_threshold() {
    let frame = counted_rows();
    let model = fitted_to_sine(&frame);
    let threshold = first_threshold(&model);
    assert!(edges(&model)[0].contains(&threshold));

    let bent = rows_at_edges(&model, &frame, 20_000, 7);
    let FrameValues::Numbers(all) = &bent.columns[0].values else {
        panic!("numbers")
    };
    for edge in [threshold, threshold.next_up(), threshold.next_down()] {
        assert!(all.contains(&edge), "{edge} is among the rows");
    }
}
