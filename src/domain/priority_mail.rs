//! What is mailed ahead of everything else: codes, links and security notices.

use std::fmt;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::{clock::Timestamp, second_factor::Method};

/// A link to set a new password is good for so long.
pub const PASSWORD_RESET_LIFETIME: TimeDelta = TimeDelta::minutes(30);
/// The link in the mail to somebody whose account an admin has made is good for so long.
pub const INVITATION_LIFETIME: TimeDelta = TimeDelta::hours(72);
/// A security notice that could not be sent for so long is not news any more.
pub const SECURITY_NOTICE_LIFETIME: TimeDelta = TimeDelta::hours(72);

/// The content of such a mail: sealed while it waits, erased when it was sent. It
/// can't be printed.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PriorityMail {
    /// A one-time code.
    Code {
        /// Its digits.
        code: String,
    },
    /// A link to set a new password, if there is such an account.
    PasswordReset {
        /// What the link carries.
        token: String,
    },
    /// An admin has made the account; a link to set its first password.
    Invitation {
        /// What the link carries.
        token: String,
    },
    /// Something was done to the account that its owner should know of.
    #[serde(rename = "security")]
    SecurityNotice {
        /// What.
        what: SecurityChange,
        /// From which device, as it says itself.
        device: Option<String>,
        /// From which network address.
        address: Option<String>,
        /// When.
        at: Timestamp,
    },
}

/// What was done to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum SecurityChange {
    /// Somebody signed in on a device that the account had not been used on.
    NewDevice,
    /// The password was changed.
    PasswordChanged,
    /// A second factor was configured.
    SecondFactorAdded {
        /// Which.
        method: Method,
    },
    /// A second factor was removed.
    SecondFactorRemoved {
        /// Which.
        method: Method,
    },
    /// The staff removed all second factors.
    SecondFactorsReset,
    /// Somebody signed in with a recovery code.
    RecoveryCodeUsed {
        /// So many are left.
        left: i64,
    },
    /// New recovery codes were made; the old ones are void.
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
