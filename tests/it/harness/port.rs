//! Ports for programs that must be told where to listen.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU16, Ordering},
};

/// Ports below those that the kernel gives to sockets without one: nobody gets one of these by
/// chance between our choice and the start of the program.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// Chooses a port of loopback that no other test of this process gets.
pub fn choose() -> u16 {
    static CHOSEN: AtomicU16 = AtomicU16::new(0);
    // Several runs on one machine start far from each other.
    let start = std::process::id().wrapping_mul(997);
    loop {
        let chosen = u32::from(CHOSEN.fetch_add(1, Ordering::Relaxed));
        let offset = start.wrapping_add(chosen) % u32::from(COUNT);
        let port = FIRST + u16::try_from(offset).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Like [`choose`], as an address.
pub fn choose_address() -> String {
    format!("127.0.0.1:{}", choose())
}
