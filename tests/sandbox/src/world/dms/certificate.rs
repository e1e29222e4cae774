//! Imported certificates.
//!
//! | rule | source |
//! |---|---|
//! | what is not a PEM certificate is `InvalidCertificateFault` | API model of ImportCertificate |
//! | can't be deleted while an endpoint uses it | API model of DeleteCertificate |

use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde::{Deserialize, Serialize};

use super::{Describe, Reply, Tag, epoch, filter, tags};
use crate::world::{Refusal, World, names};

#[derive(Clone, Debug)]
pub(in crate::world) struct Certificate {
    pub(super) identifier: String,
    pub(super) pem: String,
    created: Timestamp,
}

/// `ImportCertificate`
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct ImportCertificate {
    pub certificate_identifier: String,
    pub certificate_pem: String,
    #[serde(default)]
    pub tags: Vec<Tag>,
}

/// `DeleteCertificate`
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct DeleteCertificate {
    pub certificate_arn: String,
}

/// A certificate as AWS shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct CertificateView {
    pub certificate_identifier: String,
    pub certificate_arn: String,
    #[serde(with = "epoch")]
    pub certificate_creation_date: Option<Timestamp>,
    pub certificate_pem: String,
    pub certificate_owner: String,
}

impl World {
    pub(super) fn import_certificate(&mut self, call: ImportCertificate) -> Result<Reply, Refusal> {
        let identifier = call.certificate_identifier;
        names::check("CertificateIdentifier", &identifier, 255)?;
        let new_tags = tags::checked(&call.tags)?;
        check_pem(&call.certificate_pem)?;
        if let Some((arn, _)) =
            self.dms.certificates.iter().find(|(_, certificate)| certificate.identifier == identifier)
        {
            return Err(Refusal::exists("certificate", &identifier, arn));
        }
        if self.dms.certificates.len() >= 100 {
            return Err(Refusal::quota("certificates", 100));
        }
        let tail = self.names.tail(None)?;
        let arn = self.names.arn("dms", "cert", &tail);
        let certificate = Certificate { identifier, pem: call.certificate_pem, created: self.now };
        let view = self.certificate_view(&arn, &certificate);
        self.dms.certificates.insert(arn.clone(), certificate);
        self.dms.tags.insert(arn, new_tags);
        Ok(Reply::Certificate(view))
    }

    pub(super) fn describe_certificates(&self, call: &Describe) -> Result<Reply, Refusal> {
        let all = self.dms.certificates.iter().map(|(arn, certificate)| {
            let attributes = vec![arn.clone(), certificate.identifier.clone()];
            (arn.clone(), attributes, self.certificate_view(arn, certificate))
        });
        filter::page(call, 100, &["certificate-arn", "certificate-id"], self.switches, "certificate", all)
            .map(Reply::Certificates)
    }

    pub(super) fn delete_certificate(&mut self, call: &DeleteCertificate) -> Result<Reply, Refusal> {
        let arn = &call.certificate_arn;
        let Some(certificate) = self.dms.certificates.get(arn) else {
            return Err(Refusal::not_found(format!("certificate {arn} does not exist")));
        };
        if let Some(user) =
            self.dms.endpoints.values().find(|endpoint| endpoint.certificate.as_ref() == Some(arn))
        {
            return Err(Refusal::state(format!(
                "certificate {} is used by endpoint {}",
                certificate.identifier, user.identifier
            )));
        }
        let view = self.certificate_view(arn, certificate);
        self.dms.certificates.remove(arn);
        self.dms.tags.remove(arn);
        Ok(Reply::Certificate(view))
    }

    fn certificate_view(&self, arn: &str, certificate: &Certificate) -> CertificateView {
        CertificateView {
            certificate_identifier: certificate.identifier.clone(),
            certificate_arn: arn.to_owned(),
            certificate_creation_date: Some(certificate.created),
            certificate_pem: certificate.pem.clone(),
            certificate_owner: self.names.account().to_owned(),
        }
    }
}

fn check_pem(pem: &str) -> Result<(), Refusal> {
    let refuse = |why: String| Refusal::new("InvalidCertificateFault", why);
    let certificates: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| refuse(format!("CertificatePem can't be read: {error:?}")))?;
    if certificates.is_empty() {
        return Err(refuse("CertificatePem holds no certificate".to_owned()));
    }
    let mut store = RootCertStore::empty();
    for certificate in certificates {
        store.add(certificate).map_err(|error| refuse(format!("CertificatePem: {error}")))?;
    }
    Ok(())
}
