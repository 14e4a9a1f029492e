//! The operating system's randomness.

use rand::{TryRng, rngs::SysRng};

use crate::domain::clock::Randomness;

/// Randomness from the operating system.
pub struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn fill(&self, bytes: &mut [u8]) {
        // No secret can be made without it, so there is nothing to go on with; a
        // kernel that has booted doesn't refuse.
        SysRng.try_fill_bytes(bytes).expect("the operating system gives random bytes");
    }
}
