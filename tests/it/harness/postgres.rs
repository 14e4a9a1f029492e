//! One Postgres for all tests of a run. Each test gets its own database, copied from a template in
//! about 30 ms.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::PathBuf,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
        mpsc as std_mpsc,
    },
    thread,
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use ticketwire::db::{
    Database,
    embedded::{EmbeddedError, EmbeddedPostgres, EmbeddedSettings},
    migrations,
};
use tokio::{sync::mpsc, time};
use tokio_postgres::{AsyncMessage, Client, NoTls};

/// The time within which a notification must come.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A database for one test, dropped together with this value.
pub struct TestDatabase {
    name: String,
    /// Its connection URL.
    pub url: String,
}

struct Server {
    url: Box<dyn Fn(&str) -> String + Send + Sync>,
    template: String,
    folder: PathBuf,
    dropped: mpsc::UnboundedSender<String>,
}

static SERVER: LazyLock<Server> = LazyLock::new(start);
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Receives the payloads of a channel of NOTIFY.
pub struct Listener {
    client: Client,
    channel: &'static str,
    payloads: mpsc::UnboundedReceiver<String>,
}

impl Listener {
    /// Waits for the next payload.
    pub async fn next(&mut self) -> String {
        let payload = time::timeout(TIMEOUT, self.payloads.recv()).await;
        payload.expect("a notification in time").unwrap()
    }

    /// Returns the payloads that were sent since the last call, or since the listener began.
    pub async fn until_now(&mut self) -> Vec<String> {
        let mark = format!("NOTIFY {}, 'mark'", self.channel);
        self.client.batch_execute(&mark).await.unwrap();
        let mut heard = Vec::new();
        loop {
            match self.payloads.recv().await.unwrap() {
                payload if payload == "mark" => return heard,
                payload => heard.push(payload),
            }
        }
    }
}

impl TestDatabase {
    /// Creates a migrated database.
    pub async fn new() -> Self {
        super::client::install_tls_provider();
        let server = tokio::task::spawn_blocking(|| &*SERVER).await.unwrap();
        Self::create(&format!("TEMPLATE {} STRATEGY FILE_COPY", server.template)).await
    }

    /// Creates a database without a schema.
    pub async fn empty() -> Self {
        super::client::install_tls_provider();
        Self::create("").await
    }

    async fn create(options: &str) -> Self {
        let server = tokio::task::spawn_blocking(|| &*SERVER).await.unwrap();
        let name = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        execute(&(server.url)("postgres"), &format!("CREATE DATABASE {name} {options}")).await;
        let url = (server.url)(&name);
        Self { name, url }
    }

    /// Returns its URL for sessions with a setting.
    pub fn url_with(&self, setting: &str, value: &str) -> String {
        let separator = if self.url.contains('?') { '&' } else { '?' };
        format!("{}{separator}options=-c%20{setting}%3D{value}", self.url)
    }

    /// Refuses connections from now on, and ends those that are open.
    pub async fn close(&self) {
        // A statement of its own, so that nobody reconnects before it takes effect.
        self.allow_connections(false).await;
        let name = &self.name;
        let end = format!(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'"
        );
        execute(&(SERVER.url)("postgres"), &end).await;
    }

    /// Accepts connections again.
    pub async fn open(&self) {
        self.allow_connections(true).await;
    }

    async fn allow_connections(&self, allowed: bool) {
        let change = format!("ALTER DATABASE {} ALLOW_CONNECTIONS {allowed}", self.name);
        execute(&(SERVER.url)("postgres"), &change).await;
    }

    /// Listens to a channel of NOTIFY.
    pub async fn listen(&self, channel: &'static str) -> Listener {
        let (client, mut connection) = tokio_postgres::connect(&self.url, NoTls).await.unwrap();
        let (heard, payloads) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
            while let Some(Ok(message)) = messages.next().await {
                if let AsyncMessage::Notification(notification) = message {
                    drop(heard.send(notification.payload().to_owned()));
                }
            }
        });
        client.batch_execute(&format!("LISTEN {channel}")).await.unwrap();
        Listener { client, channel, payloads }
    }

    /// Writes the statements of connections opened from now on to the log of Postgres.
    pub async fn log_statements(&self) {
        execute(&self.url, &format!("ALTER DATABASE {} SET log_statement = 'all'", self.name))
            .await;
    }

    /// Writes the query plans of connections opened from now on to the log of Postgres, with the rows
    /// that were read. Random reads cost what they cost on an SSD.
    pub async fn log_plans(&self, plan_cache_mode: &str) {
        let settings = [
            "session_preload_libraries = auto_explain",
            "auto_explain.log_min_duration = 0",
            "auto_explain.log_analyze = on",
            "auto_explain.log_timing = off",
            "random_page_cost = 1.1",
            &format!("plan_cache_mode = {plan_cache_mode}"),
        ];
        for setting in settings {
            execute(&self.url, &format!("ALTER DATABASE {} SET {setting}", self.name)).await;
        }
    }

    /// Returns the process ids of the database's connections.
    pub async fn backends(&self) -> Vec<i32> {
        let query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()";
        let rows = self.connect().await.query(query, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Opens a connection for the test itself.
    pub async fn connect(&self) -> tokio_postgres::Client {
        connect(&self.url).await
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let _ = SERVER.dropped.send(self.name.clone());
    }
}

/// The log of the Postgres that all tests share.
pub fn log_file() -> PathBuf {
    SERVER.folder.join("postgres.log")
}

/// Connects to a database; a background task drives the connection.
pub async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn execute(url: &str, sql: &str) {
    connect(url).await.batch_execute(sql).await.unwrap();
}

/// A folder for a cluster. The user `postgres` can access it if root runs the tests.
pub fn cluster_folder(name: &str) -> PathBuf {
    std::env::temp_dir()
        .join(format!("ticketwire-tests-{}-{name}", rustix::process::geteuid().as_raw()))
}

/// A test's own data folder, removed when dropped.
pub struct DataFolder(pub PathBuf);

impl DataFolder {
    /// Chooses a folder, which does not exist yet.
    pub fn new(name: &str) -> Self {
        let folder = cluster_folder(&format!("{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&folder));
        Self(folder)
    }

    /// Its path as text.
    pub fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Settings for a test's own cluster.
pub fn cluster_settings(data_dir: PathBuf) -> EmbeddedSettings {
    EmbeddedSettings {
        data_dir,
        bin_dir: None,
        cache_dir: None,
        durable: false,
        max_connections: 400,
    }
}

/// Starts the server on its own thread and runtime, which outlive those of every test. The server's
/// watchdog stops it when this process ends.
fn start() -> Server {
    let (ready, is_ready) = std_mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let (postgres, folder) = start_in_a_free_folder().await;
            let template = make_template(&postgres).await;
            let (dropped, mut to_drop) = mpsc::unbounded_channel::<String>();
            let admin = postgres.url("postgres");
            let host = postgres.url("NAME");
            let url = Box::new(move |name: &str| host.replace("NAME", name));
            ready.send(Server { url, template, folder, dropped }).unwrap();
            while let Some(name) = to_drop.recv().await {
                execute(&admin, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
            }
        });
    });
    is_ready
        .recv()
        .expect("Postgres could not be started; install it with: apt-get install postgresql")
}

async fn start_in_a_free_folder() -> (EmbeddedPostgres, PathBuf) {
    for slot in 0..16 {
        let folder = cluster_folder(&slot.to_string());
        match EmbeddedPostgres::start(&cluster_settings(folder.clone())).await {
            Ok(postgres) => return (postgres, folder),
            Err(EmbeddedError::Locked { .. }) => {}
            Err(error) => panic!("the tests need Postgres (apt-get install postgresql): {error}"),
        }
    }
    panic!("16 other runs of these tests use all folders for clusters");
}

/// Creates the template for the current migrations, unless an earlier run did, and drops what
/// earlier runs left.
async fn make_template(postgres: &EmbeddedPostgres) -> String {
    let mut hash = DefaultHasher::new();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut migrations =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    migrations.retain(|path| path.is_dir());
    migrations.sort();
    for migration in migrations {
        std::fs::read(migration.join("up.sql")).unwrap().hash(&mut hash);
    }
    let template = format!("template_{:016x}", hash.finish());
    let admin = connect(&postgres.url("postgres")).await;
    let left = admin
        .query("SELECT datname FROM pg_database WHERE datname ~ '^(test|template|making)_' AND datname <> $1", &[&template])
        .await
        .unwrap();
    for row in left {
        admin
            .batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", row.get::<_, &str>(0)))
            .await
            .unwrap();
    }
    let known =
        admin.query("SELECT FROM pg_database WHERE datname = $1", &[&template]).await.unwrap();
    if known.is_empty() {
        admin.batch_execute("CREATE DATABASE making_template").await.unwrap();
        let database = Database::new(&postgres.url("making_template"), 2).unwrap();
        migrations::run(&database).await.unwrap();
        database.close();
        admin
            .batch_execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = 'making_template'")
            .await
            .unwrap();
        admin
            .batch_execute(&format!("ALTER DATABASE making_template RENAME TO {template}"))
            .await
            .unwrap();
    }
    template
}
