//! Authenticators: time-based one-time passwords (RFC 6238) with 6 digits, 30 seconds and SHA-1,
//! which every authenticator app supports.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use qrcode::{QrCode, render::svg};
use totp_rs::{Builder, Secret, Totp};

use crate::domain::{
    clock::{Ambient, Timestamp},
    second_factor::Code,
};

/// How many time steps before and after the current one are accepted, because clocks differ.
const DRIFT: u16 = 1;
/// The length of a key in bytes: 160 bits, as RFC 4226 recommends.
const SECRET: usize = 20;

/// The key shared between the server and an authenticator app. Its `Debug` output omits the key.
pub struct Authenticator(Totp);

/// The enrolment data for an authenticator app cannot be created.
#[derive(Debug, thiserror::Error)]
#[error("creating the enrolment data of an authenticator failed: {0}")]
pub struct TotpError(String);

impl Authenticator {
    /// Generates a key for an account. The app shows it as `issuer: account`. Colons separate the
    /// two, so they are removed from both.
    ///
    /// # Errors
    /// The account's name is empty without its colons.
    pub fn generate(ambient: &Ambient, issuer: &str, account: &str) -> Result<Self, TotpError> {
        Builder::new()
            .with_secret(ambient.bytes::<SECRET>().to_vec())
            .with_skew(DRIFT)
            .with_issuer(Some(issuer.replace(':', "")))
            .with_account_name(account.replace(':', ""))
            .build()
            .map(Self)
            .map_err(|error| TotpError(error.to_string()))
    }

    /// Creates an authenticator from a stored key.
    pub fn with_secret(secret: Vec<u8>) -> Self {
        Self(Builder::new().with_secret(secret).with_skew(DRIFT).build_noncompliant())
    }

    /// Returns the key, to seal and store it.
    pub fn secret(&self) -> &[u8] {
        self.0.secret().as_ref()
    }

    /// Returns the key in base32 (RFC 4648), to type into an app.
    pub fn base32(&self) -> String {
        Secret::to_base32(self.0.secret())
    }

    /// Returns the `otpauth://` URI for apps, and its QR code as a data URI of an SVG image.
    ///
    /// # Errors
    /// The authenticator was created without an account.
    pub fn uri(&self) -> Result<(String, String), TotpError> {
        let uri = self.0.to_url().map_err(|error| TotpError(error.to_string()))?;
        let code = QrCode::new(&uri).map_err(|error| TotpError(error.to_string()))?;
        let image = code
            .render::<svg::Color<'_>>()
            .min_dimensions(240, 240)
            .dark_color(svg::Color("#000"))
            .light_color(svg::Color("#fff"))
            .build();
        Ok((uri, format!("data:image/svg+xml;base64,{}", STANDARD.encode(image))))
    }

    /// Returns the time step of a code if the code is correct for the current step or the one
    /// before or after it. The caller must check that the code was not used before.
    pub fn check(&self, code: &Code, now: Timestamp) -> Option<i64> {
        let step = self.0.check(code.expose(), u64::try_from(now.timestamp()).ok()?)?;
        i64::try_from(step).ok()
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authenticator(…)")
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    /// Appendix B of RFC 6238, for SHA-1. Its codes have 8 digits, of which these are the last 6.
    #[test]
    fn codes_match_the_test_vectors_of_rfc_6238() {
        let authenticator = Authenticator::with_secret(b"12345678901234567890".to_vec());
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            let code = Code::parse(code).unwrap();
            assert_eq!(authenticator.check(&code, at(seconds)), Some(seconds / 30));
            assert_eq!(authenticator.check(&code, at(seconds + 30)), Some(seconds / 30));
            assert_eq!(authenticator.check(&code, at(seconds - 30)), Some(seconds / 30));
            assert_eq!(authenticator.check(&code, at(seconds + 60)), None);
            assert_eq!(authenticator.check(&code, at(seconds - 60)), None);
        }
    }
}
