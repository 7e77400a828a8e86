//! What a scan keeps although it cannot see it, and what it lists as not served.

use super::*;

#[test]
fn a_directory_that_is_gone_or_replaced_by_an_empty_one_keeps_its_models() {
    let mut bench = Bench::new();
    bench.write("m/1/model.onnx", b"x", OLD);
    let before = bench.version();
    let away = bench.folder.path().join("away");
    fs::rename(bench.path(""), &away).unwrap();
    bench.kept("cannot be used");
    bench.troubled(&[("", "cannot be used")]);

    fs::create_dir(bench.path("")).unwrap();
    bench.pass(EMPTY * 10);
    bench.kept("an empty directory has taken its place");
    fs::remove_dir(bench.path("")).unwrap();
    fs::rename(&away, bench.path("")).unwrap();
    assert_eq!(bench.version(), before);
    bench.troubled(&[]);
}

#[test]
fn a_directory_that_loses_all_models_is_empty_only_after_a_delay() {
    let mut bench = Bench::new();
    bench.write("m/1/model.onnx", b"x", OLD);
    bench.write("n/1/model.onnx", b"x", OLD);
    bench.scan();
    fs::remove_dir_all(bench.path("m")).unwrap();
    fs::remove_dir_all(bench.path("n")).unwrap();
    bench.kept("all models are gone");
    bench.pass(EMPTY - Duration::from_nanos(1));
    bench.kept("models.empty_delay");
    bench.pass(Duration::from_nanos(1));
    assert_eq!(bench.scan(), Catalog::default());
    bench.troubled(&[]);
}

#[test]
fn a_model_that_is_removed_is_dropped_at_the_second_look() {
    let mut bench = Bench::new();
    bench.write("m/1/model.onnx", b"x", OLD);
    bench.write("m/2/model.onnx", b"x", OLD);
    bench.write("n/1/model.onnx", b"x", OLD);
    bench.scan();
    fs::remove_dir_all(bench.path("n")).unwrap();
    fs::remove_dir_all(bench.path("m/1")).unwrap();
    let catalog = bench.scan();
    let one = Version::new(1).unwrap();
    assert_eq!(
        catalog.models["n"].versions[&one].sight,
        FolderSight::Missing
    );
    assert_eq!(
        catalog.models["m"].versions[&one].sight,
        FolderSight::Missing
    );
    assert!(!catalog.models["n"].versions[&one].settled);
    let catalog = bench.scan();
    assert!(!catalog.models.contains_key("n") && catalog.models["m"].versions.len() == 1);
}

#[test]
fn empty_folders_in_place_of_a_model_or_version_keep_it() {
    let mut bench = Bench::new();
    for folder in ["m/1", "n/1", "n/2"] {
        bench.write(&format!("{folder}/model.onnx"), b"x", OLD);
    }
    bench.scan();
    let aside = bench.folder.path().join("aside");
    fs::create_dir(&aside).unwrap();
    for folder in ["m", "n/1"] {
        fs::rename(bench.path(folder), aside.join(folder.replace('/', "-"))).unwrap();
        fs::create_dir(bench.path(folder)).unwrap();
    }
    bench.kept("an empty folder has taken its place");
    bench.troubled(&[("m", "taken its place"), ("n/1", "it is empty")]);
    // The other version of the same model is not concerned.
    let two = Version::new(2).unwrap();
    assert!(bench.entry("n").versions[&two].settled);
}

#[test]
fn what_is_not_served_is_listed_with_its_reason_and_remedy() {
    let mut bench = Bench::new();
    for (file, reason) in [
        ("b/v2/model.onnx", "rename it to 2"),
        ("c/0/model.onnx", "number from 1"),
        ("d/-1/model.onnx", "number from 1"),
        ("h/1/model.onnx/x", "is a folder"),
        ("h/1/model/model.onnx", "but 'model/model.onnx'; move"),
        ("i/1/weights.bin", "it has no 'model.onnx'"),
        ("bad name/1/model.onnx", "a model name has"),
        ("k/labels.txt", "it has no version folder"),
        ("1/model.onnx", "the directory above its model's folder"),
        ("bad name.onnx", "rename the file"),
        ("line\nbreak/1/model.onnx", "a model name has"),
    ] {
        let mut bench = Bench::new();
        bench.write(file, b"x", OLD);
        let unserved = bench.scan().unserved;
        assert!(
            unserved.len() == 1 && unserved[0].reason.contains(reason),
            "{file}: {unserved:?}"
        );
        assert!(!unserved[0].model.contains('\n'));
    }

    for file in [
        "README.md",
        ".git/1/model.onnx",
        "m/1/model.onnx",
        "m/.tmp/model.onnx",
        "m/notes",
    ] {
        bench.write(file, b"x", OLD);
    }
    assert_eq!(bench.scan().unserved, []);
    symlink(bench.path("../elsewhere"), bench.path("linked")).unwrap();
    symlink(bench.path("../elsewhere"), bench.path("m/2")).unwrap();
    let unserved = bench.scan().unserved;
    assert!(unserved.len() == 2 && unserved.iter().all(|u| u.reason.contains("it is a link")));
}

#[test]
fn a_version_folder_that_is_empty_is_called_so() {
    let mut bench = Bench::new();
    fs::create_dir_all(bench.path("m/3")).unwrap();
    let unserved = bench.scan().unserved;
    assert!(
        matches!(&unserved[..], [one] if one.reason.contains("folder is empty; put the model at m/3/")),
        "{unserved:?}"
    );

    let config = "default_model_filename: \"net.onnx\"";
    fs::write(bench.path("m/config.pbtxt"), config).unwrap();
    let unserved = bench.scan().unserved;
    assert!(
        unserved[0].reason.ends_with(" m/3/net.onnx"),
        "{unserved:?}"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("m/model.onnx")).unwrap();
    let error = read::whole(&bench.path("m/model.onnx"), 10).unwrap_err();
    assert!(error.message.starts_with("read 'model.onnx': "), "{error}");
}

#[test]
fn the_list_of_what_is_not_served_is_limited() {
    let mut bench = Bench::new();
    for n in 0..=unserved::UNSERVED_MAX {
        bench.write(&format!("bad name {n}/x"), b"x", OLD);
    }
    assert_eq!(bench.scan().unserved.len(), unserved::UNSERVED_MAX);
}
