//! The user that the server's processes run as.
//!
//! Postgres refuses to run as root, so a root process starts it as somebody else, who must be able
//! to reach everything on the way.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, lchown},
    path::{Path, PathBuf},
};

use tokio::{net::UnixStream, process::Command};

use super::{EmbeddedError, error::at, guard};

/// Where users are listed, a line each: `name:password:uid:gid:…`.
const PASSWD: &str = "/etc/passwd";

/// A user of this machine.
#[derive(Debug, Clone)]
pub(super) struct OsUser {
    /// For messages and for commands that people are told to run.
    name: String,
    uid: u32,
    gid: u32,
    /// Whether this process is root and has to become the user.
    switch: bool,
}

impl OsUser {
    /// Who runs the server whose cluster is, or will be, at `cluster`: ourselves, or, if we are
    /// root, the cluster's owner, or for a new one `postgres`, else `nobody`.
    ///
    /// # Errors
    /// When the cluster belongs to somebody for whom we can't run it, or there is nobody to be.
    pub(super) fn for_cluster(cluster: &Path) -> Result<Self, EmbeddedError> {
        let (uid, gid) = our_ids().map_err(at("find out who may use", cluster))?;
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
                    "Postgres refuses to run as root: give it away with `chown -R postgres: {}`.",
                    cluster.display()
                ),
            )),
            Some((uid, gid)) => Ok(Self { name: name_of(&users, uid), uid, gid, switch: true }),
            None => ["postgres", "nobody"]
                .iter()
                .find_map(|name| by_name(&users, name))
                .ok_or(EmbeddedError::NoAccount),
        }
    }

    /// The user's name, for people.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether this process is root and the server runs as somebody else.
    pub(super) fn is_other(&self) -> bool {
        self.switch
    }

    /// Whether `uid` is the user.
    pub(super) fn is(&self, uid: u32) -> bool {
        self.uid == uid
    }

    /// Gives `path` (a symlink itself, not what it points to) to the user.
    pub(super) fn own(&self, path: &Path) -> Result<(), EmbeddedError> {
        if !self.switch {
            return Ok(());
        }
        lchown(path, Some(self.uid), Some(self.gid)).map_err(at("hand over to Postgres", path))
    }

    /// A command that runs as the user, from `/`, with next to nothing of our environment:
    /// variables such as `PGOPTIONS` would change the server, and secrets are not its business.
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

    /// The shell for [`guard::Guarded::spawn`].
    pub(super) fn shell(&self) -> Command {
        self.command(Path::new(guard::SHELL))
    }

    /// The outermost folder on the way into `folder`, an absolute path without symlinks, that does
    /// not let the user pass.
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

/// Our effective user and group: the standard library has no `geteuid`, but the kernel tells both
/// ends of a socket who the other one is.
fn our_ids() -> io::Result<(u32, u32)> {
    let (ours, _theirs) = UnixStream::pair()?;
    let credentials = ours.peer_cred()?;
    Ok((credentials.uid(), credentials.gid()))
}

/// The lines of a passwd file as name, uid and gid.
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
    fn finds_users_by_name_and_number() {
        let postgres = by_name(USERS, "postgres").expect("listed");
        assert_eq!((postgres.uid, postgres.gid), (101, 104));
        assert!(by_name(USERS, "nobody").is_none());
        assert_eq!(name_of(USERS, 101), "postgres");
        assert_eq!(name_of(USERS, 7), "uid 7");
    }
}
