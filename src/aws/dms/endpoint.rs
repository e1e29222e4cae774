//! Makes, changes, tests and deletes endpoints and the certificate authorities they trust.

use aws_sdk_databasemigration::types::{PluginNameValue, PostgreSqlSettings, ReplicationEndpointTypeValue};

use super::tags::{Standing, owner_tags, tag};
use super::{Dms, EndpointSettings, words};
use crate::aws::call::{Operation, present};
use crate::aws::owner::{Ownership, SECRET_VERSION_TAG};
use crate::fault::Fault;
use crate::permit::Permit;
use crate::secret::Secret;
use crate::side::Side;

const IMPORT_CERTIFICATE: Operation = Operation::change(
    "dms",
    "ImportCertificate",
    "the keys that spec.source.tls.caRef and spec.target.tls.caRef name",
);
const DELETE_CERTIFICATE: Operation =
    Operation::change("dms", "DeleteCertificate", "spec.source.tls and spec.target.tls");
const ENDPOINT_FIELDS: &str =
    "address, database, tls and replicationCredentials of spec.source or spec.target";
const CREATE_ENDPOINT: Operation = Operation::change("dms", "CreateEndpoint", ENDPOINT_FIELDS);
const MODIFY_ENDPOINT: Operation = Operation::change("dms", "ModifyEndpoint", ENDPOINT_FIELDS);
const DELETE_ENDPOINT: Operation = Operation::change("dms", "DeleteEndpoint", ENDPOINT_FIELDS);
const TEST_CONNECTION: Operation = Operation::change("dms", "TestConnection", ENDPOINT_FIELDS);

/// Foreign keys and triggers of the target must not act on rows that come in any order, and already acted at the source.
const AS_REPLICA: &str = "SET session_replication_role='replica'";

impl Dms {
    /// Imports a certificate authority, PEM.
    pub async fn import_certificate(
        &self,
        permit: &Permit<'_>,
        ours: &Ownership,
        identifier: &str,
        pem: &str,
    ) -> Result<(), Fault> {
        let request = self
            .client
            .import_certificate()
            .certificate_identifier(identifier)
            .certificate_pem(pem)
            .set_tags(Some(owner_tags(ours)));
        self.caller.change(permit, IMPORT_CERTIFICATE, identifier, request.send()).await?;
        Ok(())
    }

    /// Deletes a certificate of ours; content if it is gone.
    pub async fn delete_certificate(
        &self,
        permit: &Permit<'_>,
        ours: &Ownership,
        arn: &str,
    ) -> Result<(), Fault> {
        if let Standing::Gone = self.prove(ours, DELETE_CERTIFICATE, arn).await? {
            return Ok(());
        }
        let request = self.client.delete_certificate().certificate_arn(arn);
        present(self.caller.change(permit, DELETE_CERTIFICATE, arn, request.send()).await)?;
        Ok(())
    }

    /// Makes an endpoint. `settings.secret_version` goes into a tag in the same call.
    pub async fn create_endpoint(
        &self,
        permit: &Permit<'_>,
        ours: &Ownership,
        identifier: &str,
        settings: &EndpointSettings,
        password: &Secret,
    ) -> Result<(), Fault> {
        let mut tags = owner_tags(ours);
        tags.extend(settings.secret_version.as_deref().map(|version| tag(SECRET_VERSION_TAG, version)));
        let request = self
            .client
            .create_endpoint()
            .endpoint_identifier(identifier)
            .endpoint_type(endpoint_type(settings.side))
            .engine_name("postgres")
            .server_name(&settings.host)
            .port(i32::from(settings.port))
            .database_name(&settings.database)
            .username(&settings.username)
            .password(password.reveal())
            .ssl_mode(words::ssl_mode(&settings.tls))
            .set_certificate_arn(settings.certificate_arn.clone())
            .postgre_sql_settings(postgres_settings(settings.side))
            .set_tags(Some(tags));
        self.caller.change(permit, CREATE_ENDPOINT, identifier, request.send()).await?;
        Ok(())
    }

    /// Sets everything of our endpoint, its password too, and then its tag: a crash between the two sets it once more.
    /// DMS itself begins a connection test then.
    pub async fn modify_endpoint(
        &self,
        permit: &Permit<'_>,
        ours: &Ownership,
        arn: &str,
        settings: &EndpointSettings,
        password: &Secret,
    ) -> Result<(), Fault> {
        self.prove_present(ours, MODIFY_ENDPOINT, arn).await?;
        let request = self
            .client
            .modify_endpoint()
            .endpoint_arn(arn)
            .endpoint_type(endpoint_type(settings.side))
            .engine_name("postgres")
            .server_name(&settings.host)
            .port(i32::from(settings.port))
            .database_name(&settings.database)
            .username(&settings.username)
            .password(password.reveal())
            .ssl_mode(words::ssl_mode(&settings.tls))
            .set_certificate_arn(settings.certificate_arn.clone())
            .postgre_sql_settings(postgres_settings(settings.side));
        self.caller.change(permit, MODIFY_ENDPOINT, arn, request.send()).await?;
        if let Some(version) = &settings.secret_version {
            self.tag(permit, arn, SECRET_VERSION_TAG, version).await?;
        }
        Ok(())
    }

    /// Asks for the deletion of our endpoint; content if it is gone.
    pub async fn delete_endpoint(
        &self,
        permit: &Permit<'_>,
        ours: &Ownership,
        arn: &str,
    ) -> Result<(), Fault> {
        if let Standing::Gone = self.prove(ours, DELETE_ENDPOINT, arn).await? {
            return Ok(());
        }
        let request = self.client.delete_endpoint().endpoint_arn(arn);
        present(self.caller.change(permit, DELETE_ENDPOINT, arn, request.send()).await)?;
        Ok(())
    }

    /// Begins a connection test of our endpoint from an instance, which may be anybody's.
    pub async fn test_connection(
        &self,
        permit: &Permit<'_>,
        ours: &Ownership,
        instance_arn: &str,
        endpoint_arn: &str,
    ) -> Result<(), Fault> {
        self.prove_present(ours, TEST_CONNECTION, endpoint_arn).await?;
        let request =
            self.client.test_connection().replication_instance_arn(instance_arn).endpoint_arn(endpoint_arn);
        self.caller.change(permit, TEST_CONNECTION, endpoint_arn, request.send()).await?;
        Ok(())
    }
}

fn endpoint_type(side: Side) -> ReplicationEndpointTypeValue {
    match side {
        Side::Source => ReplicationEndpointTypeValue::Source,
        Side::Target => ReplicationEndpointTypeValue::Target,
    }
}

/// Each is said, since AWS's defaults would put objects of its own into the source and booleans into text columns.
fn postgres_settings(side: Side) -> PostgreSqlSettings {
    let settings = PostgreSqlSettings::builder()
        .map_boolean_as_boolean(true)
        .fail_tasks_on_lob_truncation(true)
        .capture_ddls(false)
        .heartbeat_enable(false);
    match side {
        Side::Source => settings.plugin_name(PluginNameValue::TestDecoding).build(),
        Side::Target => settings.after_connect_script(AS_REPLICA).build(),
    }
}
