//! The operator API over gRPC: reads the messages into the form that
//! `registry` and `views` take, and writes their answers.

use super::registry::{self, ChangeFields, RegistryQuery};
use super::route::ModelChange;
use super::views;
use crate::api::Front;
use crate::core::error::{Error, Result};
use crate::proto::operator as p;
use crate::proto::operator::operator_server;
use crate::registry::commands::change;
use crate::registry::sign;
use std::sync::Arc;
use std::time::Duration;
use tonic::{Request, Response, Status};

/// The service; cheap to clone.
#[derive(Clone)]
pub(super) struct OperatorService(pub Arc<Front>);

/// The longest that a call may take; some read the whole registry.
const CALL_MAX: Duration = Duration::from_secs(600);

type OperatorReply<T> = std::result::Result<Response<T>, Status>;

/// Reads a text field; an empty one is absent.
fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn change_fields(by: Option<p::By>) -> ChangeFields {
    let by = by.unwrap_or_default();
    ChangeFields {
        actor: non_empty(by.actor),
        reason: by.reason,
        ..ChangeFields::default()
    }
}

impl OperatorService {
    async fn query_registry(&self, what: RegistryQuery<'_>) -> OperatorReply<p::Document> {
        Ok(document(
            registry::answer_query(&self.0, what).await?.to_string(),
        ))
    }

    async fn change(
        &self,
        model: &str,
        verb: ModelChange,
        fields: ChangeFields,
    ) -> OperatorReply<p::Changed> {
        let change::Changed {
            name,
            version,
            seq,
            waiting,
        } = registry::change(&self.0, model, verb, &fields).await?;

        Ok(Response::new(p::Changed {
            model: name,
            version,
            seq,
            waiting,
        }))
    }
}

fn document(json: String) -> Response<p::Document> {
    Response::new(p::Document { json })
}

#[tonic::async_trait]
impl operator_server::Operator for OperatorService {
    async fn list(&self, request: Request<p::ListRequest>) -> OperatorReply<p::Document> {
        let tag = non_empty(request.into_inner().tag);
        self.query_registry(RegistryQuery::List {
            tag: tag.as_deref(),
        })
        .await
    }

    async fn show(&self, request: Request<p::VersionRequest>) -> OperatorReply<p::Document> {
        let p::VersionRequest { model, version } = request.into_inner();
        self.query_registry(RegistryQuery::Show {
            model: &model,
            version: non_empty(version).as_deref(),
        })
        .await
    }

    async fn history(&self, request: Request<p::ModelRequest>) -> OperatorReply<p::Document> {
        self.query_registry(RegistryQuery::History {
            model: &request.into_inner().model,
        })
        .await
    }

    async fn lineage(&self, request: Request<p::VersionRequest>) -> OperatorReply<p::Document> {
        let p::VersionRequest { model, version } = request.into_inner();
        self.query_registry(RegistryQuery::Lineage {
            model: &model,
            version: non_empty(version).as_deref(),
        })
        .await
    }

    async fn diff(&self, request: Request<p::DiffRequest>) -> OperatorReply<p::Document> {
        let p::DiffRequest { model, from, to } = request.into_inner();
        self.query_registry(RegistryQuery::Diff {
            model: &model,
            from: &from,
            to: &to,
        })
        .await
    }

    async fn fleet(&self, _: Request<p::FleetRequest>) -> OperatorReply<p::Document> {
        self.query_registry(RegistryQuery::Fleet).await
    }

    async fn report(&self, _: Request<p::ReportRequest>) -> OperatorReply<p::Document> {
        self.query_registry(RegistryQuery::Report).await
    }

    async fn verify(&self, _: Request<p::VerifyRequest>) -> OperatorReply<p::Document> {
        let verified = registry::open(&self.0, &ChangeFields::default(), false)
            .await?
            .verify(&|_| {})
            .await?;
        Ok(document(serde_json::json!(verified).to_string()))
    }

    async fn promote(&self, request: Request<p::PromoteRequest>) -> OperatorReply<p::Changed> {
        let p::PromoteRequest {
            model,
            version,
            allow_signature_change,
            by: who,
        } = request.into_inner();

        self.change(
            &model,
            ModelChange::Promote,
            ChangeFields {
                version: non_empty(version),
                allow_signature_change,
                ..change_fields(who)
            },
        )
        .await
    }

    async fn rollback(&self, request: Request<p::RollbackRequest>) -> OperatorReply<p::Changed> {
        let p::RollbackRequest { model, by: who } = request.into_inner();
        self.change(&model, ModelChange::Rollback, change_fields(who))
            .await
    }

    async fn set_alias(&self, request: Request<p::SetAliasRequest>) -> OperatorReply<p::Changed> {
        let p::SetAliasRequest {
            model,
            alias,
            version,
            by: who,
        } = request.into_inner();

        self.change(
            &model,
            ModelChange::Alias,
            ChangeFields {
                alias: non_empty(alias),
                version: non_empty(version),
                ..change_fields(who)
            },
        )
        .await
    }

    async fn split_traffic(
        &self,
        request: Request<p::SplitTrafficRequest>,
    ) -> OperatorReply<p::Changed> {
        let p::SplitTrafficRequest {
            model,
            weights,
            by: who,
        } = request.into_inner();

        self.change(
            &model,
            ModelChange::Traffic,
            ChangeFields {
                weights: weights.into_iter().collect(),
                ..change_fields(who)
            },
        )
        .await
    }

    async fn retire(&self, request: Request<p::RetireRequest>) -> OperatorReply<p::Changed> {
        let p::RetireRequest {
            model,
            version,
            by: who,
        } = request.into_inner();

        self.change(
            &model,
            ModelChange::Retire,
            ChangeFields {
                version: non_empty(version),
                ..change_fields(who)
            },
        )
        .await
    }

    async fn set_tag(&self, request: Request<p::SetTagRequest>) -> OperatorReply<p::Changed> {
        let p::SetTagRequest {
            model,
            version,
            key,
            value,
            by: who,
        } = request.into_inner();

        self.change(
            &model,
            ModelChange::Tag,
            ChangeFields {
                version: non_empty(version),
                key: non_empty(key),
                value,
                ..change_fields(who)
            },
        )
        .await
    }

    async fn judge(&self, request: Request<p::JudgeRequest>) -> OperatorReply<p::Changed> {
        let p::JudgeRequest {
            model,
            version,
            approve,
            by: who,
        } = request.into_inner();

        let verb = if approve {
            ModelChange::Approve
        } else {
            ModelChange::Reject
        };
        self.change(
            &model,
            verb,
            ChangeFields {
                version: non_empty(version),
                ..change_fields(who)
            },
        )
        .await
    }

    async fn set_policy(&self, request: Request<p::SetPolicyRequest>) -> OperatorReply<p::Policy> {
        let p::SetPolicyRequest {
            approvals,
            signatures,
            by: who,
        } = request.into_inner();

        let signatures = signatures.as_deref().map(sign::Policy::parse).transpose()?;
        let set = registry::policy(
            &self.0,
            &ChangeFields {
                approvals,
                signatures,
                ..change_fields(who)
            },
        )
        .await?;

        let signatures = set.signatures.name().to_owned();
        Ok(Response::new(p::Policy {
            approvals: set.approvals,
            signatures,
            seq: set.seq,
        }))
    }

    async fn gc(&self, request: Request<p::GcRequest>) -> OperatorReply<p::Swept> {
        let p::GcRequest {
            dry_run,
            grace_hours,
            retain_days,
            by: who,
        } = request.into_inner();

        let fields = ChangeFields {
            dry_run,
            grace_hours,
            retain_days,
            ..change_fields(who)
        };

        let swept = registry::open(&self.0, &fields, true)
            .await?
            .gc(fields.rules())
            .await?;
        let count = |n: usize| n as u64;

        let (blobs, young) = (count(swept.blobs), count(swept.young));
        Ok(Response::new(p::Swept {
            blobs,
            bytes: swept.bytes,
            young,
            dry_run: swept.dry_run,
        }))
    }

    async fn models(&self, _: Request<p::ModelsRequest>) -> OperatorReply<p::Document> {
        Ok(document(views::models(&self.0).to_string()))
    }

    async fn drift(&self, request: Request<p::VersionRequest>) -> OperatorReply<p::Document> {
        let p::VersionRequest { model, version } = request.into_inner();
        let report = views::drift(&self.0, &model, non_empty(version).as_deref())?;
        Ok(document(super::to_json(&report)))
    }

    async fn performance(&self, request: Request<p::VersionRequest>) -> OperatorReply<p::Document> {
        let p::VersionRequest { model, version } = request.into_inner();
        let report = views::performance(&self.0, &model, non_empty(version).as_deref())?;
        Ok(document(super::to_json(&report)))
    }

    async fn explain(&self, request: Request<p::VersionRequest>) -> OperatorReply<p::Document> {
        let p::VersionRequest { model, version } = request.into_inner();
        let report = views::explain(&self.0, &model, non_empty(version).as_deref())?;
        Ok(document(super::to_json(&report)))
    }

    async fn config(&self, _: Request<p::ConfigRequest>) -> OperatorReply<p::Document> {
        Ok(document(self.0.config.clone()))
    }

    async fn nudge(&self, _: Request<p::NudgeRequest>) -> OperatorReply<p::NudgeReply> {
        self.0.manager.nudge();
        Ok(Response::new(p::NudgeReply {}))
    }
}

/// Answers a call of this service or of reflection.
pub(super) async fn answer(
    front: Arc<Front>,
    request: http::Request<crate::api::request_body::RequestBody>,
) -> http::Response<tonic::body::Body> {
    use tower_service::Service;
    let path = request.uri().path().to_owned();
    let service = path
        .trim_start_matches('/')
        .split('/')
        .next()
        .unwrap_or_default();
    // The time for a body over REST, plus the time of the call itself.
    let answered = tokio::time::timeout(CALL_MAX, async {
        match service {
            "ortus.v1.Operator" => {
                operator_server::OperatorServer::new(OperatorService(front))
                    .max_decoding_message_size(super::BODY_BYTES_MAX)
                    .call(request)
                    .await
            }
            "grpc.reflection.v1.ServerReflection" => match reflection() {
                Ok(mut reflection) => reflection.call(request).await,
                Err(error) => Ok(Status::from(error).into_http()),
            },
            _ => Ok(Status::unimplemented("no such service").into_http()),
        }
    })
    .await;

    match answered {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(_) => Status::deadline_exceeded("the call took too long").into_http(),
    }
}

fn reflection() -> Result<
    tonic_reflection::server::v1::ServerReflectionServer<
        impl tonic_reflection::server::v1::ServerReflection,
    >,
> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(crate::proto::OPERATOR_DESCRIPTORS)
        .build_v1()
        .map_err(|e| Error::internal("describe the operator API").with_source(e))
}
