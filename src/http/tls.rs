//! TLS of the API's listener, with a certificate that can be replaced while the server runs.

use std::{io, sync::Arc};

use parking_lot::RwLock;
use rustls::{
    AlertDescription, Error, ServerConfig,
    crypto::ring,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::metrics::HandshakeFailure;

/// What the server offers by ALPN (RFC 7301). A client that speaks only HTTP/2 is refused.
const PROTOCOL: &[u8] = b"http/1.1";

/// Performs TLS handshakes. Clones share the certificate.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    certificate: Arc<Certificate>,
}

/// The certificate of new handshakes.
#[derive(Debug)]
struct Certificate(RwLock<Arc<CertifiedKey>>);

impl Certificate {
    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.read())
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl Tls {
    /// Uses a certificate, whatever name a client asks for.
    ///
    /// # Errors
    /// The provider of cryptography supports no version of TLS, which a build decides.
    pub fn new(certificate: CertifiedKey) -> Result<Self, Error> {
        let certificate = Arc::new(Certificate(RwLock::new(Arc::new(certificate))));
        let provider = Arc::new(ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificate) as _);
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate })
    }

    /// Uses another certificate for handshakes from now on. Returns whether it differs from the one
    /// in use. Open connections continue.
    pub fn replace(&self, certificate: CertifiedKey) -> bool {
        let mut current = self.certificate.0.write();
        let differs = current.cert != certificate.cert;
        *current = Arc::new(certificate);
        differs
    }

    /// Performs the handshake of a connection.
    ///
    /// # Errors
    /// The client broke it off, or does not speak this TLS.
    pub(super) async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.acceptor.accept(stream).await
    }
}

/// Returns why a handshake failed.
pub(super) fn failure(error: &io::Error) -> HandshakeFailure {
    let Some(error) = error.get_ref().and_then(|error| error.downcast_ref::<Error>()) else {
        return HandshakeFailure::Closed;
    };
    match error {
        Error::AlertReceived(alert) => match alert {
            AlertDescription::CloseNotify | AlertDescription::UserCanceled => {
                HandshakeFailure::Closed
            }
            // Some clients, such as rustls, send `DecryptError` if the issuer has not signed it.
            AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::DecryptError
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA => HandshakeFailure::CertificateRefused,
            AlertDescription::HandshakeFailure
            | AlertDescription::ProtocolVersion
            | AlertDescription::InsufficientSecurity => HandshakeFailure::Incompatible,
            _ => HandshakeFailure::Other,
        },
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => HandshakeFailure::Incompatible,
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_)
        | Error::PeerSentOversizedRecord
        | Error::DecryptError => HandshakeFailure::Malformed,
        _ => HandshakeFailure::Other,
    }
}
