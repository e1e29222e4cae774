//! `pulumi up` starts this; `tables` prints the tables of docs/infrastructure.md.

use std::process::ExitCode;
use std::sync::Arc;

use slipway_infra::config::{self, Config};
use slipway_infra::pulumi::grpc::Engine;
use slipway_infra::pulumi::{Context, Level, Monitor, Settings};
use slipway_infra::{environment, flows};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == ["tables"] {
        println!("{}\n{}", config::table(), flows::table());
        return ExitCode::SUCCESS;
    }
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failures) => {
            for failure in failures {
                eprintln!("{failure}");
            }
            ExitCode::FAILURE
        }
    }
}

/// The configuration is checked before the engine hears of a single resource.
async fn run() -> Result<(), Vec<String>> {
    let settings = Settings::read(|name| std::env::var(name).ok()).map_err(|it| vec![it])?;
    let engine = Engine::connect(&settings.monitor, &settings.engine).await.map_err(|it| vec![it])?;
    let config = match Config::read(&settings.project, &settings.config) {
        Ok(config) => config,
        Err(refused) => {
            let refused: Vec<String> = refused.iter().map(ToString::to_string).collect();
            for line in &refused {
                engine.log(Level::Error, line.clone(), String::new()).await;
            }
            return Err(refused);
        }
    };
    let context = Context::new(Arc::new(engine), &settings.project, &settings.stack, settings.preview);
    environment::build(&context, &config).await;
    context.finish().await
}
