//! Priority mail: one-time codes, links to set a password, and security notices. One sender is
//! reserved for it, and codes and short-lived links go ahead of all other mail.

use std::fmt;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::{clock::Timestamp, ids::TicketInvitationId, second_factor::Method};

/// How long a link to reset a password is valid.
pub const PASSWORD_RESET_LIFETIME: TimeDelta = TimeDelta::minutes(30);
/// How long the link in an invitation is valid.
pub const INVITATION_LIFETIME: TimeDelta = TimeDelta::hours(72);
/// How long the mail of an invitation to a ticket is worth sending.
pub const TICKET_INVITATION_MAIL_LIFETIME: TimeDelta = TimeDelta::hours(72);
/// How long a security notice is worth sending.
pub const SECURITY_NOTICE_LIFETIME: TimeDelta = TimeDelta::hours(72);

/// The content of a priority mail. It is stored sealed, and erased once the mail is sent or
/// given up. Its `Debug` output contains no secrets.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PriorityMail {
    /// A one-time code.
    Code {
        /// The digits.
        code: String,
    },
    /// A link to reset a password. It is planned for any address and sent only if the address
    /// belongs to an account.
    PasswordReset {
        /// The token in the link.
        token: String,
    },
    /// An admin has created the account: a link to set its first password.
    Invitation {
        /// The token in the link.
        token: String,
    },
    /// The owner is invited to take part in a ticket. It is planned for any address and sent only
    /// if the address belongs to an account that can accept.
    TicketInvitation {
        /// The invitation.
        invitation_id: TicketInvitationId,
    },
    /// A change to the account that its owner should know of.
    #[serde(rename = "security")]
    SecurityNotice {
        /// The change.
        #[serde(rename = "what")]
        change: SecurityChange,
        /// The device that it came from, as the client names itself.
        device: Option<String>,
        /// The network address that it came from.
        address: Option<String>,
        /// When it happened.
        at: Timestamp,
    },
}

/// A change to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum SecurityChange {
    /// The account was signed in to on a new device.
    NewDevice,
    /// The password was changed.
    PasswordChanged,
    /// The e-mail address was changed. Both addresses are notified.
    EmailChanged,
    /// A second factor was added.
    SecondFactorAdded {
        /// Its method.
        method: Method,
    },
    /// A second factor was removed.
    SecondFactorRemoved {
        /// Its method.
        method: Method,
    },
    /// An admin or the operator removed all second factors.
    SecondFactorsReset,
    /// A recovery code was used, to sign in or to re-authenticate.
    RecoveryCodeUsed {
        /// The number of recovery codes that are left.
        left: i64,
    },
    /// New recovery codes replaced the old ones.
    RecoveryCodesRegenerated,
    /// The first step of a sign-in was completed, and a wrong code was entered as the second.
    SecondFactorFailed,
}

impl SecurityChange {
    /// Returns the name of the kind of change.
    pub fn name(self) -> &'static str {
        match self {
            Self::NewDevice => "new device",
            Self::PasswordChanged => "password changed",
            Self::EmailChanged => "e-mail changed",
            Self::SecondFactorAdded { .. } => "second factor added",
            Self::SecondFactorRemoved { .. } => "second factor removed",
            Self::SecondFactorsReset => "second factors reset",
            Self::RecoveryCodeUsed { .. } => "recovery code used",
            Self::RecoveryCodesRegenerated => "recovery codes regenerated",
            Self::SecondFactorFailed => "second factor failed",
        }
    }
}

impl fmt::Debug for PriorityMail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Code { .. } => "Code(…)",
            Self::PasswordReset { .. } => "PasswordReset(…)",
            Self::Invitation { .. } => "Invitation(…)",
            Self::TicketInvitation { .. } => "TicketInvitation(…)",
            Self::SecurityNotice { .. } => "SecurityNotice(…)",
        })
    }
}
