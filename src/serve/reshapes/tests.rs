//! Shapes on the wire and in the model.

use super::*;
use crate::core::model::ModelName;
use crate::core::tensor::DType;
use crate::testing::tensor_spec;

fn signature() -> Signature {
    Signature {
        inputs: vec![
            tensor_spec("x", DType::F32, &[-1]),
            tensor_spec("image", DType::F32, &[-1, 4]),
        ],
        outputs: vec![tensor_spec("label", DType::F32, &[-1])],
        ..Signature::default()
    }
}

fn read(text: &str) -> Option<Box<Reshapes>> {
    let name = ModelName::parse("m").expect("legal");
    let config = ModelConfig::read(&name, text).expect("read");
    config.check(&signature()).expect("fits");
    config.check_outputs(&signature()).expect("fits");
    Reshapes::of(&config, &signature())
}

const CONFIG: &str = "max_batch_size: 8
    input [ { name: \"x\" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } },
            { name: \"image\" data_type: TYPE_FP32 dims: [ 2, 2 ] reshape { shape: [ 4 ] } } ]
    output { name: \"label\" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } }";

#[test]
fn clients_see_dims_and_the_model_its_own_shapes() {
    let reshapes = read(CONFIG).expect("some");
    let shown = reshapes.shown(signature());
    assert_eq!(shown.inputs[0].shape_to_wire(), [-1, 1]);
    assert_eq!(shown.inputs[1].shape_to_wire(), [-1, 2, 2]);
    assert_eq!(shown.outputs[0].shape_to_wire(), [-1, 1]);
    assert_eq!(reshapes.of_graph(shown.clone()), signature());

    let tensor = |shape: &[usize]| {
        let count: usize = shape.iter().product();
        Tensor::from_f32(shape.to_vec(), &vec![0.5; count]).expect("fits")
    };
    let given = vec![
        ("x".to_owned(), tensor(&[3, 1])),
        ("image".to_owned(), tensor(&[3, 2, 2])),
    ];
    let inputs = shown.check(given).expect("as shown");
    let inputs = reshapes.to_model(inputs).expect("fits");
    assert_eq!(inputs.required, [tensor(&[3]), tensor(&[3, 4])]);
    let outputs = reshapes.to_clients(vec![tensor(&[3])]).expect("fits");
    assert_eq!(outputs, [tensor(&[3, 1])]);
    assert_eq!(reshapes.own(&signature(), "image"), Some(&[4][..]));
    assert_eq!(reshapes.own(&signature(), "other"), None);
}

#[test]
fn a_configuration_without_reshape_has_none() {
    assert_eq!(read("max_batch_size: 8"), None);
    let same = "max_batch_size: 8 output { name: \"label\" data_type: TYPE_FP32 dims: [ ] }";
    assert_eq!(read(same), None);
}
