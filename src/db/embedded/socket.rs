//! The folder of the server's socket: the only door, and open to its owner alone, which is why
//! the server needs no password.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, DirBuilder},
    io,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::{DirBuilderExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use super::{EmbeddedError, error::at, os_user::OsUser};

/// Names the socket. Nothing listens on TCP, so it needs to be free nowhere.
pub(super) const PORT: u16 = 5432;

/// The longest path of a socket in bytes, without the zero at its end.
const MAX_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// A folder that only the server's user (and root) can enter.
#[derive(Debug)]
pub(super) struct SocketFolder(PathBuf);

impl SocketFolder {
    /// Makes the folder for the server on `data_dir`, a canonical path: in there, or, where such a
    /// path does not serve, in a run-time folder under a name that depends on `data_dir` alone.
    ///
    /// # Errors
    /// `SocketFolder` when somebody else has taken that name or can enter it.
    pub(super) fn prepare(data_dir: &Path, user: &OsUser) -> Result<Self, EmbeddedError> {
        let inside = Self(data_dir.join("run"));
        let folder = if inside.serves() { inside } else { Self::outside(data_dir, user) };
        let path = &folder.0;
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => user.own(path)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let found = fs::symlink_metadata(path).map_err(at("look at", path))?;
                let closed = found.is_dir() && found.mode() & 0o077 == 0;
                if closed && found.uid() == 0 {
                    // An earlier run ended between making it and giving it away.
                    user.own(path)?;
                } else if !closed || !user.is(found.uid()) {
                    return Err(EmbeddedError::SocketFolder { folder: path.clone() });
                }
            }
            Err(error) => return Err(at("create", path)(error)),
        }
        Ok(folder)
    }

    fn outside(data_dir: &Path, user: &OsUser) -> Self {
        let name = format!("ticketwire-{:016x}", fnv1a(data_dir.as_os_str().as_bytes()));
        std::env::var_os("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            // Root's own is closed to the user that runs the server.
            .filter(|folder| !user.is_other() && folder.is_absolute() && folder.is_dir())
            .map(|folder| Self(folder.join(&name)))
            .filter(Self::serves)
            .unwrap_or_else(|| Self(Path::new("/tmp").join(&name)))
    }

    /// Whether a socket can be here. psql takes commas for the end of a host, encoded or not.
    fn serves(&self) -> bool {
        let socket = self.socket();
        let path = socket.as_os_str().as_bytes();
        path.len() <= MAX_PATH && !path.contains(&b',')
    }

    /// The socket's path.
    pub(super) fn socket(&self) -> PathBuf {
        self.0.join(format!(".s.PGSQL.{PORT}"))
    }

    /// The file by which a server claims the socket.
    pub(super) fn claim(&self) -> PathBuf {
        self.0.join(format!(".s.PGSQL.{PORT}.lock"))
    }

    /// The folder as the one member of Postgres' `unix_socket_directories`, quoted.
    pub(super) fn as_setting(&self) -> OsString {
        let mut quoted = vec![b'"'];
        for &byte in self.0.as_os_str().as_bytes() {
            if byte == b'"' {
                quoted.push(b'"');
            }
            quoted.push(byte);
        }
        quoted.push(b'"');
        OsString::from_vec(quoted)
    }

    /// The folder as the host of a URL.
    pub(super) fn as_host(&self) -> String {
        percent_encode(self.0.as_os_str())
    }

    /// Removes it once the server is gone. It may stay where it is: the next start takes it.
    pub(super) fn remove(&self) {
        if let Err(error) = fs::remove_dir(&self.0) {
            tracing::debug!(folder = %self.0.display(), %error, "the socket's folder stays");
        }
    }
}

/// FNV-1a: a hash that is the same in every build, unlike the standard library's.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Encodes everything but the characters that mean nothing in any part of a URL.
pub(super) fn percent_encode(text: &OsStr) -> String {
    let mut encoded = String::new();
    for &byte in text.as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_outside_where_a_socket_cannot_be() {
        assert!(SocketFolder(PathBuf::from("/srv/ticketwire/run")).serves());
        assert!(!SocketFolder(PathBuf::from("/srv/a,b/run")).serves());
        assert!(!SocketFolder(Path::new("/srv").join("x".repeat(100))).serves());
    }

    #[test]
    fn encodes_hosts_and_quotes_settings() {
        let folder = SocketFolder(PathBuf::from("/a b\"c"));
        assert_eq!(folder.as_host(), "%2Fa%20b%22c");
        assert_eq!(folder.as_setting(), "\"/a b\"\"c\"");
    }

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
