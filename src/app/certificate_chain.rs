//! The certificates in a file, the server's own first: how long they are valid, and whether each was
//! issued by the next one.

use chrono::{DateTime, Utc};
use rustls::{crypto::ring, pki_types::CertificateDer};
use x509_cert::{
    Certificate,
    der::{self, Decode as _, Encode as _, Header, Reader as _, SliceReader},
    spki::AlgorithmIdentifierOwned,
    time::Time,
};

/// When the first certificate of a chain expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The time.
    pub at: DateTime<Utc>,
    /// The certificate in words, if it is that of an issuer and not the server's own.
    pub issuer: Option<String>,
}

/// Checks the certificates of a file. Returns when the first of them expires.
///
/// # Errors
/// Clients that know only the root refuse the chain. The text says why, and what to do.
pub(super) fn check(chain: &[CertificateDer<'_>], now: DateTime<Utc>) -> Result<Expiry, String> {
    let mut first: Option<Expiry> = None;
    let mut issued: Option<Link<'_>> = None;
    for (index, bytes) in chain.iter().enumerate() {
        let link = Link::read(index + 1, bytes)?;
        if let Some(issued) = &issued {
            link.require_issuer_of(issued)?;
        }
        let at = link.check_dates(now)?;
        if first.as_ref().is_none_or(|first| at < first.at) {
            first = Some(Expiry { at, issuer: (index > 0).then(|| link.title()) });
        }
        issued = Some(link);
    }
    first.ok_or_else(|| {
        "the file contains no certificate. It must be in PEM form: -----BEGIN CERTIFICATE-----"
            .to_owned()
    })
}

/// A certificate of the file.
struct Link<'c> {
    /// Its place in the file, from 1.
    number: usize,
    bytes: &'c [u8],
    certificate: Certificate,
}

impl<'c> Link<'c> {
    fn read(number: usize, bytes: &'c [u8]) -> Result<Self, String> {
        match Certificate::from_der(bytes) {
            Ok(certificate) => Ok(Self { number, bytes, certificate }),
            Err(error) if number == 1 => Err(format!("the certificate is damaged: {error}")),
            Err(error) => Err(format!("certificate {number} of the file is damaged: {error}")),
        }
    }

    /// Names the certificate at the beginning of a sentence.
    fn title(&self) -> String {
        match self.number {
            1 => "the certificate".to_owned(),
            number => {
                let subject = &self.certificate.tbs_certificate.subject;
                format!("certificate {number} of the file ({subject})")
            }
        }
    }

    /// Returns when the certificate expires.
    fn check_dates(&self, now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
        let validity = &self.certificate.tbs_certificate.validity;
        let [begins, ends] = [validity.not_before, validity.not_after].map(time);
        let title = self.title();
        if now < begins {
            return Err(format!(
                "{title} is not valid before {begins}, and it is {now}: check the clock of this \
                 machine, or wait"
            ));
        }
        match self.number {
            _ if now <= ends => Ok(ends),
            1 => Err(format!("{title} expired at {ends}: renew it")),
            _ => Err(format!(
                "{title} expired at {ends}: replace it by the current certificate of that issuer, \
                 which comes with a renewed certificate"
            )),
        }
    }

    /// Checks that this is the certificate of the issuer of another one.
    fn require_issuer_of(&self, issued: &Self) -> Result<(), String> {
        let (title, before) = (self.title(), issued.number);
        let expected = &issued.certificate.tbs_certificate.issuer;
        if self.certificate.tbs_certificate.subject != *expected {
            return Err(format!(
                "{title} is not that of {expected}, which has issued certificate {before}: after \
                 the server's own certificate, put that of its issuer, then that of the issuer's \
                 issuer, as `fullchain.pem` of certbot does"
            ));
        }
        let signed = self.signed(issued);
        if signed.map_err(|error| format!("{title} is damaged: {error}"))? {
            return Ok(());
        }
        Err(format!(
            "{title} has the name of the issuer of certificate {before} but has not signed it: use \
             the certificates of issuers that came with the server's own"
        ))
    }

    /// Whether the key of this certificate has signed another one. True if the algorithm is not
    /// known here.
    fn signed(&self, issued: &Self) -> der::Result<bool> {
        let key = &self.certificate.tbs_certificate.subject_public_key_info;
        let (of_key, of_signature) =
            (content(&key.algorithm)?, content(&issued.certificate.signature_algorithm)?);
        let provider = ring::default_provider();
        let mut known = provider.signature_verification_algorithms.all.iter().filter(|known| {
            *known.public_key_alg_id() == *of_key && *known.signature_alg_id() == *of_signature
        });
        let Some(algorithm) = known.next() else { return Ok(true) };
        let mut reader = SliceReader::new(issued.bytes)?;
        Header::decode(&mut reader)?;
        let message = reader.tlv_bytes()?;
        let signature = issued.certificate.signature.raw_bytes();
        let key = key.subject_public_key.raw_bytes();
        Ok(algorithm.verify_signature(key, message, signature).is_ok())
    }
}

/// Returns the encoding of an algorithm without its tag and length.
fn content(algorithm: &AlgorithmIdentifierOwned) -> der::Result<Vec<u8>> {
    let encoded = algorithm.to_der()?;
    let mut reader = SliceReader::new(&encoded)?;
    let header = Header::decode(&mut reader)?;
    reader.read_slice(header.length).map(<[u8]>::to_vec)
}

fn time(time: Time) -> DateTime<Utc> {
    time.to_system_time().into()
}
