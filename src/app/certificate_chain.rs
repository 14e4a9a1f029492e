//! The certificates in a file, the server's own first: how long they are valid, and whether they lead
//! clients from the server's own to an issuer that they trust.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use rustls::{crypto::ring, pki_types::CertificateDer};
use x509_cert::{
    Certificate,
    der::{self, Decode as _, Encode as _, Header, Reader as _, SliceReader},
    ext::pkix::BasicConstraints,
    spki::AlgorithmIdentifierOwned,
    time::Time,
};

/// The certificates of a file that the server can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// When the first of them expires.
    pub expiry: Expiry,
    /// Why some clients may refuse the certificates although most accept them.
    pub doubts: Vec<String>,
    /// What to do about the doubts.
    pub advice: Vec<&'static str>,
}

/// When the first certificate of a chain expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The time.
    pub at: DateTime<Utc>,
    /// The certificate in words, if it is that of an issuer and not the server's own.
    pub issuer: Option<String>,
}

/// Checks the certificates of a file. Those that lead nowhere are no error, and neither is their order:
/// most clients search for the issuers themselves.
///
/// # Errors
/// A certificate is damaged, or the server's own or one of its issuers is not valid now. The text says
/// why, and what to do.
pub(super) fn check(chain: &[CertificateDer<'_>], now: DateTime<Utc>) -> Result<Chain, String> {
    let links = chain.iter().enumerate().map(|(index, bytes)| Link::read(index + 1, bytes));
    let links = links.collect::<Result<Vec<_>, _>>()?;
    let path = path(&links)?;
    let mut expiry: Option<Expiry> = None;
    for link in &path {
        let at = link.check_dates(now)?;
        if expiry.as_ref().is_none_or(|first| at < first.at) {
            expiry = Some(Expiry { at, issuer: (link.number > 1).then(|| link.title()) });
        }
    }
    let expiry = expiry.ok_or_else(|| NO_CERTIFICATE.to_owned())?;
    let mut doubts = doubts(&links, &path);
    let mut advice = if doubts.is_empty() { vec![] } else { vec![CHAIN_ADVICE] };
    if links.first().is_some_and(Link::is_authority) {
        doubts.push(
            "the first certificate is that of an authority (CA:TRUE), not of a server".into(),
        );
        advice.push(AUTHORITY_ADVICE);
    }
    Ok(Chain { expiry, doubts, advice })
}

/// What to do about certificates that do not lead from the server's own to an issuer, in their order.
const CHAIN_ADVICE: &str = "put the server's own certificate first, then that of its issuer, then that of the \
     issuer's issuer, and nothing else, as `fullchain.pem` of certbot does";
/// What to do about the certificate of an authority in the place of the server's own.
const AUTHORITY_ADVICE: &str = "put a certificate for a server first; to make one of your own, give `openssl req -x509` the \
     option `-addext basicConstraints=critical,CA:FALSE`";
/// What is wrong with a file without certificates.
pub(super) const NO_CERTIFICATE: &str =
    "the file contains no certificate. It must be in PEM form: -----BEGIN CERTIFICATE-----";

/// Returns the server's own certificate, then that of its issuer, and so on, as far as the file leads.
fn path<'l, 'c>(links: &'l [Link<'c>]) -> Result<Vec<&'l Link<'c>>, String> {
    let mut path = links.first().into_iter().collect::<Vec<_>>();
    while let Some(last) = path.last().filter(|last| !last.is_root()) {
        let mut issuers = Vec::new();
        for link in links {
            if path.iter().all(|it| it.number != link.number) && link.has_issued(last)? {
                issuers.push(link);
            }
        }
        // One that was renewed may still be there in its former form.
        match issuers.into_iter().min_by_key(|it| Reverse(it.ends())) {
            Some(issuer) => path.push(issuer),
            None => break,
        }
    }
    Ok(path)
}

/// Returns what clients may dislike that expect the path and nothing else.
fn doubts(links: &[Link<'_>], path: &[&Link<'_>]) -> Vec<String> {
    let mut doubts = Vec::new();
    if !path.is_sorted_by_key(|link| link.number) {
        let order = path.iter().map(|link| link.number.to_string()).collect::<Vec<_>>();
        doubts.push(format!(
            "the certificates are not in order: the server's own and its issuers are certificates {} \
             of the file",
            order.join(", ")
        ));
    }
    for link in links.iter().filter(|link| path.iter().all(|it| it.number != link.number)) {
        let title = link.title();
        let mut named = path.iter().filter(|it| link.is_named_by(it));
        if let Some(twin) = path.iter().find(|it| it.bytes == link.bytes) {
            doubts.push(format!("{title} is the same as certificate {}", twin.number));
        } else if let Some(issued) = named.next() {
            if !link.has_issued(issued).unwrap_or(false) {
                doubts.push(format!(
                    "{title} has the name of the issuer of certificate {} but has not signed it",
                    issued.number
                ));
            }
        } else {
            doubts
                .push(format!("{title} is not that of an issuer of the server's own certificate"));
        }
    }
    if let ([own], true) = (path, links.len() > 1)
        && !own.is_root()
    {
        let issuer = &own.certificate.tbs_certificate.issuer;
        doubts.push(format!(
            "the file lacks the certificate of {issuer}, which has issued the first"
        ));
    }
    doubts
}

/// A certificate that is trusted for another server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedCertificate {
    /// Whose certificate it is.
    pub subject: String,
    /// When it begins to be valid.
    pub from: DateTime<Utc>,
    /// When it expires.
    pub until: DateTime<Utc>,
}

/// Returns the certificates of a file whose issuers are not asked about. Of several with the same name,
/// such as the former and the renewed one, it returns the one that expires last.
///
/// # Errors
/// A certificate is damaged, or there is none. The text says what is wrong.
pub(super) fn trusted(file: &[CertificateDer<'_>]) -> Result<Vec<TrustedCertificate>, String> {
    let mut latest = Vec::<TrustedCertificate>::new();
    for (index, bytes) in file.iter().enumerate() {
        let link = Link::read(index + 1, bytes)?;
        let subject = link.certificate.tbs_certificate.subject.to_string();
        let found = TrustedCertificate { subject, from: link.begins(), until: link.ends() };
        match latest.iter_mut().find(|it| it.subject == found.subject) {
            Some(former) if former.until < found.until => *former = found,
            Some(_) => {}
            None => latest.push(found),
        }
    }
    if latest.is_empty() { Err(NO_CERTIFICATE.to_owned()) } else { Ok(latest) }
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

    fn begins(&self) -> DateTime<Utc> {
        time(self.certificate.tbs_certificate.validity.not_before)
    }

    fn ends(&self) -> DateTime<Utc> {
        time(self.certificate.tbs_certificate.validity.not_after)
    }

    /// Returns when the certificate expires.
    fn check_dates(&self, now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
        let (begins, ends, title) = (self.begins(), self.ends(), self.title());
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

    /// Whether the certificate is for issuing others (RFC 5280, 4.2.1.9).
    fn is_authority(&self) -> bool {
        let constraints = self.certificate.tbs_certificate.get::<BasicConstraints>();
        constraints.is_ok_and(|found| found.is_some_and(|(_, found)| found.ca))
    }

    /// Whether nobody else has issued the certificate.
    fn is_root(&self) -> bool {
        self.is_named_by(self)
    }

    /// Whether another certificate names this one's subject as its issuer.
    fn is_named_by(&self, issued: &Self) -> bool {
        self.certificate.tbs_certificate.subject == issued.certificate.tbs_certificate.issuer
    }

    /// Whether this is the certificate of the issuer of another one.
    fn has_issued(&self, issued: &Self) -> Result<bool, String> {
        if !self.is_named_by(issued) {
            return Ok(false);
        }
        self.signed(issued).map_err(|error| format!("{} is damaged: {error}", self.title()))
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
