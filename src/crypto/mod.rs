//! Passwords, tokens, signatures.

pub mod password;
pub mod random;
pub mod signing;
pub mod token;
