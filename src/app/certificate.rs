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
    certificate_chain::{self, Chain, TrustedCertificate},
    error::{StartError, invalid_setting, unusable_setting},
    tasks::Tasks,
};
use crate::{config::Config, domain::clock::Ambient, http::Tls, metrics::Metrics};

const CERTIFICATE: &str = "tls.certificate_file";
const KEY: &str = "tls.key_file";
const MAIL_CERTIFICATE: &str = "mail.ca_file";
/// What is wrong with `links.base_url` if [`base_url_lacks_tls`], and what to do.
pub const BASE_URL_LACKS_TLS: &str = "`links.base_url` begins with http://, and `listen`, which speaks TLS only, has the same port: \
     begin it with https://, unless it is the address of a reverse proxy";
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
    chain: Chain,
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

/// Checks the configured certificate and those of its issuers in the same file. Returns `None` if the
/// server speaks plain HTTP.
///
/// # Errors
/// The server would not start with it. The message names the setting.
pub async fn check_certificate(
    config: &Config,
    now: DateTime<Utc>,
) -> Result<Option<Chain>, StartError> {
    let Some(files) = CertificateFiles::of(config) else { return Ok(None) };
    Ok(Some(files.load(now).await?.chain))
}

/// Returns the certificates that are trusted for the mail server in addition to those of the system,
/// or `None` if there are none.
///
/// # Errors
/// The file cannot be read, a certificate is damaged, or it contains none. The message names the
/// setting.
pub async fn mail_certificates(
    config: &Config,
) -> Result<Option<Vec<TrustedCertificate>>, StartError> {
    let Some(file) = &config.mail.ca_file else { return Ok(None) };
    let pem = read(MAIL_CERTIFICATE, file).await?;
    let trusted = parse(&pem).and_then(|found| certificate_chain::trusted(&found));
    trusted.map(Some).map_err(|problem| in_file(MAIL_CERTIFICATE, file, &problem))
}

/// Whether `links.base_url` names the port that the server listens on, and that speaks TLS, without TLS.
pub fn base_url_lacks_tls(config: &Config) -> bool {
    let url = config.links.base_url.as_deref().and_then(|url| Url::parse(url).ok());
    let lacks_tls = |url: Url| {
        url.scheme() == "http" && url.port_or_known_default() == Some(config.listen.port())
    };
    config.tls.certificate_file.is_some() && url.is_some_and(lacks_tls)
}

impl ServerCertificate {
    /// Reads and checks the configured certificate. `None` if the server speaks plain HTTP.
    pub(super) async fn load(
        config: &Config,
        ambient: &Ambient,
    ) -> Result<Option<Self>, StartError> {
        let Some(files) = CertificateFiles::of(config) else { return Ok(None) };
        let loaded = files.load(ambient.now()).await?;
        files.warn_of_doubts(&loaded.chain);
        if base_url_lacks_tls(config) {
            tracing::warn!("{BASE_URL_LACKS_TLS}");
        }
        let tls = Tls::new(loaded.key)
            .map_err(|error| invalid_setting(CERTIFICATE, format!("cannot be used: {error}")))?;
        let (ambient, metrics) = (ambient.clone(), Metrics::default());
        Ok(Some(Self { files, ambient, metrics, expires_at: loaded.chain.expiry.at, tls }))
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
        let expires_at = loaded.chain.expiry.at;
        self.metrics.set_certificate_expiry(expires_at.timestamp());
        if self.tls.replace(loaded.key) {
            tracing::info!(%expires_at, "uses a new certificate");
            self.files.warn_of_doubts(&loaded.chain);
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
        let problem = |problem: String| self.certificate_error(problem);
        let certificates = parse(&pem).map_err(problem)?;
        let chain = certificate_chain::check(&certificates, now).map_err(problem)?;
        if let Some(own) = certificates.first() {
            self.check_name(own)?;
        }
        let pem = read(KEY, &self.key).await?;
        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
            let problem = format!("{}. It must be in PEM form and not encrypted", describe(&error));
            self.key_error(problem)
        })?;
        let key = CertifiedKey::from_der(certificates, key, &ring::default_provider());
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
        Ok(ValidCertificate { key, chain })
    }

    /// Logs why some clients may refuse the certificates.
    fn warn_of_doubts(&self, chain: &Chain) {
        if !chain.doubts.is_empty() {
            let (doubts, advice) = (chain.doubts.join("; "), chain.advice.join("; "));
            let file = self.certificate.display();
            tracing::warn!(
                "some clients may refuse the certificates of {CERTIFICATE}, {file}: {doubts}. To do: {advice}"
            );
        }
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
        in_file(CERTIFICATE, &self.certificate, &problem.into())
    }

    fn key_error(&self, problem: impl Into<String>) -> StartError {
        in_file(KEY, &self.key, &problem.into())
    }
}

fn in_file(key: &'static str, file: &Path, problem: &str) -> StartError {
    unusable_setting(key, format!("is {}: {problem}", file.display()))
}

fn parse(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| describe(&error))
}

async fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, StartError> {
    fs::read(path).await.map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::PermissionDenied => ": let the user of the server read it",
            _ => "",
        };
        in_file(key, path, &format!("the file cannot be read: {error}{advice}"))
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
