//! Priority mail: codes, links and security notices, sent ahead of all other mail.

use std::fmt;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::{clock::Timestamp, second_factor::Method};

/// How long a link to reset a password is valid.
pub const PASSWORD_RESET_LIFETIME: TimeDelta = TimeDelta::minutes(30);
/// How long the link in an invitation is valid.
pub const INVITATION_LIFETIME: TimeDelta = TimeDelta::hours(72);
/// How long the server tries to send a security notice.
pub const SECURITY_NOTICE_LIFETIME: TimeDelta = TimeDelta::hours(72);

/// The content of priority mail. It is sealed in the queue and erased after it is sent. Its
/// `Debug` output omits the content.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PriorityMail {
    /// A one-time code.
    Code {
        /// The digits.
        code: String,
    },
    /// A link to reset a password.
    PasswordReset {
        /// The token in the link.
        token: String,
    },
    /// A link to set the first password of an account that an admin created.
    Invitation {
        /// The token in the link.
        token: String,
    },
    /// A security-relevant change to the account, of which its owner is notified.
    #[serde(rename = "security")]
    SecurityNotice {
        /// The change.
        what: SecurityChange,
        /// The device that made the change, as it describes itself.
        device: Option<String>,
        /// The network address that the change came from.
        address: Option<String>,
        /// When the change was made.
        at: Timestamp,
    },
}

/// A security-relevant change to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum SecurityChange {
    /// A sign-in from a device that the account was not used on before.
    NewDevice,
    /// The password was changed.
    PasswordChanged,
    /// A second factor was configured.
    SecondFactorAdded {
        /// The method.
        method: Method,
    },
    /// A second factor was removed.
    SecondFactorRemoved {
        /// The method.
        method: Method,
    },
    /// An admin or the operator removed all second factors.
    SecondFactorsReset,
    /// A sign-in with a recovery code.
    RecoveryCodeUsed {
        /// How many recovery codes are left.
        left: i64,
    },
    /// New recovery codes were generated. The old ones are void.
    RecoveryCodesRegenerated,
}

impl fmt::Debug for PriorityMail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Code { .. } => "Code(…)",
            Self::PasswordReset { .. } => "PasswordReset(…)",
            Self::Invitation { .. } => "Invitation(…)",
            Self::SecurityNotice { .. } => "SecurityNotice(…)",
        })
    }
}
