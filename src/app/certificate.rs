//! The certificate of the server: read from files and checked, at the start and again while the
//! server runs.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{DateTime, Utc};
use rustls::{
    client::verify_server_name,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem, pem::PemObject as _},
    server::ParsedCertificate,
    sign::CertifiedKey,
};
use tokio::fs;
use url::Url;
use x509_cert::{
    Certificate, TbsCertificate,
    der::Decode as _,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use super::{
    certificate_chain::{self, Expiry},
    error::{StartError, invalid_setting},
    tasks::Tasks,
};
use crate::{config::Config, domain::clock::Ambient, http::Tls, metrics::Metrics};

const CERTIFICATE: &str = "tls.certificate_file";
const KEY: &str = "tls.key_file";
/// How often the files are read again.
const RELOAD_EVERY: Duration = Duration::from_mins(1);

/// The files of a certificate, and the name that it must have.
#[derive(Clone)]
struct CertificateFiles {
    certificate: PathBuf,
    key: PathBuf,
    /// The host of `links.base_url`, if that is set.
    host: Option<String>,
}

/// A certificate that can be used now.
struct ValidCertificate {
    key: CertifiedKey,
    expiry: Expiry,
}

/// The certificate of a running server. Clones share it.
#[derive(Clone)]
pub(super) struct ServerCertificate {
    files: CertificateFiles,
    ambient: Ambient,
    metrics: Metrics,
    /// When the first certificate expires of those that were read at the start.
    expires_at: DateTime<Utc>,
    /// TLS with the certificate.
    pub(super) tls: Tls,
}

/// Checks the configured certificate and those of its issuers in the same file. Returns when the
/// first of them expires, or `None` if the server speaks plain HTTP.
///
/// # Errors
/// The server would not start with it. The message names the setting.
pub async fn check_certificate(
    config: &Config,
    now: DateTime<Utc>,
) -> Result<Option<Expiry>, StartError> {
    let Some(files) = CertificateFiles::of(config) else { return Ok(None) };
    Ok(Some(files.load(now).await?.expiry))
}

impl ServerCertificate {
    /// Reads and checks the configured certificate. `None` if the server speaks plain HTTP.
    pub(super) async fn load(
        config: &Config,
        ambient: &Ambient,
    ) -> Result<Option<Self>, StartError> {
        let Some(files) = CertificateFiles::of(config) else { return Ok(None) };
        let loaded = files.load(ambient.now()).await?;
        let tls = Tls::new(loaded.key)
            .map_err(|error| invalid_setting(CERTIFICATE, format!("cannot be used: {error}")))?;
        let (ambient, metrics) = (ambient.clone(), Metrics::default());
        Ok(Some(Self { files, ambient, metrics, expires_at: loaded.expiry.at, tls }))
    }

    /// Sets the metrics of the server.
    pub(super) fn with_metrics(self, metrics: &Metrics) -> Self {
        metrics.set_certificate_expiry(self.expires_at.timestamp());
        Self { metrics: metrics.clone(), ..self }
    }

    /// Reads the files again every minute.
    pub(super) fn reload_regularly(&self, tasks: &Tasks) {
        tasks.every(RELOAD_EVERY, "reloading the certificate", self, |certificate| async move {
            certificate.reload().await
        });
    }

    /// Reads the files again and uses the certificate, if it can be used.
    pub(super) async fn reload(&self) -> Result<(), StartError> {
        let loaded = self.files.load(self.ambient.now()).await;
        let loaded = loaded.inspect_err(|_| self.metrics.certificate_not_reloaded())?;
        let expires_at = loaded.expiry.at;
        self.metrics.set_certificate_expiry(expires_at.timestamp());
        if self.tls.replace(loaded.key) {
            tracing::info!(%expires_at, "uses a new certificate");
        }
        Ok(())
    }
}

impl CertificateFiles {
    fn of(config: &Config) -> Option<Self> {
        let url = config.links.base_url.as_deref().and_then(|url| Url::parse(url).ok());
        let host = url.and_then(|url| Some(url.host_str()?.trim_matches(['[', ']']).to_owned()));
        Some(Self {
            certificate: config.tls.certificate_file.clone()?,
            key: config.tls.key_file.clone()?,
            host,
        })
    }

    async fn load(&self, now: DateTime<Utc>) -> Result<ValidCertificate, StartError> {
        let pem = read(CERTIFICATE, &self.certificate).await?;
        let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| self.certificate_error(describe(&error)))?;
        let checked = certificate_chain::check(&chain, now);
        let expiry = checked.map_err(|problem| self.certificate_error(problem))?;
        if let Some(own) = chain.first() {
            self.check_name(own)?;
        }
        let pem = read(KEY, &self.key).await?;
        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
            let problem = format!("{}. It must be in PEM form and not encrypted", describe(&error));
            self.key_error(problem)
        })?;
        let key = CertifiedKey::from_der(chain.clone(), key, &ring::default_provider());
        let key = key.map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                let file = self.certificate.display();
                self.key_error(format!(
                    "the file is not the key of the certificate in {file}: name the key that the \
                     certificate was issued for, and put the server's own certificate first"
                ))
            }
            error => self.key_error(format!("the key cannot be used: {error}")),
        })?;
        Ok(ValidCertificate { key, expiry })
    }

    /// Checks that the server's own certificate is for the host.
    fn check_name(&self, certificate: &CertificateDer<'_>) -> Result<(), StartError> {
        let Some(host) = &self.host else { return Ok(()) };
        let malformed = |error: &dyn std::fmt::Display| {
            self.certificate_error(format!("the certificate is damaged: {error}"))
        };
        let parsed = Certificate::from_der(certificate).map_err(|error| malformed(&error))?;
        let (name, subject) = (
            ServerName::try_from(host.as_str()).map_err(|error| malformed(&error))?,
            ParsedCertificate::try_from(certificate).map_err(|error| malformed(&error))?,
        );
        verify_server_name(&subject, &name).map_err(|_| {
            self.certificate_error(format!(
                "the certificate is not for {host}, the host of `links.base_url`, but for {}: use a certificate \
                 that names it, or correct the setting",
                names(&parsed.tbs_certificate)
            ))
        })
    }

    fn certificate_error(&self, problem: impl Into<String>) -> StartError {
        let (file, problem) = (self.certificate.display(), problem.into());
        invalid_setting(CERTIFICATE, format!("is {file}: {problem}"))
    }

    fn key_error(&self, problem: impl Into<String>) -> StartError {
        let (file, problem) = (self.key.display(), problem.into());
        invalid_setting(KEY, format!("is {file}: {problem}"))
    }
}

async fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, StartError> {
    fs::read(path).await.map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::PermissionDenied => ": let the user of the server read it",
            _ => "",
        };
        let problem = format!("is {}: the file cannot be read: {error}{advice}", path.display());
        invalid_setting(key, problem)
    })
}

fn describe(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "the file contains no private key".to_owned(),
        error => format!("the file is damaged: {error}"),
    }
}

/// Returns the names of a certificate, for people.
fn names(certificate: &TbsCertificate) -> String {
    let Ok(Some((_, SubjectAltName(names)))) = certificate.get::<SubjectAltName>() else {
        return "no host".to_owned();
    };
    let names = names.iter().filter_map(|name| match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(address) => {
            let bytes = address.as_bytes();
            let four = <[u8; 4]>::try_from(bytes).map(std::net::IpAddr::from);
            let sixteen = || <[u8; 16]>::try_from(bytes).map(std::net::IpAddr::from);
            Some(four.or_else(|_| sixteen()).ok()?.to_string())
        }
        _ => None,
    });
    names.collect::<Vec<_>>().join(", ")
}
