//! Second factors: what proves, besides the password, that it is the owner who signs in.

use std::fmt;

use chrono::TimeDelta;

use super::{account::Role, clock::Timestamp};

/// A code that was mailed is good for so long.
pub const MAILED_CODE_LASTS: TimeDelta = TimeDelta::minutes(2);
/// Another code is mailed after so long, and no sooner.
pub const MAILED_CODE_PAUSE: TimeDelta = TimeDelta::seconds(30);
/// Wrong codes that a challenge or a mailed code takes.
pub const TRIES: i32 = 5;
/// So long the second step of a sign-in can be taken.
pub const CHALLENGE_LASTS: TimeDelta = TimeDelta::minutes(10);
/// So long an authenticator that was begun can be confirmed.
pub const ENROLMENT_LASTS: TimeDelta = TimeDelta::minutes(10);
/// Password and code count as just given for so long.
pub const REAUTHENTICATION_LASTS: TimeDelta = TimeDelta::minutes(10);
/// Recovery codes that an account gets.
pub const RECOVERY_CODES: usize = 10;
const RECOVERY_CODE: usize = 12;
/// Without letters and digits that look alike.
const RECOVERY_ALPHABET: &[u8; 32] = b"23456789abcdefghjkmnpqrstuvwxyz?";

/// A way to prove it that can be configured.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Codes of an app on one's phone (RFC 6238).
    Authenticator,
    /// Codes that are mailed.
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
    /// How.
    pub method: Method,
    /// Since when.
    pub configured_at: Timestamp,
    /// When it last let somebody in.
    pub last_used_at: Option<Timestamp>,
}

/// What an installation asks of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// Whoever has none is told that they can have one.
    Offered,
    /// Whoever has none can do nothing but configure one.
    Required,
}

/// What an installation asks of customers and of staff.
#[derive(Clone, Copy, Debug)]
pub struct Requirements {
    /// Of customers.
    pub customers: Requirement,
    /// Of agents and admins.
    pub staff: Requirement,
}

impl Requirements {
    /// What is asked of a role.
    pub fn of(self, role: Role) -> Requirement {
        if role.is_staff() { self.staff } else { self.customers }
    }
}

/// What somebody typed can't be a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MalformedCode(&'static str);

/// A code of 6 digits. It can't be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(String);

impl Code {
    /// Reads what somebody typed; spaces, which apps show between the digits, are
    /// left out.
    ///
    /// # Errors
    /// Anything but 6 digits.
    pub fn parse(text: &str) -> Result<Self, MalformedCode> {
        let digits = without_spaces(text);
        let fits = digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_digit());
        fits.then_some(Self(digits)).ok_or(MalformedCode("A code has 6 digits, from 0 to 9."))
    }

    /// Makes one of random bytes: every code as likely as any other.
    pub fn random(mut bytes: impl FnMut() -> [u8; 4]) -> Self {
        // The largest multiple of a million: what lies above would favour low codes.
        const FAIR: u32 = u32::MAX - u32::MAX % 1_000_000;
        loop {
            let number = u32::from_le_bytes(bytes());
            if number < FAIR {
                return Self(format!("{:06}", number % 1_000_000));
            }
        }
    }

    /// The digits, for their owner or to be compared.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// A recovery code: 12 letters and digits, some 59 bits. It can't be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryCode(String);

impl RecoveryCode {
    /// Reads what somebody typed, in any case, with or without hyphens and spaces.
    ///
    /// # Errors
    /// Anything that is none of ours.
    pub fn parse(text: &str) -> Result<Self, MalformedCode> {
        let code = without_spaces(text).replace('-', "").to_ascii_lowercase();
        let ours = |byte: u8| byte != b'?' && RECOVERY_ALPHABET.contains(&byte);
        let fits = code.len() == RECOVERY_CODE && code.bytes().all(ours);
        fits.then_some(Self(code))
            .ok_or(MalformedCode("A recovery code has 12 letters and digits, like 7k2m-9xpq-4vtd."))
    }

    /// Makes one of random bytes.
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

    /// The code as it is kept and compared.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The code as its owner sees it: in groups of four.
    pub fn shown(&self) -> String {
        format!("{}-{}-{}", &self.0[..4], &self.0[4..8], &self.0[8..])
    }
}

fn without_spaces(text: &str) -> String {
    // Longer than any code is wrong anyway.
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
    fn codes_are_six_ascii_digits_with_spaces_or_not() {
        for text in ["123456", "123 456", " 1 2 3 4 5 6 ", "123\u{a0}456", "123456\n"] {
            assert_eq!(Code::parse(text).unwrap().expose(), "123456", "{text:?}");
        }
        for text in ["", "12345", "1234567", "12345a", "１２３４５６", "-12345", "12.456", "٠١٢٣٤٥"]
        {
            assert!(Code::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn random_codes_are_fair_and_padded() {
        let mut draws = [u32::MAX.to_le_bytes(), 7_u32.to_le_bytes()].into_iter();
        assert_eq!(Code::random(|| draws.next().unwrap()).expose(), "000007");
    }

    #[test]
    fn recovery_codes_are_read_as_they_are_shown() {
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
