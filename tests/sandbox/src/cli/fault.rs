//! `fault`: make AWS misbehave, and stop it.

use super::Fault;
use crate::sandbox::Environment;
use crate::serve::fault::{Client, Command, USAGE};

/// Sends one fault to the stand-in and prints its answer.
pub(super) async fn fault(flags: &Fault) -> Result<(), String> {
    if flags.words == ["help"] {
        println!("{USAGE}");
        return Ok(());
    }
    let command = Command::parse(&flags.words).map_err(|error| error.to_string())?;
    let environment = Environment::read(&flags.dir).map_err(|error| error.to_string())?;
    let client = Client::new(environment.get("AWS_ENDPOINT_URL").map_err(|error| error.to_string())?);
    println!("{}", client.run(command).await.map_err(|error| error.to_string())?);
    Ok(())
}
