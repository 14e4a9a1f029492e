//! Passwords and tokens.

pub mod password;
pub mod random;
pub mod token;
