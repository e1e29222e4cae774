//! How a server's certificate is checked: against the given authorities and no others.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, crypto,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::api::condition::Reason;
use crate::api::database::TlsMode;
use crate::fault::Fault;
use crate::side::Side;

/// A connector that trusts `ca_pem` alone.
pub(super) fn connector(side: Side, mode: TlsMode, ca_pem: &str) -> Result<MakeRustlsConnect, Fault> {
    let invalid = |why: &dyn std::fmt::Display| {
        Fault::blocked(
            Reason::CertificateAuthorityInvalid,
            format_args!("the certificate authorities of the {side} can't be used: {why}"),
            format_args!(
                "Put the PEM text of the authority that issued the server's certificate where \
                 spec.{side}.tls.caRef points"
            ),
        )
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        let certificate =
            certificate.map_err(|error| invalid(&format_args!("the PEM text is damaged ({error:?})")))?;
        roots
            .add(certificate)
            .map_err(|error| invalid(&format_args!("a certificate in it is damaged ({error})")))?;
    }
    if roots.is_empty() {
        return Err(invalid(&"the text contains no certificate"));
    }
    // Named outright: with a process-wide default, the first crate to install one would decide.
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| invalid(&error))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Fault::Bug(format!("no TLS version is left to use: {error}")))?;
    let config = match mode {
        TlsMode::VerifyFull => builder.with_webpki_verifier(verifier),
        TlsMode::VerifyCA => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyName(verifier)))
        }
    };
    Ok(MakeRustlsConnect::new(config.with_no_client_auth()))
}

/// Checks all that its inner verifier checks, but forgives a certificate that is made out to another name.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is the last thing that the inner verifier looks at: the chain is good.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_text_without_a_certificate_is_refused() {
        let damaged = "-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n";
        for text in ["", "not PEM at all", damaged, "-----BEGIN CERTIFICATE-----\n"] {
            let Err(Fault::Blocked(blocked)) = connector(Side::Target, TlsMode::VerifyFull, text).map(|_| ())
            else {
                panic!("{text:?} was accepted");
            };
            assert_eq!(blocked.reason, Reason::CertificateAuthorityInvalid);
            assert!(blocked.message.contains("spec.target.tls.caRef"), "{}", blocked.message);
        }
    }
}
