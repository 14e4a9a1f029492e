//! Mobile authenticators: time-based one-time passwords (RFC 6238) of 6 digits, 30
//! seconds and SHA-1, which is what every authenticator app takes.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use qrcode::{QrCode, render::svg};
use totp_rs::{Builder, Secret, Totp};

use crate::domain::{
    clock::{Ambient, Timestamp},
    second_factor::Code,
};

/// Steps before and after the present one whose codes are taken: clocks differ.
const DRIFT: u16 = 1;
/// 160 bits, as RFC 4226 recommends.
const SECRET: usize = 20;

/// The key that an authenticator and we share. It can't be printed.
pub struct Authenticator(Totp);

/// An authenticator can't be described to its app.
#[derive(Debug, thiserror::Error)]
#[error("an authenticator can't be described: {0}")]
pub struct TotpError(String);

impl Authenticator {
    /// A new key for an account, as `issuer: account` in the app. Colons, which
    /// separate the two there, are left out of them.
    ///
    /// # Errors
    /// Nothing is left of the account's name.
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

    /// The authenticator with a known key.
    pub fn with_secret(secret: Vec<u8>) -> Self {
        Self(Builder::new().with_secret(secret).with_skew(DRIFT).build_noncompliant())
    }

    /// The key's bytes, to be sealed.
    pub fn secret(&self) -> &[u8] {
        self.0.secret().as_ref()
    }

    /// The key in base32 (RFC 4648), to be typed into an app.
    pub fn base32(&self) -> String {
        Secret::to_base32(self.0.secret())
    }

    /// The `otpauth://` URI that apps take, and its QR code as an SVG data URI.
    ///
    /// # Errors
    /// No account was named.
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

    /// The time step that a code is for, if it is right: the present one, or one
    /// before or after it. Whether it was used before is for the caller to see.
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

    /// Appendix B of RFC 6238, for SHA-1; its codes of 8 digits end in ours of 6.
    #[test]
    fn the_vectors_of_rfc_6238() {
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
