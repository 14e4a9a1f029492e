//! Replaces the cluster by one of a newer major version. The caller copies the rows: the programs of
//! each version can read only their own clusters.
//!
//! The new cluster is complete under another name before the old one is moved aside, so an interrupted
//! upgrade changes nothing, or is completed at the next start.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::{
    binaries::Binaries,
    cluster::Cluster,
    error::{EmbeddedError, at},
    launch::Launch,
    lock::DataLock,
    log::Log,
    os_user::OsUser,
    settings::EmbeddedSettings,
    socket::{SocketFolder, url},
    watchdog::Watched,
};

/// The new cluster while it is being filled.
const UPGRADING: &str = "postgres.upgrading";
/// The new cluster once it is complete, until the old one is moved aside.
const UPGRADED: &str = "postgres.upgraded";
/// The folder of the rows, once they are copied.
const ROWS: &str = "postgres.rows";
/// The rows while they are copied.
const UNFINISHED_ROWS: &str = "postgres.rows.unfinished";

/// An upgrade of the cluster of a data folder, which no other process can use meanwhile.
#[derive(Debug)]
pub struct ClusterUpgrade {
    settings: EmbeddedSettings,
    user: OsUser,
    data_dir: PathBuf,
    from: u32,
    old: Binaries,
    new: Binaries,
    _lock: DataLock,
}

/// One of the two servers of an upgrade. Dropping it stops it without waiting for it to end.
#[derive(Debug)]
pub struct UpgradeServer {
    server: Watched,
    pid: u32,
    socket: SocketFolder,
}

impl ClusterUpgrade {
    /// Locks the data folder and finds the programs of both versions: of the old one wherever they
    /// are, of the new one in `bin_dir`, or else the newest that are installed, or else those from
    /// npm. Removes what an interrupted upgrade has left.
    ///
    /// # Errors
    /// There is no cluster, programs are missing or not newer, or any other [`EmbeddedError`].
    pub async fn prepare(settings: &EmbeddedSettings) -> Result<Self, EmbeddedError> {
        let data_dir = fs::canonicalize(&settings.data_dir)
            .map_err(|_| EmbeddedError::NoCluster { data_dir: settings.data_dir.clone() })?;
        let cluster = Cluster::of(&data_dir);
        let user = OsUser::for_cluster(&cluster.path)?;
        let lock = DataLock::acquire(&data_dir, &user).await?;
        complete_switch(&data_dir)?;
        let from = cluster
            .major()?
            .ok_or_else(|| EmbeddedError::NoCluster { data_dir: data_dir.clone() })?;
        let anywhere = EmbeddedSettings { bin_dir: None, ..settings.clone() };
        let old = Binaries::find(&anywhere, &user, &cluster.path, Some(from)).await?;
        let new = Binaries::newer(settings, &user, from).await?;
        discard(&data_dir)?;
        let settings = settings.clone();
        let upgrade = Self { settings, user, data_dir, from, old, new, _lock: lock };
        let aside = upgrade.aside();
        if aside.exists() { Err(EmbeddedError::AsideExists { aside }) } else { Ok(upgrade) }
    }

    /// Returns the major versions of the old and the new cluster.
    pub fn majors(&self) -> (u32, u32) {
        (self.from, self.new.major())
    }

    /// Returns a folder for the rows, which does not exist yet. [`finish`](Self::finish)
    /// and [`abandon`](Self::abandon) remove it.
    pub fn rows(&self) -> PathBuf {
        self.data_dir.join(ROWS)
    }

    /// Starts a server on the old cluster.
    ///
    /// # Errors
    /// As [`EmbeddedPostgres::start`](super::EmbeddedPostgres::start).
    pub async fn start_old(&self) -> Result<UpgradeServer, EmbeddedError> {
        self.start(&self.old, Cluster::of(&self.data_dir)).await
    }

    /// Creates the new cluster and starts a server on it. The old one must have been stopped.
    ///
    /// # Errors
    /// As [`EmbeddedPostgres::start`](super::EmbeddedPostgres::start).
    pub async fn start_new(&self) -> Result<UpgradeServer, EmbeddedError> {
        self.start(&self.new, Cluster::named(&self.data_dir, UPGRADING)).await
    }

    async fn start(
        &self,
        binaries: &Binaries,
        cluster: Cluster,
    ) -> Result<UpgradeServer, EmbeddedError> {
        let (settings, user) = (&self.settings, &self.user);
        let socket = SocketFolder::prepare(&self.data_dir, user)?;
        cluster.evict(&socket.claim()).await?;
        let log = Log::create(&self.data_dir, user)?;
        if cluster.major()?.is_none() {
            cluster.create(binaries, user, &log, settings.durable).await?;
        }
        let (program, user) = (binaries.program("postgres"), user.clone());
        let (server, pid) = Launch { program, user, cluster, log }.run(settings, &socket).await?;
        Ok(UpgradeServer { server, pid, socket })
    }

    /// Puts the new cluster in the place of the old one. Both servers must have been stopped. Returns
    /// where the old cluster is now.
    ///
    /// # Errors
    /// `Io`.
    pub fn finish(self) -> Result<PathBuf, EmbeddedError> {
        let (cluster, aside) = (Cluster::of(&self.data_dir).path, self.aside());
        let upgraded = self.data_dir.join(UPGRADED);
        rename(&self.data_dir.join(UPGRADING), &upgraded)?;
        sync(&self.data_dir)?;
        rename(&cluster, &aside)?;
        complete_switch(&self.data_dir)?;
        // The upgrade is done.
        if let Err(error) = remove(&self.rows()) {
            tracing::warn!(%error, "the copied rows of the upgrade are left: remove their folder");
        }
        Ok(aside)
    }

    /// Removes the new cluster and the rows after a failure. Both servers must have been stopped.
    ///
    /// # Errors
    /// `Io`.
    pub fn abandon(self) -> Result<(), EmbeddedError> {
        remove(&self.data_dir.join(UPGRADING))?;
        remove(&self.rows())
    }

    fn aside(&self) -> PathBuf {
        self.data_dir.join(format!("postgres-{}", self.from))
    }
}

impl UpgradeServer {
    /// Returns the URL of a database on this server.
    pub fn url(&self, database: &str) -> String {
        url(&self.socket.as_host(), database)
    }

    /// Stops the server and waits at most 30 s until it has ended.
    ///
    /// # Errors
    /// `NotStopped` if it takes longer.
    pub async fn stop(self) -> Result<(), EmbeddedError> {
        let Self { server, pid, socket } = self;
        server.stop().await.map_err(|source| EmbeddedError::NotStopped { pid, source })?;
        socket.remove();
        Ok(())
    }
}

/// Returns whether an upgrade was interrupted after the new cluster was complete.
pub(super) fn is_interrupted(data_dir: &Path) -> bool {
    data_dir.join(UPGRADED).exists()
}

/// Completes an upgrade that was interrupted after the old cluster was moved aside.
pub(super) fn complete_switch(data_dir: &Path) -> Result<(), EmbeddedError> {
    let (cluster, upgraded) = (Cluster::of(data_dir).path, data_dir.join(UPGRADED));
    if upgraded.exists() && !cluster.exists() {
        rename(&upgraded, &cluster)?;
        sync(data_dir)?;
    }
    Ok(())
}

/// Removes what an upgrade has left that was interrupted before the old cluster was moved aside: rows,
/// and a cluster that lacks what is written to the old one.
pub(super) fn discard(data_dir: &Path) -> Result<(), EmbeddedError> {
    [UPGRADING, UPGRADED, ROWS, UNFINISHED_ROWS]
        .into_iter()
        .try_for_each(|left| remove(&data_dir.join(left)))
}

fn rename(from: &Path, to: &Path) -> Result<(), EmbeddedError> {
    fs::rename(from, to).map_err(at("rename", from))
}

fn sync(folder: &Path) -> Result<(), EmbeddedError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at("sync", folder))
}

fn remove(folder: &Path) -> Result<(), EmbeddedError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at("remove", folder)(error)),
        _ => Ok(()),
    }
}
