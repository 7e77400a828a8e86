//! The operator API over gRPC: the verbs of the command line as typed calls.

use crate::support::registry::{Registry, ask, serves};
use crate::support::{Server, eventually};
use ortus::proto::operator as p;
use ortus::proto::operator::operator_client::OperatorClient;
use tonic::metadata::MetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

type Client =
    OperatorClient<InterceptedService<Channel, fn(Request<()>) -> Result<Request<()>, Status>>>;

fn with_header(mut request: Request<()>) -> Result<Request<()>, Status> {
    request
        .metadata_mut()
        .insert("ortus-operator", MetadataValue::from_static("1"));
    Ok(request)
}

async fn channel(server: &Server) -> Channel {
    let channel = Channel::from_shared(format!("http://{}", server.operator)).expect("an address");
    channel.connect().await.expect("the listener accepts")
}

async fn client(server: &Server) -> Client {
    OperatorClient::with_interceptor(channel(server).await, with_header)
}

fn by(reason: &str) -> Option<p::By> {
    Some(p::By {
        actor: "ann".to_owned(),
        reason: reason.to_owned(),
    })
}

fn json(document: tonic::Response<p::Document>) -> serde_json::Value {
    serde_json::from_str(&document.into_inner().json).expect("JSON")
}

fn run(test: impl AsyncFnOnce()) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test());
}

/// The model that these tests register.
fn model() -> String {
    "m".to_owned()
}

fn promote(version: &str) -> p::PromoteRequest {
    p::PromoteRequest {
        model: model(),
        version: version.to_owned(),
        by: by("first"),
        ..Default::default()
    }
}

fn set_challenger(version: &str) -> p::SetAliasRequest {
    p::SetAliasRequest {
        model: model(),
        alias: "challenger".to_owned(),
        version: version.to_owned(),
        by: by(""),
    }
}

fn set_team(value: Option<&str>) -> p::SetTagRequest {
    p::SetTagRequest {
        model: model(),
        key: "team".to_owned(),
        value: value.map(str::to_owned),
        ..Default::default()
    }
}

fn judge(approve: bool) -> p::JudgeRequest {
    p::JudgeRequest {
        model: model(),
        version: "2".to_owned(),
        approve,
        by: Some(p::By {
            actor: "bob".to_owned(),
            reason: String::new(),
        }),
    }
}

fn version(version: &str) -> p::VersionRequest {
    p::VersionRequest {
        model: model(),
        version: version.to_owned(),
    }
}

#[test]
fn every_registry_command_works_over_grpc() {
    let registry = Registry::new();
    registry.push("m", 1.0);
    registry.push("m", 2.0);
    let server = registry.serve(&["--set", "registry.poll=1h"]);

    run(async || {
        let mut client = client(&server).await;
        check_first_promotion(&mut client, &server).await;
        check_traffic_and_tags(&mut client, &server).await;
        check_approval(&mut client, &server).await;
        check_rollback_and_retirement(&mut client).await;
        check_versions(&mut client).await;
        check_registry_and_server(&mut client).await;
    });
}

async fn check_first_promotion(client: &mut Client, server: &Server) {
    let changed = client
        .promote(promote("1"))
        .await
        .expect("promoted")
        .into_inner();
    assert_eq!(
        (changed.model.as_str(), changed.version, changed.seq),
        ("m", Some(1), Some(3))
    );

    eventually("the champion", || serves(server, "1", 1.0));

    assert_eq!(
        client
            .promote(promote("1"))
            .await
            .expect("so already")
            .into_inner()
            .seq,
        None
    );
}

async fn check_traffic_and_tags(client: &mut Client, server: &Server) {
    client
        .set_alias(set_challenger("2"))
        .await
        .expect("pointed");
    eventually("the challenger", || {
        ask(server, "m/versions/challenger", &[]).1 == "2"
    });

    let weights = [("champion".to_owned(), 40), ("challenger".to_owned(), 60)].into();
    client
        .split_traffic(p::SplitTrafficRequest {
            model: model(),
            weights,
            by: by(""),
        })
        .await
        .expect("split");

    client
        .set_tag(set_team(Some("risk")))
        .await
        .expect("tagged");
    let listed = json(
        client
            .list(p::ListRequest {
                tag: "team=risk".to_owned(),
            })
            .await
            .expect("listed"),
    );
    assert_eq!(listed[0]["traffic"]["challenger"], 60, "{listed}");

    client.set_tag(set_team(None)).await.expect("removed");
    let listed = json(
        client
            .list(p::ListRequest {
                tag: "team=risk".to_owned(),
            })
            .await
            .expect("listed"),
    );
    assert_eq!(listed, serde_json::json!([]));

    client
        .split_traffic(p::SplitTrafficRequest {
            model: model(),
            ..Default::default()
        })
        .await
        .expect("ended");
    client.set_alias(set_challenger("")).await.expect("removed");
}

/// A promotion waits for an approval, is refused after a rejection, and happens after an
/// approval.
async fn check_approval(client: &mut Client, server: &Server) {
    let policy = p::SetPolicyRequest {
        approvals: Some(1),
        ..Default::default()
    };
    let policy = client.set_policy(policy).await.expect("set").into_inner();
    assert_eq!((policy.approvals, policy.signatures.as_str()), (1, "none"));

    assert!(
        client
            .promote(promote("2"))
            .await
            .expect("answered")
            .into_inner()
            .waiting
    );

    client.judge(judge(false)).await.expect("rejected");
    assert_eq!(
        client
            .promote(promote("2"))
            .await
            .expect_err("rejected")
            .code(),
        Code::FailedPrecondition
    );

    client.judge(judge(true)).await.expect("approved");
    client.promote(promote("2")).await.expect("promoted");
    eventually("the new champion", || serves(server, "2", 2.0));
}

async fn check_rollback_and_retirement(client: &mut Client) {
    let back = client
        .rollback(p::RollbackRequest {
            model: model(),
            by: by("worse"),
        })
        .await
        .expect("back");
    assert_eq!(back.into_inner().version, Some(1));

    let retire = p::RetireRequest {
        model: model(),
        version: "2".to_owned(),
        by: by(""),
    };
    client.retire(retire).await.expect("retired");

    let history = json(
        client
            .history(p::ModelRequest { model: model() })
            .await
            .expect("history"),
    );
    assert_eq!(
        (&history[2]["reason"], &history[2]["actor"]),
        (&"first".into(), &"ann".into())
    );
}

async fn check_versions(client: &mut Client) {
    assert_eq!(
        json(client.show(version("1")).await.expect("shown"))["manifest"]["model"],
        "m"
    );
    assert_eq!(
        json(client.show(version("")).await.expect("shown"))["name"],
        "m"
    );
    assert_eq!(
        json(client.lineage(version("")).await.expect("lineage"))[0]["version"],
        1
    );

    let diff = p::DiffRequest {
        model: model(),
        from: "1".to_owned(),
        to: "2".to_owned(),
    };
    assert_eq!(json(client.diff(diff).await.expect("diff"))["to"], 2);
}

async fn check_registry_and_server(client: &mut Client) {
    assert_eq!(
        json(client.report(p::ReportRequest {}).await.expect("report"))[0]["to"],
        1
    );
    assert_eq!(
        json(client.verify(p::VerifyRequest {}).await.expect("whole"))["void"],
        serde_json::json!([])
    );
    assert!(json(client.fleet(p::FleetRequest {}).await.expect("fleet"))["newest"].is_u64());

    let gc = p::GcRequest {
        dry_run: true,
        grace_hours: Some(0),
        retain_days: Some(0),
        ..Default::default()
    };
    let swept = client.gc(gc).await.expect("swept").into_inner();
    assert!(swept.dry_run && swept.blobs > 0, "{swept:?}");

    let models = json(client.models(p::ModelsRequest {}).await.expect("models"));
    assert_eq!(models["models"][0]["name"], "m", "{models}");
    assert_eq!(
        json(client.config(p::ConfigRequest {}).await.expect("config"))["registry"]["namespace"],
        "default"
    );
    client.nudge(p::NudgeRequest {}).await.expect("nudged");
}

#[test]
fn invalid_calls_are_refused_with_a_status_by_kind() {
    let registry = Registry::new();
    registry.push("m", 1.0);
    let server = registry.serve(&[]);
    let directory = crate::support::Directory::empty();
    let plain = Server::start(directory.path());

    run(async || {
        let mut operator = client(&server).await;
        check_refused_promotions(&mut operator, &server).await;
        check_refused_policies(&mut operator).await;
        check_refused_size(&mut operator).await;
        check_refused_listeners(&server, &plain).await;
    });
}

async fn check_refused_promotions(operator: &mut Client, server: &Server) {
    let promote_of = |model: &str, version: &str| p::PromoteRequest {
        model: model.to_owned(),
        ..promote(version)
    };
    let bare = OperatorClient::new(channel(server).await)
        .promote(promote_of("m", "1"))
        .await;
    assert_eq!(
        bare.expect_err("without the header").code(),
        Code::PermissionDenied
    );

    for (model, version, code) in [
        ("m", "", Code::InvalidArgument),
        ("m", "9", Code::NotFound),
        ("q", "1", Code::NotFound),
        ("../m", "1", Code::InvalidArgument),
    ] {
        let error = operator
            .promote(promote_of(model, version))
            .await
            .expect_err("refused");
        assert_eq!(error.code(), code, "{model}:{version}: {error}");
    }
}

async fn check_refused_policies(operator: &mut Client) {
    let policy = p::SetPolicyRequest {
        signatures: Some("maybe".to_owned()),
        ..Default::default()
    };
    assert_eq!(
        operator
            .set_policy(policy)
            .await
            .expect_err("no word")
            .code(),
        Code::InvalidArgument
    );

    let nothing = operator.set_policy(p::SetPolicyRequest::default()).await;
    assert_eq!(
        nothing.expect_err("nothing is set").code(),
        Code::InvalidArgument
    );
}

async fn check_refused_size(operator: &mut Client) {
    let large = p::RollbackRequest {
        model: "m".to_owned(),
        by: by(&"x".repeat(100_000)),
    };
    assert_eq!(
        operator
            .rollback(large)
            .await
            .expect_err("too large")
            .code(),
        Code::OutOfRange
    );
}

/// A server of a model directory has no registry, and the data ports have no operator API.
async fn check_refused_listeners(server: &Server, plain: &Server) {
    let directory = client(plain).await.list(p::ListRequest::default()).await;
    assert_eq!(
        directory.expect_err("no registry").code(),
        Code::FailedPrecondition
    );

    let data = OperatorClient::with_interceptor(server.channel().await, with_header as fn(_) -> _);
    let mut data: Client = data;
    assert_eq!(
        data.nudge(p::NudgeRequest {})
            .await
            .expect_err("not here")
            .code(),
        Code::Unimplemented
    );
}
