//! Certificates for tests, and clients that trust them.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{Datelike as _, NaiveDate};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, date_time_ymd,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// The name in the certificates of the tests' servers.
pub const HOST: &str = "support.example.com";

/// From when to when a certificate is valid, as years.
pub const VALID: (i32, i32) = (2020, 2100);

/// An issuer of certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// The files of a certificate.
pub struct CertificateFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl CertificateFiles {
    /// The settings of a server that uses them.
    pub fn settings(&self) -> [(&'static str, &str); 2] {
        [
            ("TICKETWIRE_TLS_CERTIFICATE_FILE", self.certificate.to_str().unwrap()),
            ("TICKETWIRE_TLS_KEY_FILE", self.key.to_str().unwrap()),
        ]
    }
}

/// How a client speaks TLS with a server.
#[derive(Clone)]
pub struct Secure {
    /// The name that the client asks for.
    pub host: String,
    pub address: SocketAddr,
    root: CertificateDer<'static>,
}

/// The first day of a year.
fn new_year(year: i32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, 1, 1).unwrap()
}

/// Makes a certificate valid from the beginning of a day until that of another.
fn limit(params: &mut CertificateParams, days: [NaiveDate; 2]) {
    [params.not_before, params.not_after] =
        days.map(|day| date_time_ymd(day.year(), day.month() as u8, day.day() as u8));
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Root");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Certifies another issuer with this name, valid in these years.
    pub fn certify(&self, name: &str, (from, to): (i32, i32)) -> Self {
        self.certify_between(name, [new_year(from), new_year(to)])
    }

    /// Certifies another issuer with this name, valid until the beginning of a day.
    pub fn certify_until(&self, name: &str, end: NaiveDate) -> Self {
        self.certify_between(name, [new_year(VALID.0), end])
    }

    fn certify_between(&self, name: &str, days: [NaiveDate; 2]) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        limit(&mut params, days);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::signed_by(params, key, &self.0).unwrap())
    }

    /// Writes a certificate for a name, valid in these years, into a folder.
    pub fn issue(&self, folder: &Path, host: &str, (from, to): (i32, i32)) -> CertificateFiles {
        self.issue_between(folder, host, [new_year(from), new_year(to)])
    }

    /// Writes a certificate for a name, valid until the beginning of a day, into a folder.
    pub fn issue_until(&self, folder: &Path, host: &str, end: NaiveDate) -> CertificateFiles {
        self.issue_between(folder, host, [new_year(VALID.0), end])
    }

    fn issue_between(&self, folder: &Path, host: &str, days: [NaiveDate; 2]) -> CertificateFiles {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        limit(&mut params, days);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        CertificateFiles::write(folder, &certificate.pem(), &key)
    }

    /// Writes the certificate of an issuer that is also one for a name into a folder.
    pub fn as_server(folder: &Path, host: &str) -> CertificateFiles {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        CertificateFiles::write(folder, &certificate.pem(), &key)
    }

    /// The certificate of this issuer.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// How a client that trusts this issuer speaks with the server at an address.
    pub fn secure(&self, address: SocketAddr) -> Secure {
        Secure { host: HOST.to_owned(), address, root: self.0.der().clone() }
    }
}

impl CertificateFiles {
    fn write(folder: &Path, certificate: &str, key: &KeyPair) -> Self {
        let files =
            Self { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") };
        fs::write(&files.certificate, certificate).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    /// Appends the certificates of these issuers.
    pub fn with_issuers(self, issuers: &[&Authority]) -> Self {
        let own = fs::read_to_string(&self.certificate).unwrap();
        let issuers = issuers.iter().map(|issuer| issuer.pem());
        fs::write(&self.certificate, own + &issuers.collect::<String>()).unwrap();
        self
    }

    /// The settings of a server with this certificate, on a free port.
    pub fn flags(&self) -> Vec<(&'static str, String)> {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        vec![
            ("tls.certificate_file", text(&self.certificate)),
            ("tls.key_file", text(&self.key)),
            ("links.base_url", format!("https://{HOST}")),
        ]
    }
}

impl Secure {
    pub fn config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    /// Opens a connection.
    pub async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        self.connect_with(self.config()).await
    }

    /// Opens a connection with another configuration.
    pub async fn connect_with(&self, config: ClientConfig) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from(self.host.clone()).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}
