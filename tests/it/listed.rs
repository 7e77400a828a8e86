//! A list of models in TensorFlow Serving's format: its file, and the call that replaces it.

use crate::support::{Directory, Server, eventually, http, ortus};
use ortus::proto::tensorflow::serving as p;
use ortus::testing::{block_on, graphs};
use p::model_service_client::ModelServiceClient;
use p::servable_version_policy::{All, PolicyChoice, Specific};
use std::fs;
use std::path::Path;
use tonic::Code;

/// Answers x times `factor`.
fn times(factor: f32) -> Vec<u8> {
    graphs::slow_to_open(factor, 2, 12)
}

/// Two folders of models, and the file of a list.
struct Place {
    models: Directory,
    list: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

impl Place {
    fn new(text: &str) -> Self {
        let models = Directory::empty();
        models.put("one", 1, &times(1.0));
        models.put("one", 2, &times(2.0));
        models.put("other", 7, &times(7.0));
        let folder = tempfile::tempdir().expect("a folder");
        let list = folder.path().join("models.config");
        let place = Self {
            models,
            list,
            _folder: folder,
        };
        place.write(text);
        place
    }

    /// Writes the list; `DIR` stands for the folder of the models.
    fn write(&self, text: &str) {
        let text = text.replace("DIR", self.models.path().to_str().expect("UTF-8"));
        let fresh = self.list.with_extension("fresh");
        fs::write(&fresh, text).expect("written");
        fs::rename(fresh, &self.list).expect("moved");
    }

    fn serve(&self, more: &[&str]) -> Server {
        let list = self.list.to_str().expect("UTF-8");
        let quick = ["--set", "models.poll=50ms", "--set", "models.settle=50ms"];
        Server::start_from(&[&["--model_config_file", list], &quick[..], more].concat())
    }

    fn folder(&self, name: &str) -> String {
        let path: &Path = self.models.path();
        path.join(name).to_str().expect("UTF-8").to_owned()
    }
}

const ONE: &str = r#"model_config_list { config { name: "a" base_path: "DIR/one" } }"#;

/// What `path` makes of 1; none if it answers an error.
fn factor(server: &Server, path: &str) -> Option<f64> {
    let answer = server.post(
        &format!("/v1/models/{path}:predict"),
        br#"{"instances":[[1]]}"#,
    );
    let json = answer.json();
    let value = json["predictions"][0].as_f64();
    value.or_else(|| json["predictions"][0][0].as_f64())
}

fn listed(name: &str, folder: String) -> p::ModelConfig {
    p::ModelConfig {
        name: name.to_owned(),
        base_path: folder,
        model_platform: "tensorflow".to_owned(),
        ..p::ModelConfig::default()
    }
}

fn reload(server: &Server, models: Vec<p::ModelConfig>) -> Result<(), tonic::Status> {
    use p::model_server_config::Config;
    let list = Config::ModelConfigList(p::ModelConfigList { config: models });
    let request = p::ReloadConfigRequest {
        config: Some(p::ModelServerConfig { config: Some(list) }),
        metric_names: Vec::new(),
    };
    block_on(async {
        let mut client = ModelServiceClient::new(server.channel().await);
        let answer = client.handle_reload_config_request(request).await?;
        assert_eq!(answer.into_inner().status.expect("a status").error_code, 0);
        Ok(())
    })
}

fn all() -> Option<p::ServableVersionPolicy> {
    Some(p::ServableVersionPolicy {
        policy_choice: Some(PolicyChoice::All(All {})),
    })
}

#[test]
fn the_models_of_a_file_serve_with_their_versions_and_labels() {
    let place = Place::new(
        r#"model_config_list {
             config { name: "a" base_path: "DIR/one" model_version_policy { all {} }
                      version_labels { key: "stable" value: 1 } }
             config { name: "b" base_path: "DIR/other" model_platform: "tensorflow" } }"#,
    );
    let server = place.serve(&[]);
    assert_eq!(factor(&server, "a"), Some(2.0));
    assert_eq!(factor(&server, "a/versions/1"), Some(1.0));
    assert_eq!(factor(&server, "a/labels/stable"), Some(1.0));
    assert_eq!(factor(&server, "b"), Some(7.0));
    assert_eq!(factor(&server, "one"), None);

    // A new version is found, and a changed list is followed.
    place.models.put("other", 8, &times(8.0));
    eventually("the new version", || factor(&server, "b") == Some(8.0));
    place.write(ONE);
    eventually("the new list", || factor(&server, "b").is_none());
    assert_eq!(factor(&server, "a"), Some(2.0));
    eventually("the policy of the new list", || {
        factor(&server, "a/versions/1").is_none()
    });
    assert_eq!(factor(&server, "a/labels/stable"), None);

    place.write("model_config_list {");
    eventually("a refusal", || {
        server.log().contains("the list of models is refused")
    });
    assert_eq!(factor(&server, "a"), Some(2.0));
}

#[test]
fn a_call_replaces_the_whole_list() {
    let place = Place::new(ONE);
    let server = place.serve(&["--set", "models.config_reload=true"]);
    let mut one = listed("a", place.folder("one"));
    one.model_version_policy = all();
    one.version_labels = [("stable".to_owned(), 1)].into();
    reload(
        &server,
        vec![one.clone(), listed("b", place.folder("other"))],
    )
    .expect("served");
    assert_eq!(factor(&server, "a"), Some(2.0));
    assert_eq!(factor(&server, "a/labels/stable"), Some(1.0));
    assert_eq!(factor(&server, "b"), Some(7.0));

    // A label moves without a load. One for a version that does not serve changes no label.
    one.version_labels = [("stable".to_owned(), 2)].into();
    reload(&server, vec![one.clone()]).expect("served");
    assert_eq!(factor(&server, "a/labels/stable"), Some(2.0));
    assert_eq!(factor(&server, "b"), None);
    one.version_labels = [("stable".to_owned(), 1), ("next".to_owned(), 9)].into();
    let refused = reload(&server, vec![one.clone()]).expect_err("no version 9");
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(refused.message().contains("label 'next'"), "{refused}");
    assert_eq!(factor(&server, "a/labels/stable"), Some(2.0));

    // The folder of a name may be another one.
    reload(&server, vec![listed("a", place.folder("other"))]).expect("served");
    assert_eq!(factor(&server, "a"), Some(7.0));
    reload(&server, Vec::new()).expect("no model");
    assert_eq!(factor(&server, "a"), None);
}

#[test]
fn a_call_that_is_refused_changes_nothing() {
    let place = Place::new(ONE);
    let server = place.serve(&["--set", "models.config_reload=true"]);
    let specific = |versions: Vec<i64>| p::ModelConfig {
        model_version_policy: Some(p::ServableVersionPolicy {
            policy_choice: Some(PolicyChoice::Specific(Specific { versions })),
        }),
        ..listed("b", place.folder("one"))
    };
    let other = p::ModelConfig {
        model_platform: "pytorch".to_owned(),
        ..listed("b", place.folder("one"))
    };
    let cases = [
        listed("b", place.folder("absent")),
        listed("b", String::new()),
        listed("../b", place.folder("one")),
        specific(Vec::new()),
        specific(vec![0]),
        other,
    ];
    for wrong in cases {
        let refused = reload(&server, vec![wrong.clone()]).expect_err("wrong");
        assert_eq!(
            refused.code(),
            Code::InvalidArgument,
            "{wrong:?}: {refused}"
        );
        assert_eq!(factor(&server, "a"), Some(2.0), "{wrong:?}");
    }
    let empty = p::ReloadConfigRequest::default();
    let refused = block_on(async {
        let mut client = ModelServiceClient::new(server.channel().await);
        client.handle_reload_config_request(empty).await
    });
    assert_eq!(refused.expect_err("no list").code(), Code::InvalidArgument);
}

#[test]
fn calls_replace_no_list_unless_the_server_lets_them() {
    let place = Place::new(ONE);
    let server = place.serve(&[]);
    let refused = reload(&server, Vec::new()).expect_err("not let");
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    assert_eq!(factor(&server, "a"), Some(2.0));

    let server = Server::start_with(place.models.path(), &["--set", "models.config_reload=true"]);
    let refused = reload(&server, Vec::new()).expect_err("no list");
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
}

#[test]
fn a_list_that_cannot_be_served_ends_the_start() {
    let place = Place::new(r#"model_config_list { config { name: "a" base_path: "DIR/absent" } }"#);
    let start = || {
        let output = ortus()
            .args(["serve", "--model_config_file"])
            .arg(&place.list)
            .output();
        let output = output.expect("runs");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(
        start().contains("model 'a': the model directory"),
        "{}",
        start()
    );
    place.write("x");
    assert!(start().contains("the list of models"), "{}", start());
}

#[test]
fn metrics_are_where_tensorflow_serving_has_them() {
    let place = Place::new(ONE);
    let monitoring = place.list.with_file_name("monitoring.config");
    fs::write(&monitoring, "prometheus_config { enable: true }").expect("written");
    let server = place.serve(&[
        "--monitoring_config_file",
        monitoring.to_str().expect("UTF-8"),
    ]);
    assert_eq!(factor(&server, "a"), Some(2.0));
    let metrics = http(
        &server.http,
        "GET",
        "/monitoring/prometheus/metrics",
        &[],
        b"",
    );
    assert_eq!(metrics.status, 200);
    let count = r#":tensorflow:serving:request_count{model_name="a",status="OK"} 1"#;
    assert!(metrics.text().contains(count), "{}", metrics.text());
    assert!(
        metrics
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("text/plain"))
    );
    assert_eq!(
        place
            .serve(&[])
            .get("/monitoring/prometheus/metrics")
            .status,
        404
    );
}
