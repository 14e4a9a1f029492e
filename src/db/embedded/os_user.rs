//! The user of the operating system that the server's processes run as.
//!
//! Postgres refuses to run as root, so a root process starts it as another user, who must be able to
//! reach the data folder and the programs.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, lchown},
    path::{Path, PathBuf},
};

use tokio::{net::UnixStream, process::Command};

use super::{
    error::{EmbeddedError, at},
    watchdog,
};
use crate::domain::shell::quoted;

/// The list of users, a line each: `name:password:uid:gid:…`.
const PASSWD: &str = "/etc/passwd";

/// A user of the operating system.
#[derive(Debug, Clone)]
pub(super) struct OsUser {
    /// For messages.
    name: String,
    uid: u32,
    gid: u32,
    /// Whether this process is root and must switch to the user.
    switch: bool,
}

impl OsUser {
    /// Returns the user for the server of a cluster that is, or will be, at `cluster`: the current
    /// user or, if that is root, the cluster's owner; for a new cluster `postgres`, or `nobody` if
    /// there is no such user.
    ///
    /// # Errors
    /// `ForeignCluster` if the cluster belongs to a user as whom this process cannot run it,
    /// `NoOsUser` if root finds no user for a new cluster, or `Io`.
    pub(super) fn for_cluster(cluster: &Path) -> Result<Self, EmbeddedError> {
        let (uid, gid) = current_ids().map_err(at("find out who may use", cluster))?;
        let users = fs::read_to_string(PASSWD).unwrap_or_default();
        let owner = match fs::metadata(cluster) {
            Ok(metadata) => Some((metadata.uid(), metadata.gid())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(at("look at", cluster)(error)),
        };
        let foreign = |owner: u32, fix: &str| EmbeddedError::ForeignCluster {
            cluster: cluster.to_owned(),
            owner: name_of(&users, owner),
            fix: fix.to_owned(),
        };
        match owner {
            Some((owner, _)) if uid != 0 && owner != uid => {
                Err(foreign(owner, "Run as that user or as root, or choose another data folder."))
            }
            _ if uid != 0 => Ok(Self { name: name_of(&users, uid), uid, gid, switch: false }),
            Some((0, _)) => Err(foreign(
                0,
                &format!(
                    "Postgres refuses to run as root: change the owner with \
                     `chown -R postgres: {}`.",
                    quoted(cluster)
                ),
            )),
            Some((uid, gid)) => Ok(Self { name: name_of(&users, uid), uid, gid, switch: true }),
            None => ["postgres", "nobody"]
                .iter()
                .find_map(|name| by_name(&users, name))
                .ok_or(EmbeddedError::NoOsUser),
        }
    }

    /// Returns the user's name, for messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether this process is root and the server runs as another user.
    pub(super) fn is_other(&self) -> bool {
        self.switch
    }

    /// Whether `uid` is the user's id.
    pub(super) fn is(&self, uid: u32) -> bool {
        self.uid == uid
    }

    /// Makes the user the owner of `path`. Does not follow a symlink.
    pub(super) fn take_ownership(&self, path: &Path) -> Result<(), EmbeddedError> {
        if !self.switch {
            return Ok(());
        }
        lchown(path, Some(self.uid), Some(self.gid)).map_err(at("change the owner of", path))
    }

    /// Returns a command that runs as the user, in `/`, with an almost empty environment: variables
    /// such as `PGOPTIONS` would change the server, and it must not see our secrets.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("LC_ALL", "C").current_dir("/");
        for name in ["PATH", "LD_LIBRARY_PATH"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        if self.switch {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Returns the shell for [`watchdog::Watched::spawn`].
    pub(super) fn shell(&self) -> Command {
        self.command(Path::new(watchdog::SHELL))
    }

    /// Returns the outermost of `folder` and its ancestors that the user cannot pass, or `None` if
    /// the user can reach `folder`, an absolute path without symlinks.
    pub(super) fn obstacle(&self, folder: &Path) -> io::Result<Option<PathBuf>> {
        if !self.switch {
            return Ok(None);
        }
        let mut obstacle = None;
        for step in folder.ancestors() {
            let metadata = fs::metadata(step)?;
            let may_pass = if metadata.uid() == self.uid {
                0o100
            } else if metadata.gid() == self.gid {
                0o010
            } else {
                0o001
            };
            if metadata.mode() & may_pass == 0 {
                obstacle = Some(step.to_owned());
            }
        }
        Ok(obstacle)
    }
}

/// Whether this process is root.
pub(super) fn is_root() -> io::Result<bool> {
    Ok(current_ids()?.0 == 0)
}

/// Returns the effective user and group of this process. The standard library has no `geteuid`, but
/// each end of a socket pair can ask the kernel for the other's credentials.
fn current_ids() -> io::Result<(u32, u32)> {
    let (ours, _theirs) = UnixStream::pair()?;
    let credentials = ours.peer_cred()?;
    Ok((credentials.uid(), credentials.gid()))
}

/// Parses the lines of a passwd file as name, uid and gid. Malformed lines are skipped.
fn entries(users: &str) -> impl Iterator<Item = (&str, u32, u32)> {
    users.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some((name, uid, gid))
    })
}

fn by_name(users: &str, requested: &str) -> Option<OsUser> {
    let (name, uid, gid) = entries(users).find(|(name, ..)| *name == requested)?;
    Some(OsUser { name: name.to_owned(), uid, gid, switch: true })
}

fn name_of(users: &str, requested: u32) -> String {
    entries(users)
        .find(|(_, uid, _)| *uid == requested)
        .map_or_else(|| format!("uid {requested}"), |(name, ..)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0:root:/root:/bin/bash\nbroken\npostgres:x:101:104::/:/bin/sh\n";

    #[test]
    fn users_are_found_by_name_and_number() {
        let postgres = by_name(USERS, "postgres").expect("listed");
        assert_eq!((postgres.uid, postgres.gid), (101, 104));
        assert!(by_name(USERS, "nobody").is_none());
        assert_eq!(name_of(USERS, 101), "postgres");
        assert_eq!(name_of(USERS, 7), "uid 7");
    }
}
