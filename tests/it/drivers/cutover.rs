//! The same application through a real cutover: the operator moves the writer, and nobody tells the application.

use serde_json::json;

use super::application::{Application, Retries};
use super::judge::Held;
use super::{directory, steady};
use crate::journey::{Journey, NAME, execute, spec, texts};

const TABLE: &str = "SET ROLE payments_owner;
                     CREATE TABLE public.application_writes (key text PRIMARY KEY, writer integer NOT NULL)";
const KEYS: &str = "SELECT key FROM public.application_writes";

#[tokio::test(flavor = "multi_thread")]
async fn a_java_application_goes_through_a_cutover_by_itself() {
    let mut journey = Box::pin(Journey::begin("java")).await;
    let login = |name| journey.environment().login(name).unwrap();
    let (source, target) = (login("SOURCE_APP_DSN"), login("TARGET_APP_DSN"));
    for server in [&journey.sandbox.source, &journey.sandbox.target] {
        // A list of hosts has one password.
        let password = format!("RESET ROLE; ALTER ROLE payments_app PASSWORD '{}'", source.password);
        execute(server, &format!("{TABLE}; {password}")).await;
    }
    journey.start_operator();
    journey.apply(|object| object["spec"]["cutover"]["maxWriteOutage"] = json!("20s")).await;
    Box::pin(journey.until_replicating(NAME)).await;

    std::fs::create_dir_all(directory()).unwrap();
    let authority = directory().join(format!("cutover-{}.pem", std::process::id()));
    std::fs::write(&authority, [&*source.ca, &*target.ca].concat()).unwrap();
    let url = format!(
        "jdbc:postgresql://{}:{},{}:{}/{}?sslmode=verify-full&sslrootcert={}",
        source.host,
        source.port,
        target.host,
        target.port,
        source.database,
        authority.display()
    );
    let mut application = Application::start(&url, &source.user, &source.password, Retries::Source);
    application.until("all writers on the source", |seen| steady(seen, source.port)).await;

    journey.patch(NAME, spec(json!({"goal": "CutOver"}))).await.unwrap();
    let view = journey.until(NAME, "Soaking", |view| view.is_current() && view.phase() == "Soaking").await;
    assert_eq!(view.status()["writer"], "Target", "{}", view.describe());
    application.until("all writers on the target", |seen| steady(seen, target.port)).await;
    let attempts = application.end().await;
    std::fs::remove_file(&authority).unwrap();

    let keys = |server| async move { texts(server, KEYS).await.into_iter().collect() };
    let held = Held {
        ports: [source.port, target.port],
        keys: [keys(&journey.sandbox.source).await, keys(&journey.sandbox.target).await],
        replicated: true,
    };
    held.judge(&attempts);
    journey.end().await;
}
