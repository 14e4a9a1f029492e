//! Finds the programs of a Postgres server.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{error::EmbeddedError, npm, os_user::OsUser, settings::EmbeddedSettings};

/// The oldest supported major version.
const MINIMUM_MAJOR: u32 = 14;

/// Where the packages of common systems install the programs. `*` stands for any part of a name.
const USUAL_PLACES: [&str; 14] = [
    "/usr/lib/postgresql/*/bin",                      // Debian, Ubuntu
    "/usr/lib/postgresql*/bin",                       // openSUSE, Gentoo
    "/usr/lib64/postgresql*/bin",                     // Gentoo
    "/usr/libexec/postgresql*",                       // Alpine
    "/usr/pgsql-*/bin",                               // the PostgreSQL project's RPMs
    "/usr/local/pgsql*/bin",                          // built from source
    "/usr/local/bin",                                 // FreeBSD
    "/opt/postgresql*/bin",                           // by hand
    "/opt/PostgreSQL/*/bin",                          // EDB's installer, Linux
    "/Library/PostgreSQL/*/bin",                      // EDB's installer, macOS
    "/opt/homebrew/opt/postgresql*/bin",              // Homebrew, Apple silicon
    "/usr/local/opt/postgresql*/bin",                 // Homebrew, Intel
    "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin", // Homebrew, Linux
    "/Applications/Postgres.app/Contents/Versions/*/bin",
];

/// How long `postgres --version` may take.
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);

/// A folder with `initdb` and `postgres`, of which the latter has been run as the server's user.
#[derive(Debug)]
pub(super) struct Binaries {
    folder: PathBuf,
    major: u32,
}

impl Binaries {
    /// Finds the programs for `cluster`, which version `major` created; any supported version will
    /// do if it does not exist yet. If a folder is configured, only that one is considered. Else
    /// programs on `PATH` are preferred, then the newest in the usual places, then those from npm.
    ///
    /// # Errors
    /// `BadBinDir` if the configured folder cannot be used, `WrongMajor` if only other versions than
    /// `major` were found, else `NoBinaries`.
    pub(super) async fn find(
        settings: &EmbeddedSettings,
        user: &OsUser,
        cluster: &Path,
        major: Option<u32>,
    ) -> Result<Self, EmbeddedError> {
        let mut search = Search::new(user, major.map_or(Wanted::Any, Wanted::Major));
        match &settings.bin_dir {
            Some(folder) => search.probe([folder.clone()]).await,
            None => search.everywhere(settings).await,
        }
        let Search { seen, found, notes, .. } = search;
        let tried = notes.join("\n");
        let is_bad_folder = settings.bin_dir.is_some() && (seen.is_empty() || major.is_none());
        found.ok_or_else(|| match major {
            _ if is_bad_folder => {
                EmbeddedError::BadBinDir { minimum: MINIMUM_MAJOR, reason: tried }
            }
            Some(cluster_major) => {
                EmbeddedError::WrongMajor { cluster: cluster.to_owned(), cluster_major, tried }
            }
            None => EmbeddedError::NoBinaries { minimum: MINIMUM_MAJOR, tried },
        })
    }

    /// Finds the programs of a newer version than `major`. If a folder is configured, only that one is
    /// considered. Else the newest installed ones are chosen, or else those from npm.
    ///
    /// # Errors
    /// `NoNewerBinaries` if there are none.
    pub(super) async fn newer(
        settings: &EmbeddedSettings,
        user: &OsUser,
        major: u32,
    ) -> Result<Self, EmbeddedError> {
        let mut search = Search::new(user, Wanted::NewerThan(major));
        if let Some(folder) = &settings.bin_dir {
            search.probe([folder.clone()]).await;
        } else {
            let usual = USUAL_PLACES.iter().flat_map(|place| expand(place));
            search.probe(on_path().into_iter().chain(usual)).await;
            if search.found.is_none() {
                search.fetch(settings).await;
            }
        }
        let Search { found, notes, .. } = search;
        found.ok_or_else(|| EmbeddedError::NoNewerBinaries { major, tried: notes.join("\n") })
    }

    /// Returns the major version.
    pub(super) fn major(&self) -> u32 {
        self.major
    }

    /// Returns the path of a program.
    pub(super) fn program(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }
}

/// The major version that a search is for.
#[derive(Clone, Copy)]
enum Wanted {
    /// Any that is supported.
    Any,
    Major(u32),
    NewerThan(u32),
}

impl Wanted {
    fn accepts(self, major: u32) -> bool {
        match self {
            Self::Any => major >= MINIMUM_MAJOR,
            Self::Major(wanted) => major == wanted,
            Self::NewerThan(old) => major >= MINIMUM_MAJOR && major > old,
        }
    }

    /// Returns the version, if no other will do.
    fn only(self) -> Option<u32> {
        match self {
            Self::Major(wanted) => Some(wanted),
            Self::Any | Self::NewerThan(_) => None,
        }
    }
}

/// A search in progress.
struct Search<'a> {
    user: &'a OsUser,
    wanted: Wanted,
    seen: HashSet<PathBuf>,
    found: Option<Binaries>,
    /// Why folders were not chosen, a line each.
    notes: Vec<String>,
}

impl<'a> Search<'a> {
    fn new(user: &'a OsUser, wanted: Wanted) -> Self {
        Self { user, wanted, seen: HashSet::new(), found: None, notes: vec![] }
    }

    async fn everywhere(&mut self, settings: &EmbeddedSettings) {
        for folder in on_path() {
            self.probe([folder]).await;
        }
        if self.found.is_none() {
            self.probe(USUAL_PLACES.iter().flat_map(|place| expand(place))).await;
        }
        if self.found.is_none() && self.wanted.only().is_some() {
            // An earlier version of this program has fetched them.
            self.probe(npm::fetched(settings, self.user)).await;
        }
        if self.found.is_none() {
            self.fetch(settings).await;
        }
    }

    async fn fetch(&mut self, settings: &EmbeddedSettings) {
        match npm::fetch(settings, self.user, self.wanted.only()).await {
            Ok(folder) => self.probe([folder]).await,
            Err(reason) => self.notes.push(format!("npm: {reason}")),
        }
    }

    /// Chooses the newest suitable server in `folders`, unless one has been found already.
    async fn probe(&mut self, folders: impl IntoIterator<Item = PathBuf>) {
        if self.found.is_some() {
            return;
        }
        for folder in folders {
            match resolve(&folder) {
                Err(reason) => self.notes.push(reason),
                Ok(folder) if !self.seen.insert(folder.clone()) => {}
                Ok(folder) => match major_in(&folder, self.user).await {
                    Err(reason) => self.notes.push(format!("{}: {reason}", folder.display())),
                    Ok(major) => self.consider(Binaries { folder, major }),
                },
            }
        }
    }

    fn consider(&mut self, binaries: Binaries) {
        let is_suitable = self.wanted.accepts(binaries.major);
        let is_newest = self.found.as_ref().is_none_or(|found| binaries.major > found.major);
        if is_suitable && is_newest {
            self.found = Some(binaries);
        } else {
            let Binaries { folder, major } = binaries;
            self.notes.push(format!("{}: Postgres {major}", folder.display()));
        }
    }
}

/// Returns the folder where `postgres` really is. Postgres finds its other files relative to it, so
/// a symlink to the program alone (/usr/local/bin/postgres) must be followed.
fn resolve(folder: &Path) -> Result<PathBuf, String> {
    let program = folder.join("postgres");
    let target =
        fs::canonicalize(&program).map_err(|error| format!("{}: {error}", program.display()))?;
    let real = target.parent().unwrap_or(folder);
    if real.join("initdb").is_file() {
        Ok(real.to_owned())
    } else {
        Err(format!("{}: contains postgres, but not initdb", real.display()))
    }
}

/// Returns the major version of the server in `folder`.
///
/// # Errors
/// Why it cannot be run, in words.
async fn major_in(folder: &Path, user: &OsUser) -> Result<u32, String> {
    if let Some(closed) = user.obstacle(folder).map_err(|error| error.to_string())? {
        return Err(format!("{} is closed to the user {}", closed.display(), user.name()));
    }
    let version =
        user.command(&folder.join("postgres")).arg("--version").kill_on_drop(true).output();
    let output = tokio::time::timeout(VERSION_TIMEOUT, version)
        .await
        .map_err(|_| "`postgres --version` did not end in time".to_owned())?
        .map_err(|error| error.to_string())?;
    major_of(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        format!("`postgres --version` failed: {}", complaint.trim())
    })
}

/// Parses the major version: 15 from `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, 18 from
/// `… 18beta1`.
fn major_of(version: &str) -> Option<u32> {
    let number = version.split("(PostgreSQL) ").nth(1)?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Returns the folders on `PATH` with a `postgres`. Relative ones are skipped: they would depend on
/// the working directory.
fn on_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute() && folder.join("postgres").exists())
        .collect()
}

/// Returns the folders with a `postgres` that match `pattern`, which has at most one `*`.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return existing(PathBuf::from(pattern)).collect();
    };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let (suffix, rest) = after.split_once('/').unwrap_or((after, ""));
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix) && name.ends_with(suffix))
        .flat_map(|name| existing(Path::new(parent).join(name).join(rest)))
        .collect()
}

fn existing(folder: PathBuf) -> impl Iterator<Item = PathBuf> {
    folder.join("postgres").exists().then_some(folder).into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_parsed() {
        assert_eq!(major_of("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(major_of("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(major_of("postgres (EnterpriseDB) 15\n"), None);
        assert_eq!(major_of(""), None);
    }

    #[test]
    fn every_usual_place_has_at_most_one_star() {
        assert!(USUAL_PLACES.iter().all(|place| place.matches('*').count() <= 1));
    }
}
