//! Second factors: proofs of identity in addition to the password.

use std::fmt;

use chrono::TimeDelta;

use super::{account::Role, clock::Timestamp};

/// How long an e-mail code is valid.
pub const EMAIL_CODE_LIFETIME: TimeDelta = TimeDelta::minutes(2);
/// How long to wait before another e-mail code can be requested.
pub const EMAIL_CODE_PAUSE: TimeDelta = TimeDelta::seconds(30);
/// How many attempts a challenge or an e-mail code allows.
pub const MAX_ATTEMPTS: i32 = 5;
/// How long the second step of a sign-in can be completed.
pub const CHALLENGE_LIFETIME: TimeDelta = TimeDelta::minutes(10);
/// How long the enrolment of an authenticator can be confirmed.
pub const ENROLMENT_LIFETIME: TimeDelta = TimeDelta::minutes(10);
/// How long a session counts as reauthenticated.
pub const REAUTHENTICATION_LIFETIME: TimeDelta = TimeDelta::minutes(10);
/// How many recovery codes an account receives.
pub const RECOVERY_CODES: usize = 10;
const RECOVERY_CODE: usize = 12;
/// Letters and digits that do not look alike. `?` pads the alphabet to 32 and is never used.
const RECOVERY_ALPHABET: &[u8; 32] = b"23456789abcdefghjkmnpqrstuvwxyz?";

/// A method that can be configured as a second factor.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// An authenticator app that generates time-based codes (RFC 6238).
    Authenticator,
    /// Codes sent by e-mail.
    Email,
}

/// A kind of code that completes a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CodeKind {
    /// A code of the authenticator.
    Authenticator,
    /// A code that was sent by e-mail.
    Email,
    /// A recovery code.
    RecoveryCode,
}

impl From<Method> for CodeKind {
    fn from(method: Method) -> Self {
        match method {
            Method::Authenticator => Self::Authenticator,
            Method::Email => Self::Email,
        }
    }
}

/// A configured second factor.
#[derive(Clone, Debug)]
pub struct SecondFactor {
    /// The method.
    pub method: Method,
    /// When it was configured.
    pub configured_at: Timestamp,
    /// When it was last used to sign in.
    pub last_used_at: Option<Timestamp>,
}

/// Whether an installation requires second factors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// Second factors are optional. People without one are offered to configure one.
    Offered,
    /// A second factor is required. People without one can only configure one.
    Required,
}

/// The requirements for customers and for staff.
#[derive(Clone, Copy, Debug)]
pub struct Requirements {
    /// The requirement for customers.
    pub customers: Requirement,
    /// The requirement for agents and admins.
    pub staff: Requirement,
}

impl Requirements {
    /// Returns the requirement for a role.
    pub fn of(self, role: Role) -> Requirement {
        if role.is_staff() { self.staff } else { self.customers }
    }
}

/// The text is not a well-formed code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MalformedCode(&'static str);

/// A code of 6 digits. Its `Debug` output omits the digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(String);

impl Code {
    /// Parses a code. Spaces, which apps show between the digits, are ignored.
    ///
    /// # Errors
    /// The text does not consist of 6 digits.
    pub fn parse(text: &str) -> Result<Self, MalformedCode> {
        let digits = without_spaces(text);
        let fits = digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_digit());
        fits.then_some(Self(digits)).ok_or(MalformedCode("A code has 6 digits, from 0 to 9."))
    }

    /// Generates a code from random bytes. All codes are equally likely.
    pub fn random(mut bytes: impl FnMut() -> [u8; 4]) -> Self {
        // The largest multiple of a million. Larger numbers would make low codes more likely.
        const FAIR: u32 = u32::MAX - u32::MAX % 1_000_000;
        loop {
            let number = u32::from_le_bytes(bytes());
            if number < FAIR {
                return Self(format!("{:06}", number % 1_000_000));
            }
        }
    }

    /// Returns the digits, to show to the owner or to compare.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// A recovery code: 12 letters and digits with about 59 bits of entropy. Its `Debug` output omits
/// them.
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryCode(String);

impl RecoveryCode {
    /// Parses a code in upper or lower case, with or without hyphens and spaces.
    ///
    /// # Errors
    /// The text is not a well-formed recovery code.
    pub fn parse(text: &str) -> Result<Self, MalformedCode> {
        let code = without_spaces(text).replace('-', "").to_ascii_lowercase();
        let allowed = |byte: u8| byte != b'?' && RECOVERY_ALPHABET.contains(&byte);
        let fits = code.len() == RECOVERY_CODE && code.bytes().all(allowed);
        fits.then_some(Self(code))
            .ok_or(MalformedCode("A recovery code has 12 letters and digits, like 7k2m-9xpq-4vtd."))
    }

    /// Generates a code from random bytes.
    pub fn random(mut byte: impl FnMut() -> u8) -> Self {
        let mut code = String::new();
        while code.len() < RECOVERY_CODE {
            match RECOVERY_ALPHABET[usize::from(byte() % 32)] {
                b'?' => {}
                letter => code.push(char::from(letter)),
            }
        }
        Self(code)
    }

    /// Returns the code in the form that is hashed and compared.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns the code for display, in groups of four.
    pub fn shown(&self) -> String {
        format!("{}-{}-{}", &self.0[..4], &self.0[4..8], &self.0[8..])
    }
}

fn without_spaces(text: &str) -> String {
    // No code is longer than this, so the rest need not be read.
    text.chars().filter(|c| !c.is_whitespace()).take(64).collect()
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_consists_of_six_ascii_digits_and_optional_spaces() {
        for text in ["123456", "123 456", " 1 2 3 4 5 6 ", "123\u{a0}456", "123456\n"] {
            assert_eq!(Code::parse(text).unwrap().expose(), "123456", "{text:?}");
        }
        for text in ["", "12345", "1234567", "12345a", "１２３４５６", "-12345", "12.456", "٠١٢٣٤٥"]
        {
            assert!(Code::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_random_code_is_unbiased_and_padded() {
        let mut draws = [u32::MAX.to_le_bytes(), 7_u32.to_le_bytes()].into_iter();
        assert_eq!(Code::random(|| draws.next().unwrap()).expose(), "000007");
    }

    #[test]
    fn a_recovery_code_is_parsed_in_the_form_it_is_displayed() {
        let mut next = 0_u8;
        let code = RecoveryCode::random(|| {
            next = next.wrapping_add(37);
            next
        });
        assert_eq!(RecoveryCode::parse(&code.shown()).unwrap(), code);
        assert_eq!(RecoveryCode::parse(&code.shown().to_uppercase()).unwrap(), code);
        for text in
            ["", "7k2m-9xpq-4vt", "7k2m-9xpq-4vt?", "7k2m-9xpq-4vt0", "ü".repeat(6).as_str()]
        {
            assert!(RecoveryCode::parse(text).is_err(), "{text:?}");
        }
    }
}
