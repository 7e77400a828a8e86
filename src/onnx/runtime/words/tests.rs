//! What ONNX Runtime says, and what is left of it.

use super::*;

#[track_caller]
fn check(text: &str, expected: &str) {
    let folder = Path::new("/srv/my models/m/1");
    assert_eq!(without_paths(text, Some(folder)), expected);
}

#[test]
fn places_in_the_source_are_dropped_and_the_words_kept() {
    check(
        "Load model failed:/onnxruntime_src/onnxruntime/core/graph/model.cc:180 onnxruntime::Model::Model(onnx::ModelProto&&, const onnxruntime::PathString&, const onnxruntime::logging::Logger&) Unsupported model IR version: 99, max supported IR version: 11\n",
        "Load model failed: Unsupported model IR version: 99, max supported IR version: 11",
    );
    check(
        "/onnxruntime_src/core/x.cc:93 virtual onnxruntime::common::Status onnxruntime::Gather<T>::Compute(onnxruntime::OpKernelContext*) const [with T = float; F = void (*)(int)] indices element out of data bounds, idx=5",
        "indices element out of data bounds, idx=5",
    );
    check(
        "Failed /onnxruntime_src/a.h:7 onnxruntime::F(int)::<lambda(long int)> size == 3 was false. (got 4)\n\nStacktrace:\n/usr/lib/x.so(+0x12)",
        "Failed size == 3 was false. (got 4)",
    );
}

#[test]
fn words_with_slashes_and_colons_are_kept() {
    for text in [
        "Fatal error: com.acme:Foo(-1) is not a registered function/op",
        "Failed to construct locale with name:xx_XX:locale::facet::_S_create_c_locale name not valid:Please, install necessary language-pack-en",
        "while running MatMul node. Name:'/model/layer.0/MatMul' Status Message: bad",
        "and/or input 1/2",
        "",
    ] {
        check(text, text);
    }
}

#[test]
fn folders_are_dropped_and_addresses_too() {
    check(
        "cannot read [\"/srv/other/1/w.bin\"]",
        "cannot read [\"w.bin\"]",
    );
    check("path=/srv/other/w.bin, size 3", "path=w.bin, size 3");
    check("open /srv/my models/m/1/w.bin: gone", "open w.bin: gone");
    check("at 0x7f0012345678 of x", "at of x");
}
