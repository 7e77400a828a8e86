//! Layouts other than NAME/VERSION/model.onnx: flat folders, other file names, single files.

use super::*;

/// Model, version and path of the model file, of all that is settled.
fn served(catalog: &Catalog, root: &Path) -> Vec<String> {
    let root = root.canonicalize().unwrap();
    let mut all = Vec::new();
    for (name, entry) in &catalog.models {
        for (version, found) in entry.versions.iter().filter(|(_, found)| found.settled) {
            let path = found.model_path.strip_prefix(&root).unwrap();
            all.push(format!("{name}:{version} {}", path.display()));
        }
    }
    all
}

#[test]
fn models_are_found_in_every_layout() {
    for (files, expected) in [
        (&["m/1/model.onnx"][..], "m:1 m/1/model.onnx"),
        (&["m/00000123/model.onnx"], "m:123 m/00000123/model.onnx"),
        (&["m/model.onnx", "m/config.json"], "m:1 m/model.onnx"),
        (&["m/resnet50.onnx"], "m:1 m/resnet50.onnx"),
        (
            &["m/1/resnet.onnx", "m/1/companion.onnx"],
            "m:1 m/1/resnet.onnx",
        ),
        (&["m/1/Model.ONNX"], "m:1 m/1/Model.ONNX"),
        (
            &["resnet50-v1.7.onnx"],
            "resnet50-v1.7:1 resnet50-v1.7.onnx",
        ),
    ] {
        let mut bench = Bench::new();
        for file in files {
            bench.write(file, &onnx(None), OLD);
        }
        let catalog = bench.scan();
        assert_eq!(served(&catalog, &bench.path("")), [expected]);
        assert_eq!(catalog.unserved, [], "{files:?}");
        let name = catalog.models.keys().next().unwrap();
        let entry = catalog.models[name].versions.values().next().unwrap();
        bench.directory.read(entry).unwrap();
    }
}

#[test]
fn what_is_ambiguous_is_listed_with_what_to_do() {
    for (files, expected, reason) in [
        (
            &["m/1/a.onnx", "m/1/b.onnx"][..],
            &[][..],
            "'a.onnx', 'b.onnx'; rename one of them to 'model.onnx'",
        ),
        (&["m/a.onnx", "m/b.onnx"], &[], "rename one of them"),
        (
            &["m/2/model.onnx", "m/002/model.onnx"],
            &["m:2 m/2/model.onnx"],
            "version 2 is in folder '2'",
        ),
        (
            &["m/1/model.onnx", "m/model.onnx"],
            &["m:1 m/1/model.onnx"],
            "move it to 1/model.onnx",
        ),
        (
            &["m/1/model.onnx", "m.onnx"],
            &["m:1 m/1/model.onnx"],
            "is served from the folder 'm'",
        ),
    ] {
        let mut bench = Bench::new();
        for file in files {
            bench.write(file, &onnx(None), OLD);
        }
        let catalog = bench.scan();
        assert_eq!(served(&catalog, &bench.path("")), expected);
        assert!(
            matches!(&catalog.unserved[..], [one] if one.reason.contains(reason)),
            "{:?}",
            catalog.unserved
        );
    }
}

#[test]
fn a_configuration_names_the_file_of_a_flat_folder() {
    let mut bench = Bench::new();
    bench.write("m/a.onnx", &onnx(None), OLD);
    bench.write("m/b.onnx", &onnx(None), OLD);
    bench.write("m/config.pbtxt", b"default_model_filename: \"b.onnx\"", OLD);
    assert_eq!(served(&bench.scan(), &bench.path("")), ["m:1 m/b.onnx"]);
}

#[test]
fn another_file_does_not_take_the_place_of_the_model_that_was_served() {
    let mut bench = Bench::new();
    bench.write("m/1/net.onnx", &onnx(None), OLD);
    bench.scan();
    bench.write("m/1/old.onnx", &onnx(None), OLD);
    fs::remove_file(bench.path("m/1/net.onnx")).unwrap();
    bench.kept("its 'net.onnx' is gone");
    // The expected name does.
    bench.write("m/1/model.onnx", &onnx(None), OLD);
    assert_eq!(
        served(&bench.scan(), &bench.path("")),
        ["m:1 m/1/model.onnx"]
    );
}

#[test]
fn a_loose_file_has_its_external_data_and_nothing_else_beside() {
    let mut bench = Bench::new();
    bench.write("net.onnx", &onnx(Some("net.onnx.data")), OLD);
    bench.write("net.onnx.data", b"weights", OLD);
    bench.write("golden.json", b"of another model", OLD);
    bench.write("network.onnx", &onnx(None), OLD);
    let catalog = bench.scan();
    let names: Vec<&str> = catalog.models.keys().map(ModelName::as_str).collect();
    assert_eq!(names, ["net", "network"]);
    let entry = &catalog.models["net"].versions[&Version::ONE];
    let files: Vec<_> = entry.files.0.iter().map(|s| s.file.clone()).collect();
    assert_eq!(files, [Path::new("net.onnx"), Path::new("net.onnx.data")]);
    let loaded = bench.directory.read(entry).unwrap();
    assert!(loaded.external_dir.is_some() && loaded.golden.is_none());

    // Its data counts as a change of it.
    bench.write("net.onnx.data", b"others!", OLD / 2);
    let error = bench.directory.read(entry).unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable);
    fs::remove_file(bench.path("net.onnx")).unwrap();
    bench.scan();
    assert!(!bench.scan().models.contains_key("net"));
}

/// Looks at a path of its own in the folder of a bench.
fn look(bench: &Bench, path: &str, name: Option<&str>) -> Catalog {
    let path = ServedPath::find(bench.path(path), name).unwrap();
    let mut directory = Directory::new(path, SETTLE, EMPTY, None, Refusals::default());
    let catalog = directory.scan(bench.now, bench.instant);
    for entry in catalog.models.values().flat_map(|m| m.versions.values()) {
        directory.read(entry).unwrap();
    }
    catalog
}

/// What Hugging Face's cache looks like: files in one folder, named by links in another.
fn cached(bench: &Bench) {
    bench.write("../blobs/graph", &onnx(Some("w.data")), OLD);
    bench.write("../blobs/weights", b"weights", OLD);
    bench.write("../blobs/plain", &onnx(None), OLD);
    for (link, target) in [
        ("flat/model.onnx", "graph"),
        ("flat/w.data", "weights"),
        ("deep/1/net.onnx", "graph"),
        ("deep/1/w.data", "weights"),
        ("alone.onnx", "plain"),
    ] {
        let link = bench.path(link);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        let target = bench.path("../blobs").join(target);
        std::os::unix::fs::symlink(target, link).unwrap();
    }
}

#[test]
fn links_out_of_the_directory_are_listed_and_followed_where_a_setting_says_so() {
    let mut bench = Bench::new();
    cached(&bench);
    let catalog = bench.scan();
    assert_eq!(served(&catalog, &bench.path("")), Vec::<String>::new());
    let listed: Vec<_> = catalog.unserved.iter().collect();
    assert_eq!(listed.len(), 3, "{listed:?}");
    for one in listed {
        assert!(one.reason.contains("models.follow_links"), "{one:?}");
    }

    let copies = Copies::open(bench.path("../copies"));
    let path = ServedPath::find(bench.path(""), None).unwrap();
    let options = Directory::new(path, SETTLE, EMPTY, Some(copies), Refusals::default());
    bench.directory = options.follow_links();
    let catalog = bench.scan();
    assert_eq!(
        served(&catalog, &bench.path("")),
        [
            "alone:1 alone.onnx",
            "deep:1 deep/1/net.onnx",
            "flat:1 flat/model.onnx"
        ]
    );
    assert_eq!(catalog.unserved, []);
    for name in ["flat", "deep"] {
        let entry = &catalog.models[name].versions[&Version::ONE];
        let loaded = bench.directory.read(entry).unwrap();
        assert!(loaded.external_dir.is_some(), "{name}");
    }
}

#[test]
fn one_file_and_the_folder_of_one_model_are_served_alone() {
    let bench = Bench::new();
    bench.write("net.onnx", &onnx(None), OLD);
    bench.write("other.onnx", &onnx(None), OLD);
    bench.write("m/1/model.onnx", &onnx(None), OLD);
    bench.write("m/2/model.onnx", &onnx(None), OLD);
    bench.write("flat/net.onnx", &onnx(None), OLD);
    bench.write("served/00000123/net.onnx", &onnx(None), OLD);
    let all = |path: &str, name| served(&look(&bench, path, name), &bench.path(""));
    assert_eq!(all("net.onnx", None), ["net:1 net.onnx"]);
    assert_eq!(all("net.onnx", Some("fraud")), ["fraud:1 net.onnx"]);
    assert_eq!(
        all("m", Some("fraud")),
        ["fraud:1 m/1/model.onnx", "fraud:2 m/2/model.onnx"]
    );
    assert_eq!(all("flat", Some("fraud")), ["fraud:1 flat/net.onnx"]);
    // What a link leads to that is named itself is meant.
    bench.write("../elsewhere/net.bin", &onnx(None), OLD);
    let link = bench.path("link.onnx");
    std::os::unix::fs::symlink(bench.path("../elsewhere/net.bin"), link).unwrap();
    assert_eq!(all("link.onnx", None), ["link:1 link.onnx"]);

    // Without a name, the folder of a model is a directory of models.
    for model in ["m", "served"] {
        let catalog = look(&bench, model, None);
        assert_eq!(served(&catalog, &bench.path("")), Vec::<String>::new());
        assert!(
            catalog.unserved.iter().all(|u| u.reason.contains("--name")),
            "{catalog:?}"
        );
        assert!(!catalog.unserved.is_empty());
    }
}
