//! A server with demo data, as a newcomer starts it.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::{Client, process::Process};

/// The folder of an embedded database with demo data, removed in the end.
pub struct Demo(PathBuf);

impl Demo {
    /// A folder with nothing in it yet; the first server fills it.
    pub fn new() -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("ticketwire-demo-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    /// A server on it, at an address; port 0 takes a free one.
    pub async fn serve(&self, address: &str) -> Process {
        let folder = self.0.to_str().unwrap();
        // Mails are there as soon as what they tell of.
        let window = ("TICKETWIRE_MAIL_WINDOW_SECONDS", "0");
        let variables = [("TICKETWIRE_DATA_DIR", folder), ("TICKETWIRE_LISTEN", address), window];
        Process::serve(&variables).await
    }

    /// A demo account of a server, signed in.
    pub async fn sign_in(address: &str, email: &str) -> Client {
        Client::new(address, None).sign_in(email, "ticketwire-demo").await
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let removed = fs::remove_dir_all(&self.0);
        assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
    }
}
