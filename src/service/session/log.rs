//! Logs attempts to sign in, so that an operator can see attacks and answer questions. The lines
//! have ids and the client's network address, and neither secrets nor e-mail addresses.

use crate::{
    domain::{ids::AccountId, session::ClientOrigin},
    service::{ServiceError, UserErrorCode},
};

/// How somebody tries to prove who they are.
#[derive(Clone, Copy)]
pub enum SignInMethod {
    /// The first step: a password.
    Password,
    /// The first step: a link from the control panel.
    Handoff,
    /// The second step: a code.
    SecondFactor,
    /// A password, and perhaps a code, in a session.
    Reauthentication,
}

/// How an attempt ended.
pub enum Outcome<'a> {
    /// The proof was sufficient.
    Accepted,
    /// A second factor is needed too.
    Continues,
    /// The attempt failed.
    Refused(&'a ServiceError),
}

impl SignInMethod {
    fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Handoff => "handoff",
            Self::SecondFactor => "second_factor",
            Self::Reauthentication => "reauthentication",
        }
    }
}

/// Logs an attempt. `account` is `None` if no account is known by what the client sent.
pub fn attempt(
    method: SignInMethod,
    account: Option<AccountId>,
    origin: &ClientOrigin,
    outcome: Outcome<'_>,
) {
    let account_id = account.map(|account| tracing::field::display(account.0));
    let client = origin.address.map(tracing::field::display);
    let proof = method.name();
    match outcome {
        Outcome::Accepted => tracing::info!(proof, account_id, client, "signed in"),
        Outcome::Continues => {
            tracing::info!(proof, account_id, client, "sign-in waits for a second factor");
        }
        Outcome::Refused(error) => {
            let reason = reason(error);
            tracing::info!(proof, account_id, client, reason, "sign-in refused");
        }
    }
}

fn reason(error: &ServiceError) -> &'static str {
    let ServiceError::Invalid(errors) = error else {
        let limited = matches!(error, ServiceError::RateLimited { .. });
        return if limited { "rate_limited" } else { "failed" };
    };
    match errors.first().map(|error| error.code) {
        Some(UserErrorCode::InvalidCredentials) => "invalid_credentials",
        Some(UserErrorCode::InvalidCode) => "invalid_code",
        Some(UserErrorCode::InvalidLink) => "invalid_link",
        Some(UserErrorCode::Expired) => "expired",
        _ => "invalid",
    }
}
