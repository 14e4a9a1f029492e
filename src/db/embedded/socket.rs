//! The folder of the server's socket. It is the only way to connect, and only its owner can enter
//! it, which is why the server needs no password.

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

use super::{
    error::{EmbeddedError, at},
    os_user::OsUser,
    settings::SUPERUSER,
};

/// The number in the socket's name. No TCP port is used.
pub(super) const PORT: u16 = 5432;

/// The longest path of a socket in bytes, without the terminating zero.
const MAX_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// A folder that only the server's user (and root) can enter.
#[derive(Debug)]
pub(super) struct SocketFolder(PathBuf);

impl SocketFolder {
    /// Creates the folder for the server on `data_dir`, a canonical path: in the data folder or, if
    /// a socket cannot be there, in a runtime folder under a name that depends on `data_dir` alone.
    ///
    /// # Errors
    /// `SocketFolder` if a folder of that name exists and other users can access it, or `Io`.
    pub(super) fn prepare(data_dir: &Path, user: &OsUser) -> Result<Self, EmbeddedError> {
        let inside = Self(data_dir.join("run"));
        let folder = if inside.can_hold_socket() { inside } else { Self::outside(data_dir, user) };
        let path = &folder.0;
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => user.take_ownership(path)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let found = fs::symlink_metadata(path).map_err(at("look at", path))?;
                let closed = found.is_dir() && found.mode() & 0o077 == 0;
                if closed && found.uid() == 0 {
                    // An earlier run ended after creating it, before changing its owner.
                    user.take_ownership(path)?;
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
            // The user that runs the server cannot enter root's.
            .filter(|folder| !user.is_other() && folder.is_absolute() && folder.is_dir())
            .map(|folder| Self(folder.join(&name)))
            .filter(Self::can_hold_socket)
            .unwrap_or_else(|| Self(Path::new("/tmp").join(&name)))
    }

    /// Whether a socket can be in the folder. To psql a comma ends the host, even if it is encoded.
    fn can_hold_socket(&self) -> bool {
        let socket = self.socket();
        let path = socket.as_os_str().as_bytes();
        path.len() <= MAX_PATH && !path.contains(&b',')
    }

    /// Returns the socket's path.
    pub(super) fn socket(&self) -> PathBuf {
        self.0.join(format!(".s.PGSQL.{PORT}"))
    }

    /// Returns the path of the file with which a server claims the socket.
    pub(super) fn claim(&self) -> PathBuf {
        self.0.join(format!(".s.PGSQL.{PORT}.lock"))
    }

    /// Returns the folder, quoted, as the only item of Postgres' `unix_socket_directories`.
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

    /// Returns the folder as the host of a URL.
    pub(super) fn as_host(&self) -> String {
        percent_encode(self.0.as_os_str())
    }

    /// Removes the folder once the server has ended. A failure is harmless: the next start uses it.
    pub(super) fn remove(&self) {
        if let Err(error) = fs::remove_dir(&self.0) {
            tracing::debug!(folder = %self.0.display(), %error, "removing the socket folder failed");
        }
    }
}

/// Returns the FNV-1a hash, which is the same in every build, unlike the standard library's.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Returns the URL of a database on the server that listens at a host.
pub(super) fn url(host: &str, database: &str) -> String {
    let database = percent_encode(OsStr::new(database));
    format!("postgresql://{SUPERUSER}@{host}:{PORT}/{database}")
}

/// Percent-encodes all characters except those that are unreserved in every part of a URL.
fn percent_encode(text: &OsStr) -> String {
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
    fn a_long_path_or_one_with_a_comma_cannot_hold_the_socket() {
        assert!(SocketFolder(PathBuf::from("/srv/ticketwire/run")).can_hold_socket());
        assert!(!SocketFolder(PathBuf::from("/srv/a,b/run")).can_hold_socket());
        assert!(!SocketFolder(Path::new("/srv").join("x".repeat(100))).can_hold_socket());
    }

    #[test]
    fn hosts_are_encoded_and_settings_are_quoted() {
        let folder = SocketFolder(PathBuf::from("/a b\"c"));
        assert_eq!(folder.as_host(), "%2Fa%20b%22c");
        assert_eq!(folder.as_setting(), "\"/a b\"\"c\"");
    }

    #[test]
    fn the_hash_is_fnv1a() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
