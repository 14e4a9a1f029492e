//! Passwords, tokens, signatures, encryption and one-time passwords.

pub mod import;
pub mod password;
pub mod random;
pub mod seal;
pub mod signing;
pub mod stored_password;
pub mod token;
pub mod totp;
