//! Passwords, tokens, signatures.

pub mod import;
pub mod password;
pub mod random;
pub mod signing;
pub mod token;
