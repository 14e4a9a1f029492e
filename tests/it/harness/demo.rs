//! A server with demo data, as a newcomer starts it.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::{Client, process::Process};

/// The data folder of an embedded database with demo data. Removed when dropped.
pub struct Demo(PathBuf);

impl Demo {
    /// Chooses a folder that does not exist yet; the first server creates and fills it.
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ticketwire-demo-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    /// Starts a server on the folder. Port 0 chooses a free port.
    pub async fn serve(&self, address: &str) -> Process {
        let folder = self.0.to_str().unwrap();
        // Mails are sent at once instead of after the usual window.
        let window = ("TICKETWIRE_MAIL_WINDOW_SECONDS", "0");
        let variables = [("TICKETWIRE_DATA_DIR", folder), ("TICKETWIRE_LISTEN", address), window];
        Process::serve(&variables).await
    }

    /// Signs in to a demo account.
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
