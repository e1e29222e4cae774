//! A stand-in for Pulumi's engine: the gRPC services that a program speaks to, on loopback, over the recording monitor.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use prost_types::Struct;
use pulumi_gestalt_proto::pulumi::pulumirpc as rpc;
use rpc::engine_server::{Engine as Logs, EngineServer};
use rpc::resource_monitor_server::{ResourceMonitor, ResourceMonitorServer};
use slipway_infra::pulumi::grpc::{fields_in, fields_out};
use slipway_infra::pulumi::{Invocation, Registration, Rules, Value};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::mock::{Mock, Record};

/// The server and what it has seen. It ends when it is dropped.
pub struct Engine {
    pub address: String,
    pub seen: Arc<Seen>,
    runtime: tokio::runtime::Runtime,
}

/// How an engine may differ.
#[derive(Clone, Copy, Default, PartialEq)]
pub enum Way {
    #[default]
    Usual,
    /// Keeps no secrets.
    NoSecrets,
    /// Tells what failed by `result`, as engines do that go on after errors, and not by a status.
    FailsByResult,
    /// Knows no signal at the end.
    Old,
    RefusesCalls,
}

#[derive(Default)]
pub struct Seen {
    pub mock: Mock,
    pub requests: Mutex<Vec<rpc::RegisterResourceRequest>>,
    pub way: Way,
}

impl Engine {
    pub fn start(seen: Seen) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let seen = Arc::new(seen);
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let services = (Service(seen.clone()), Service(seen.clone()));
        runtime.spawn(
            Server::builder()
                .add_service(ResourceMonitorServer::new(services.0))
                .add_service(EngineServer::new(services.1))
                .serve_with_incoming(TcpIncoming::from(listener)),
        );
        Self { address, seen, runtime }
    }

    pub fn record(&self) -> Record {
        self.seen.mock.record.lock().unwrap().clone()
    }

    pub fn stop(self) {
        self.runtime.shutdown_background();
    }
}

struct Service(Arc<Seen>);

fn registration(request: &rpc::RegisterResourceRequest) -> Registration {
    Registration {
        kind: request.r#type.clone(),
        name: request.name.clone(),
        parent: request.parent.clone(),
        custom: request.custom,
        inputs: fields_in(request.object.clone()),
        needs: request.dependencies.iter().cloned().collect(),
        property_needs: request
            .property_dependencies
            .iter()
            .map(|(name, it)| (name.clone(), it.urns.iter().cloned().collect()))
            .collect(),
        provider: request.provider.clone(),
        version: request.version.clone(),
        rules: Rules {
            protect: request.protect.unwrap_or_default(),
            delete_before_replace: request.delete_before_replace,
            retain_on_delete: request.retain_on_delete.unwrap_or_default(),
            import_id: request.import_id.clone(),
            ignore_changes: request.ignore_changes.clone(),
            secret_outputs: request.additional_secret_outputs.clone(),
            timeouts: request.custom_timeouts.as_ref().map_or_else(Default::default, |it| {
                slipway_infra::pulumi::Timeouts {
                    create: it.create.clone(),
                    update: it.update.clone(),
                    delete: it.delete.clone(),
                }
            }),
            ..Rules::default()
        },
    }
}

#[tonic::async_trait]
impl ResourceMonitor for Service {
    async fn supports_feature(
        &self,
        request: Request<rpc::SupportsFeatureRequest>,
    ) -> Result<Response<rpc::SupportsFeatureResponse>, Status> {
        let has_support = request.get_ref().id == "secrets" && self.0.way != Way::NoSecrets;
        Ok(Response::new(rpc::SupportsFeatureResponse { has_support }))
    }

    async fn invoke(
        &self,
        request: Request<rpc::ResourceInvokeRequest>,
    ) -> Result<Response<rpc::InvokeResponse>, Status> {
        let request = request.into_inner();
        let call = Invocation {
            token: request.tok,
            arguments: fields_in(request.args),
            provider: request.provider,
            version: request.version,
        };
        if self.0.way == Way::RefusesCalls {
            let failure =
                rpc::CheckFailure { property: "filters".to_owned(), reason: "not like this".to_owned() };
            return Ok(Response::new(rpc::InvokeResponse { r#return: None, failures: vec![failure] }));
        }
        let answer = fields_out(self.0.mock.call(call));
        Ok(Response::new(rpc::InvokeResponse { r#return: Some(answer), failures: Vec::new() }))
    }

    async fn register_resource(
        &self,
        request: Request<rpc::RegisterResourceRequest>,
    ) -> Result<Response<rpc::RegisterResourceResponse>, Status> {
        let request = request.into_inner();
        let answer = self.0.mock.answer(registration(&request));
        self.0.requests.lock().unwrap().push(request);
        match answer {
            Ok(it) => Ok(Response::new(rpc::RegisterResourceResponse {
                urn: it.urn,
                id: it.id,
                object: Some(fields_out(it.properties)),
                ..rpc::RegisterResourceResponse::default()
            })),
            Err(_) if self.0.way == Way::FailsByResult => Ok(Response::new(rpc::RegisterResourceResponse {
                result: rpc::Result::Fail.into(),
                ..rpc::RegisterResourceResponse::default()
            })),
            Err(why) => Err(Status::unknown(why)),
        }
    }

    async fn register_resource_outputs(
        &self,
        request: Request<rpc::RegisterResourceOutputsRequest>,
    ) -> Result<Response<()>, Status> {
        let request = request.into_inner();
        let outputs: BTreeMap<String, Value> = fields_in(request.outputs.or_else(|| Some(Struct::default())));
        self.0.mock.record.lock().unwrap().outputs.insert(request.urn, outputs);
        Ok(Response::new(()))
    }

    async fn signal_and_wait_for_shutdown(&self, _: Request<()>) -> Result<Response<()>, Status> {
        if self.0.way == Way::Old {
            return Err(Status::unimplemented("of a later version"));
        }
        self.0.mock.record.lock().unwrap().done = true;
        Ok(Response::new(()))
    }

    async fn call(
        &self,
        _: Request<rpc::ResourceCallRequest>,
    ) -> Result<Response<rpc::CallResponse>, Status> {
        Err(Status::unimplemented("call"))
    }
    async fn read_resource(
        &self,
        _: Request<rpc::ReadResourceRequest>,
    ) -> Result<Response<rpc::ReadResourceResponse>, Status> {
        Err(Status::unimplemented("read"))
    }
    async fn register_stack_transform(&self, _: Request<rpc::Callback>) -> Result<Response<()>, Status> {
        Err(Status::unimplemented("transform"))
    }
    async fn register_stack_invoke_transform(
        &self,
        _: Request<rpc::Callback>,
    ) -> Result<Response<()>, Status> {
        Err(Status::unimplemented("transform"))
    }
    async fn register_resource_hook(
        &self,
        _: Request<rpc::RegisterResourceHookRequest>,
    ) -> Result<Response<()>, Status> {
        Err(Status::unimplemented("hook"))
    }
    async fn register_error_hook(
        &self,
        _: Request<rpc::RegisterErrorHookRequest>,
    ) -> Result<Response<()>, Status> {
        Err(Status::unimplemented("hook"))
    }
    async fn register_package(
        &self,
        _: Request<rpc::RegisterPackageRequest>,
    ) -> Result<Response<rpc::RegisterPackageResponse>, Status> {
        Err(Status::unimplemented("package"))
    }
}

#[tonic::async_trait]
impl Logs for Service {
    async fn log(&self, request: Request<rpc::LogRequest>) -> Result<Response<()>, Status> {
        self.0.mock.record.lock().unwrap().logs.push(request.into_inner().message);
        Ok(Response::new(()))
    }
    async fn get_root_resource(
        &self,
        _: Request<rpc::GetRootResourceRequest>,
    ) -> Result<Response<rpc::GetRootResourceResponse>, Status> {
        Err(Status::unimplemented("root"))
    }
    async fn set_root_resource(
        &self,
        _: Request<rpc::SetRootResourceRequest>,
    ) -> Result<Response<rpc::SetRootResourceResponse>, Status> {
        Err(Status::unimplemented("root"))
    }
    async fn start_debugging(&self, _: Request<rpc::StartDebuggingRequest>) -> Result<Response<()>, Status> {
        Err(Status::unimplemented("debugging"))
    }
    async fn require_pulumi_version(
        &self,
        _: Request<rpc::RequirePulumiVersionRequest>,
    ) -> Result<Response<rpc::RequirePulumiVersionResponse>, Status> {
        Err(Status::unimplemented("version"))
    }
}
