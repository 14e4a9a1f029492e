//! Random bytes from the operating system.

use rand::{TryRng, rngs::SysRng};

use crate::domain::clock::Randomness;

/// The operating system's random number generator.
pub struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn fill(&self, bytes: &mut [u8]) {
        // Without random bytes no secret can be created. A kernel that has booted always
        // provides them.
        SysRng.try_fill_bytes(bytes).expect("the operating system provides random bytes");
    }
}
