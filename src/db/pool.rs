//! Database connections: the pool, TLS and transactions.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use diesel::{
    ConnectionError, ConnectionResult,
    result::{DatabaseErrorKind, Error},
};
use diesel_async::{
    AnsiTransactionManager, AsyncConnection as _, AsyncPgConnection, SimpleAsyncConnection as _,
    TransactionManager as _,
    pooled_connection::{
        AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod,
        deadpool::{Hook, HookError, Pool, PoolError},
    },
};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use parking_lot::Mutex;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{sync::Notify, time};
use tokio_postgres::{
    Config,
    config::{Host, SslMode},
    error::SqlState,
};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::AbortOnDropHandle;

use super::{
    connection::{Connection, PooledConnection},
    instrumentation::{Activity, Statements, Watch},
};
use crate::domain::{
    budget::{Exceeded, RequestBudget},
    causes::with_causes,
    node::PoolUse,
};

/// The database failed or could not be reached. The text is meant for the log.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The database cannot serve the request at the moment.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// A statement failed.
    #[error("a database statement failed: {0}")]
    Statement(#[from] diesel::result::Error),
    /// A stored value is invalid.
    #[error("the database contains an invalid value: {0}")]
    Value(String),
    /// The database URL or the root certificates of this machine cannot be used.
    #[error("the database connection cannot be set up: {0}")]
    Setup(String),
    /// A migration failed.
    #[error("migrating the database failed: {0}")]
    Migration(String),
    /// Reading or loading a backup failed.
    #[error("copying the database failed: {0}")]
    Copy(String),
    /// The request has exceeded its budget.
    #[error(transparent)]
    Exceeded(#[from] Exceeded),
    /// A statement took longer than it may.
    #[error("a statement took longer than {} seconds", .0.as_secs())]
    TimedOut(Duration),
    /// The task that used the database panicked.
    #[error("the task has panicked, which is a bug")]
    Panicked,
    /// Another transaction holds a lock that this one must not wait for.
    #[error("another transaction has locked a row")]
    Locked,
}

/// How Postgres reports a lock timeout (SQLSTATE 55P03). diesel hides the code of an error, and the
/// message comes in the language of the server.
pub(super) const LOCK_TIMED_OUT: [&str; 2] = [
    "canceling statement due to lock timeout",
    "выполнение оператора отменено из-за тайм-аута блокировки",
];

/// How Postgres begins to report that it has ended a statement: after a lock timeout, a timeout of the
/// statement (SQLSTATE 57014) or at somebody's request.
const CANCELLED: [&str; 2] = ["canceling statement due to", "выполнение оператора отменено"];

/// How Postgres reports a deadlock (SQLSTATE 40P01).
pub(super) const DEADLOCK: [&str; 2] = ["deadlock detected", "обнаружена взаимоблокировка"];

/// What a statement fails with if another call has claimed one of its idempotency keys meanwhile.
pub(super) const KEY_CLAIMED: &str = "an idempotency key was claimed meanwhile";

/// What the system says of a full disk, in the languages of [`UNAVAILABLE`].
pub(super) const DISK_FULL: [&str; 2] = ["No space left on device", "не осталось свободного места"];

/// What Postgres reports if it cannot serve anybody at the moment, beside a full disk: a full memory, too
/// many connections, a start or a stop. diesel hides the code of an error, and the messages come in the
/// language of the server.
const UNAVAILABLE: [&str; 16] = [
    "out of memory",
    "нехватка памяти",
    "out of shared memory",
    "нехватка разделяемой памяти",
    "too many clients",
    "слишком много клиентов",
    "too many connections",
    "слишком много подключений",
    "remaining connection slots",
    "оставшиеся слоты подключений",
    "terminating connection",
    "закрытие подключения",
    "the database system is",
    "система баз данных",
    "not accepting connections",
    "не принимает подключения",
];

impl DbError {
    /// Whether the database is away or overloaded, so that the same request may succeed later.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Statement(Error::BrokenTransactionManager) => true,
            Self::Statement(Error::DatabaseError(kind, _)) => match kind {
                DatabaseErrorKind::UnableToSendCommand
                | DatabaseErrorKind::ClosedConnection
                | DatabaseErrorKind::ReadOnlyTransaction => true,
                _ => self.has_message(&DISK_FULL) || self.has_message(&UNAVAILABLE),
            },
            _ => false,
        }
    }

    /// Whether other transactions stood in the way of this one, so that the same may succeed later.
    pub fn is_contended(&self) -> bool {
        matches!(self, Self::Locked)
            || self.is_held_up()
            || self.is_deadlock()
            || self.is_key_claimed()
    }

    /// Whether another call has claimed an idempotency key of the statement meanwhile.
    pub fn is_key_claimed(&self) -> bool {
        self.has_message(&[KEY_CLAIMED])
    }

    /// Whether another transaction held a lock for too long.
    pub fn is_held_up(&self) -> bool {
        self.has_message(&LOCK_TIMED_OUT)
    }

    /// Whether the statement was ended because it took too long, or by somebody.
    pub fn was_cancelled(&self) -> bool {
        matches!(self, Self::TimedOut(_)) || self.has_message(&CANCELLED)
    }

    /// Whether this transaction and others waited for each other, and this one was ended.
    fn is_deadlock(&self) -> bool {
        self.has_message(&DEADLOCK)
    }

    fn has_message(&self, texts: &[&str]) -> bool {
        let Self::Statement(Error::DatabaseError(_, information)) = self else { return false };
        texts.iter().any(|text| information.message().contains(text))
    }
}

/// The error of a transaction, which may be that of the database.
pub trait TransactionError: From<DbError> {
    /// Returns the error of the database, if this is one.
    fn database(&self) -> Option<&DbError>;
}

impl TransactionError for DbError {
    fn database(&self) -> Option<&DbError> {
        Some(self)
    }
}

/// How often a transaction is tried that ends in a deadlock.
const MAX_TRIES: u32 = 3;

const URL_FORMAT: &str = "must be like postgres://user:password@host:5432/database: percent-encode \
    special characters of the password";

const UNKNOWN_PARAMETER: &str = "has an unknown parameter: correct or remove what follows the `?`. A \
    schema is chosen by `options=-csearch_path%3DNAME`";

/// What libpq understands and the driver does not.
const UNSUPPORTED: [&str; 5] =
    ["sslmode=verify-ca", "sslmode=verify-full", "sslrootcert=", "sslcert=", "sslkey="];
const UNSUPPORTED_PARAMETER: &str = "has a parameter for TLS that is not supported: \
    `sslmode=require` verifies the server's certificate and name by the authorities that the system \
    trusts. Add your own with `update-ca-certificates`";

/// What the sessions call themselves.
pub(super) const APPLICATION: &str = "ticketwire";

/// How long a request waits for a connection before it fails.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long opening a connection may take at all, whichever host answers.
const OPENING_TIMEOUT: Duration = Duration::from_secs(20);
/// After how long without data the host of a connection is asked whether it is there, and how often
/// until the connection is given up. While data is under way, [`Watch`] notices.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;
/// Settings of every database session.
///
/// - The timeouts limit statements that keep running on the server after their request was
///   dropped.
/// - The word similarity threshold tolerates one wrong letter in a word of seven letters. The
///   default tolerates it only in words of eleven letters or more.
/// - The page cost is that of solid-state disks. With the default, a generic plan made while a
///   table is small keeps scanning the whole table as it grows.
/// - A session whose client is gone ends within two minutes, with the locks that it has.
/// - New texts are not added to the search by triggers, but later by a consumer of the feed.
/// - What writes a ticket also writes its entry in the queue. No trigger has to.
const SESSION_OPTIONS: &str = "-c statement_timeout=30s -c lock_timeout=10s \
    -c idle_in_transaction_session_timeout=60s -c TimeZone=UTC \
    -c tcp_keepalives_idle=60 -c tcp_keepalives_interval=15 -c tcp_keepalives_count=4 \
    -c client_min_messages=warning \
    -c pg_trgm.word_similarity_threshold=0.45 -c random_page_cost=1.1 \
    -c ticketwire.index_later=on -c ticketwire.queue_entries=on";

/// Has a session compress the whole pages that it writes to the write-ahead log, if its role may decide
/// that and nobody has. LZ4 halves them and takes no time that a comment would notice.
const COMPRESS_PAGES: &str = "SELECT set_config('wal_compression', 'lz4', false) FROM pg_settings
    WHERE name = 'wal_compression' AND source = 'default' AND 'lz4' = ANY (enumvals)
      AND has_parameter_privilege('wal_compression', 'SET')";
/// The first major version of Postgres that can compress pages with LZ4.
const COMPRESSES_SINCE: u32 = 15;

/// A handle to the database. Clones share one pool of connections.
#[derive(Clone)]
pub struct Database {
    pool: Pool<AsyncPgConnection>,
    connector: Connector,
    /// Wakes the sequencer.
    committed: Arc<Notify>,
    acquisitions: Activity,
}

impl Database {
    /// Creates a pool of at most `size` connections. Connections are opened on demand.
    ///
    /// # Errors
    /// The URL is malformed, or the root certificates cannot be used.
    pub fn new(url: &str, size: usize) -> Result<Self, DbError> {
        let connector = Connector::new(url)?;
        let pool = connector.pool(size)?;
        Ok(Self { pool, connector, committed: Arc::default(), acquisitions: Activity::default() })
    }

    /// Checks the form of a database's URL.
    ///
    /// # Errors
    /// The rest of a sentence that starts with the key of the URL. It never contains the URL, which
    /// includes a password.
    pub fn check_url(url: &str) -> Result<(), &'static str> {
        let config = parse(url).map_err(|refused| {
            let has = |parameter: &&str| url.contains(parameter);
            if UNSUPPORTED.iter().any(has) { UNSUPPORTED_PARAMETER } else { refused }
        })?;
        if url != url.trim() {
            return Err("must not begin or end with spaces or line breaks");
        }
        let names_host = !config.get_hosts().is_empty() || !config.get_hostaddrs().is_empty();
        if names_host { Ok(()) } else { Err(URL_FORMAT) }
    }

    /// Creates a handle to the same database with connections of its own, at most `size`. They
    /// stay available when those of this handle are all in use.
    ///
    /// # Errors
    /// The pool cannot be built.
    pub fn with_own_connections(&self, size: usize) -> Result<Self, DbError> {
        let pool = self.connector.pool(size)?;
        Ok(Self { pool, acquisitions: Activity::default(), ..self.clone() })
    }

    /// Borrows a connection from the pool, without starting a transaction. A request waits until
    /// it may use another connection.
    ///
    /// # Errors
    /// No connection became available within ten seconds, or the request has exceeded its budget.
    pub async fn read(&self) -> Result<PooledConnection, DbError> {
        let budget = RequestBudget::current();
        budget.as_ref().map_or(Ok(()), RequestBudget::check)?;
        let permit = match &budget {
            // The semaphore is never closed, so a permit always comes.
            Some(budget) => budget.connections().acquire_owned().await.ok(),
            None => None,
        };
        let began = Instant::now();
        let acquired = time::timeout(ACQUIRE_TIMEOUT, self.pool.get()).await;
        self.acquisitions.add(began.elapsed());
        match acquired {
            Ok(Ok(connection)) => {
                let tls = self.connector.tls.clone();
                Ok(PooledConnection::new(connection, tls, budget, permit))
            }
            // Its text would say once more that there is no connection.
            Ok(Err(PoolError::Backend(error))) => Err(DbError::Unavailable(with_causes(&error))),
            Ok(Err(error)) => Err(DbError::Unavailable(with_causes(&error))),
            Err(_) => Err(DbError::Unavailable("all connections are busy".into())),
        }
    }

    /// Reads from the database as [`read`](Self::read) does, and cancels the statement if it takes
    /// longer than `limit`.
    ///
    /// # Errors
    /// `TimedOut` after `limit`, or an error of `body`.
    pub async fn read_within<T, F>(&self, limit: Duration, body: F) -> Result<T, DbError>
    where
        for<'c> F: AsyncFnOnce(&'c mut Connection) -> Result<T, DbError>
            + TransactionBody<&'c mut Connection, Result<T, DbError>, Running: Send>
            + Send,
    {
        let mut connection = self.read().await?;
        let Ok(result) = time::timeout(limit, body(&mut connection)).await else {
            connection.cancel();
            return Err(DbError::TimedOut(limit));
        };
        result
    }

    /// Runs a transaction (READ COMMITTED) and then wakes the sequencer. The transaction commits if
    /// `body` succeeds. It rolls back if `body` fails or the future is dropped, and runs again if it
    /// ended in a deadlock.
    ///
    /// # Errors
    /// `body` failed, or the transaction could not begin or commit.
    pub async fn write<T, E, F>(&self, body: F) -> Result<T, E>
    where
        for<'c> F: AsyncFn(&'c mut Connection) -> Result<T, E>
            + TransactionBody<&'c mut Connection, Result<T, E>, Running: Send>
            + Send,
        E: TransactionError,
    {
        let value = self.transaction(body).await?;
        self.announce_commit();
        Ok(value)
    }

    /// Wakes the sequencer: events were committed by a statement outside of [`write`](Self::write), and
    /// are pending.
    pub fn announce_commit(&self) {
        self.committed.notify_one();
    }

    /// Runs a transaction like [`write`](Self::write) that appends no events, so the sequencer is
    /// not woken.
    ///
    /// # Errors
    /// `body` failed, or the transaction could not begin or commit.
    pub async fn write_without_events<T, F>(&self, body: F) -> Result<T, DbError>
    where
        for<'c> F: AsyncFn(&'c mut Connection) -> Result<T, DbError>
            + TransactionBody<&'c mut Connection, Result<T, DbError>, Running: Send>
            + Send,
    {
        self.transaction(body).await
    }

    /// Waits until this node has committed events that may be pending. Returns at once if it has since
    /// the last call.
    pub async fn committed(&self) {
        self.committed.notified().await;
    }

    async fn transaction<T, E, F>(&self, body: F) -> Result<T, E>
    where
        for<'c> F: AsyncFn(&'c mut Connection) -> Result<T, E>
            + TransactionBody<&'c mut Connection, Result<T, E>, Running: Send>
            + Send,
        E: TransactionError,
    {
        let mut tries = 1;
        loop {
            let ended = self.try_transaction(&body).await;
            let is_deadlock = |error: &E| error.database().is_some_and(DbError::is_deadlock);
            if tries == MAX_TRIES || !ended.as_ref().err().is_some_and(is_deadlock) {
                return ended;
            }
            tracing::warn!(tries, "a transaction ended in a deadlock; running it again");
            tries += 1;
        }
    }

    async fn try_transaction<T, E, F>(&self, body: &F) -> Result<T, E>
    where
        for<'c> F: AsyncFn(&'c mut Connection) -> Result<T, E>
            + TransactionBody<&'c mut Connection, Result<T, E>, Running: Send>
            + Send,
        E: TransactionError,
    {
        let mut connection = self.read().await?;
        AnsiTransactionManager::begin_transaction(&mut *connection).await.map_err(DbError::from)?;
        // The statements of a transaction are bounded by its use case.
        match RequestBudget::uncounted(body(&mut connection)).await {
            Ok(value) => {
                AnsiTransactionManager::commit_transaction(&mut *connection)
                    .await
                    .map_err(DbError::from)?;
                Ok(value)
            }
            Err(error) => {
                // A connection that cannot roll back is broken, and the pool discards it.
                let _ = AnsiTransactionManager::rollback_transaction(&mut *connection).await;
                Err(error)
            }
        }
    }

    /// Returns the connector, to open connections outside the pool.
    pub(super) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Checks that the database responds.
    ///
    /// # Errors
    /// The database cannot be reached or failed.
    pub async fn ping(&self) -> Result<(), DbError> {
        self.read().await?.batch_execute("SELECT 1").await?;
        Ok(())
    }

    /// Opens a connection outside the pool.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub(super) async fn connect_apart(&self) -> Result<AsyncPgConnection, DbError> {
        self.connect(Watch::new()).await
    }

    /// Opens a connection outside the pool whose statements may take any time.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub(super) async fn connect_unwatched(&self) -> Result<AsyncPgConnection, DbError> {
        self.connect(Watch::unlimited()).await
    }

    async fn connect(&self, watch: Watch) -> Result<AsyncPgConnection, DbError> {
        let connection = self.connector.diesel(watch).await;
        connection.map_err(|error| DbError::Unavailable(with_causes(&error)))
    }

    /// Returns the use of the pool.
    pub fn pool_use(&self) -> PoolUse {
        let status = self.pool.status();
        PoolUse {
            limit: status.max_size,
            open: status.size,
            in_use: status.size.saturating_sub(status.available),
            waiting: status.waiting,
        }
    }

    /// Returns how often a connection was borrowed from the pool, and how long that took.
    pub fn acquisitions(&self) -> &Activity {
        &self.acquisitions
    }

    /// Returns how many statements this node has sent over its pools, and how long they took.
    pub fn statements(&self) -> &Activity {
        &self.connector.statements
    }

    /// Closes the pool. Later requests for a connection fail.
    pub fn close(&self) {
        self.pool.close();
    }
}

/// An async closure whose future can be required to be `Send`, which `AsyncFn` alone cannot
/// express yet.
pub trait TransactionBody<C, R>:
    AsyncFn(C) -> R + Fn(C) -> <Self as TransactionBody<C, R>>::Running
{
    /// The closure's future.
    type Running: Future<Output = R>;
}

impl<F, C, R, Running> TransactionBody<C, R> for F
where
    F: AsyncFn(C) -> R + Fn(C) -> Running,
    Running: Future<Output = R>,
{
    type Running = Running;
}

/// A plain connection, which must be driven.
pub(super) type RawConnection = tokio_postgres::Connection<
    tokio_postgres::Socket,
    <MakeRustlsConnect as tokio_postgres::tls::MakeTlsConnect<tokio_postgres::Socket>>::Stream,
>;

/// Opens connections to one URL, with TLS as its `sslmode` and the server require.
#[derive(Clone)]
pub(super) struct Connector {
    config: Config,
    tls: MakeRustlsConnect,
    statements: Activity,
    silence: Silence,
}

/// When the last statement began that went without an answer. Connections that were idle then may be
/// dead too, and must not each be waited for.
#[derive(Clone, Default)]
struct Silence(Arc<Mutex<Option<Instant>>>);

impl Silence {
    fn record(&self, began: Instant) {
        *self.0.lock() = Some(began);
    }

    fn affects(&self, last_used: Instant) -> bool {
        let began = *self.0.lock();
        began.is_some_and(|began| last_used < began)
    }
}

impl Connector {
    fn new(url: &str) -> Result<Self, DbError> {
        // The parser's message may repeat the URL, which contains a password.
        let mut config =
            parse(url).map_err(|refused| DbError::Setup(format!("the URL {refused}")))?;
        let options = match config.get_options() {
            Some(options) => format!("{SESSION_OPTIONS} {options}"),
            None => SESSION_OPTIONS.into(),
        };
        config.options(options).connect_timeout(CONNECT_TIMEOUT).application_name(APPLICATION);
        notice_lost_hosts(&mut config);
        let tls = tls_config(config.get_ssl_mode())?;
        let (statements, silence) = (Activity::default(), Silence::default());
        Ok(Self { config, tls: MakeRustlsConnect::new(tls), statements, silence })
    }

    /// Creates a pool of at most `size` connections.
    fn pool(&self, size: usize) -> Result<Pool<AsyncPgConnection>, DbError> {
        let mut manager = ManagerConfig::default();
        manager.recycling_method = RecyclingMethod::Fast;
        let setup = self.clone();
        manager.custom_setup = Box::new(move |_| {
            let connector = setup.clone();
            async move { connector.diesel(Watch::new()).await }.boxed()
        });
        let silence = self.silence.clone();
        let is_suspect = Hook::sync_fn(move |_, metrics| {
            if silence.affects(metrics.recycled.unwrap_or(metrics.created)) {
                return Err(HookError::message("another connection went silent since it was used"));
            }
            Ok(())
        });
        // The connector knows the URL.
        Pool::builder(AsyncDieselConnectionManager::new_with_config("", manager))
            .max_size(size)
            .pre_recycle(is_suspect)
            .build()
            .map_err(|error| DbError::Setup(error.to_string()))
    }

    /// Opens a plain connection. Returns it with the future that drives it.
    ///
    /// # Errors
    /// Why it was not opened, with the place or the remedy.
    pub(super) async fn raw(&self) -> Result<(tokio_postgres::Client, RawConnection), String> {
        let opening = self.config.connect(self.tls.clone());
        match time::timeout(OPENING_TIMEOUT, opening).await {
            Ok(opened) => opened.map_err(|error| refusal(&error, &self.config)),
            Err(_) => Err(self.no_answer_in_time()),
        }
    }

    /// Opens a connection for diesel. It is closed when a statement goes without an answer for
    /// longer than `watch` allows.
    async fn diesel(&self, watch: Watch) -> ConnectionResult<AsyncPgConnection> {
        time::timeout(OPENING_TIMEOUT, self.set_up(watch))
            .await
            .unwrap_or_else(|_| Err(ConnectionError::BadConnection(self.no_answer_in_time())))
    }

    async fn set_up(&self, watch: Watch) -> ConnectionResult<AsyncPgConnection> {
        let (client, connection) = self.raw().await.map_err(ConnectionError::BadConnection)?;
        let version = connection.parameter("server_version").and_then(major_version);
        // A failure of the connection reaches the client's callers too.
        let driver = tokio::spawn(drive(connection, watch.clone(), self.silence.clone()));
        let driver = AbortOnDropHandle::new(driver);
        let mut connection = AsyncPgConnection::try_from(client).await?;
        if version >= Some(COMPRESSES_SINCE)
            && let Err(error) = connection.batch_execute(COMPRESS_PAGES).await
        {
            // What is not quite Postgres may lack the function. Everything works without.
            tracing::debug!(%error, "pages in the write-ahead log are not compressed with LZ4");
        }
        connection.set_instrumentation(Statements::new(self.statements.clone(), watch, driver));
        Ok(connection)
    }

    fn no_answer_in_time(&self) -> String {
        let (seconds, places) = (OPENING_TIMEOUT.as_secs(), places(&self.config));
        format!("no answer within {seconds} s at {places} ({UNREACHED})")
    }
}

/// Drives a connection until it ends or goes without an answer for too long.
async fn drive(mut connection: RawConnection, watch: Watch, silence: Silence) {
    let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
    // It must not be polled after an error.
    let ended = async { while let Some(Ok(_)) = messages.next().await {} };
    tokio::select! {
        () = ended => {}
        began = watch.exceeded() => {
            silence.record(began);
            tracing::warn!(
                seconds = began.elapsed().as_secs(),
                "a statement went without an answer from the database; closing its connection"
            );
        }
    }
}

/// Has idle connections end whose host is gone without a word, unless the URL says otherwise: the
/// kernel would notice after two hours.
fn notice_lost_hosts(config: &mut Config) {
    if config.get_keepalives_idle() == Config::new().get_keepalives_idle() {
        config.keepalives_idle(KEEPALIVE_IDLE);
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_interval(KEEPALIVE_INTERVAL);
    }
    if config.get_keepalives_retries().is_none() {
        config.keepalives_retries(KEEPALIVE_RETRIES);
    }
}

/// Parses a database's URL. The driver takes the first `@` for the end of the credentials, so that a rest
/// of a password would be part of the host, which errors name.
fn parse(url: &str) -> Result<Config, &'static str> {
    let after_scheme = url.split_once("://").map_or("", |(_, rest)| rest);
    if after_scheme.matches('@').count() > 1 {
        return Err(URL_FORMAT);
    }
    url.parse().map_err(|error: tokio_postgres::Error| {
        if with_causes(&error).contains("unknown option") { UNKNOWN_PARAMETER } else { URL_FORMAT }
    })
}

/// What to do if Postgres does not answer.
const UNREACHED: &str =
    "if it is a Postgres of your own, start it there, or correct `database.url`";
/// What to do if the connection cannot be encrypted.
const NOT_ENCRYPTED: &str = "switch TLS on there, with a certificate for this host that the system \
    trusts, or correct `sslmode` in `database.url`";
/// How the driver begins the text of errors of TLS.
const TLS_FAILED: &str = "error performing TLS handshake";

/// Returns the places that a URL leads to, for messages: hosts with ports, or sockets.
fn places(config: &Config) -> String {
    let (hosts, addresses, ports) =
        (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let place = |index: usize| {
        let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        match (hosts.get(index), addresses.get(index)) {
            (Some(Host::Unix(folder)), _) => format!("{}/.s.PGSQL.{port}", folder.display()),
            (Some(Host::Tcp(host)), _) if host.contains(':') => format!("[{host}]:{port}"),
            (Some(Host::Tcp(host)), _) => format!("{host}:{port}"),
            (None, Some(address)) => SocketAddr::new(*address, port).to_string(),
            (None, None) => String::new(),
        }
    };
    (0..hosts.len().max(addresses.len())).map(place).collect::<Vec<_>>().join(", ")
}

/// Returns why a connection was not opened, with the place and the remedy.
fn refusal(error: &tokio_postgres::Error, config: &Config) -> String {
    let Some(answer) = error.as_db_error() else {
        let text = with_causes(error);
        let remedy = if text.starts_with(TLS_FAILED) { NOT_ENCRYPTED } else { UNREACHED };
        return format!("{text}, at {} ({remedy})", places(config));
    };
    let remedy = match *answer.code() {
        SqlState::INVALID_CATALOG_NAME => {
            " (create it with `createdb --template=template0 --encoding=UTF8 --locale=C.UTF-8`, or \
             correct `database.url`)"
        }
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            " (correct the user and the password in `database.url`, or allow them in pg_hba.conf)"
        }
        SqlState::TOO_MANY_CONNECTIONS => {
            " (raise this limit, or lower `database.pool_size` of the nodes)"
        }
        _ => "",
    };
    format!("{answer}{remedy}")
}

/// Returns the major version of Postgres in a text such as `15.18 (Debian 15.18-0)`.
fn major_version(version: &str) -> Option<u32> {
    version.split(|it: char| !it.is_ascii_digit()).next()?.parse().ok()
}

/// Builds the TLS settings for an `sslmode`. `require` verifies the certificate. `prefer` does
/// not, because an attacker who can forge a certificate can also refuse TLS.
fn tls_config(mode: SslMode) -> Result<ClientConfig, DbError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| DbError::Setup(error.to_string()))?;
    if mode != SslMode::Require {
        let verifier = Arc::new(Unverified(provider));
        return Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth());
    }
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        return Err(DbError::Setup(
            "sslmode=require needs the root certificates of this machine; install the package \
             ca-certificates"
                .into(),
        ));
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Accepts any certificate.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_not_a_failure_of_the_server() {
        let failed = |kind, message: &str| {
            DbError::from(Error::DatabaseError(kind, Box::new(message.to_owned())))
        };
        for message in [
            "could not extend file \"base/1/2\": No space left on device",
            "не удалось расширить файл: На устройстве не осталось свободного места",
            "sorry, too many clients already",
            "terminating connection due to administrator command",
            "закрытие подключения по команде администратора",
            "the database system is shutting down",
            "система баз данных запускается",
        ] {
            assert!(failed(DatabaseErrorKind::Unknown, message).is_unavailable(), "{message}");
        }
        assert!(failed(DatabaseErrorKind::UnableToSendCommand, "closed").is_unavailable());
        assert!(!failed(DatabaseErrorKind::Unknown, "division by zero").is_unavailable());
        assert!(!failed(DatabaseErrorKind::UniqueViolation, "duplicate").is_unavailable());
    }
}
