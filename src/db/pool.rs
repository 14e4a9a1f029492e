//! Connections: the pool, TLS, and the one function that runs a writing transaction.

use std::{sync::Arc, time::Duration};

use diesel::{ConnectionError, ConnectionResult};
use diesel_async::{
    AnsiTransactionManager, AsyncPgConnection, SimpleAsyncConnection as _, TransactionManager as _,
    pooled_connection::{
        AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod,
        deadpool::{Object, Pool},
    },
};
use futures_util::FutureExt as _;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{sync::Notify, time};
use tokio_postgres::{Config, config::SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A connection as query functions take it.
pub type Connection = AsyncPgConnection;
/// A connection in_use by the pool.
pub type PooledConnection = Object<AsyncPgConnection>;

/// The database failed, or could not be reached. The text is for the log.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// No connection within the time that one is waited for.
    #[error("no database connection: {0}")]
    Unavailable(String),
    /// A statement failed.
    #[error("the database refused a statement: {0}")]
    Statement(#[from] diesel::result::Error),
    /// A stored value has no meaning here.
    #[error("the database holds a value that can't be read: {0}")]
    Value(String),
    /// The URL, or the certificates of this machine, can't be used.
    #[error("the database can't be connected to: {0}")]
    Setup(String),
    /// Migrations failed.
    #[error("the database can't be migrated: {0}")]
    Migration(String),
}

/// How long a request waits for a connection before it is told that there is none.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A request that was dropped leaves its statement running on the server: these
/// bound it, in the server's own words. The word similarity makes a wrong letter in a word
/// of seven a typo; the server's own default forgives it from eleven on. The page cost is
/// that of disks that don't spin: by the server's own default a plan that is made while a
/// table is small goes on to read all of it as it grows.
const SESSION_OPTIONS: &str = "-c statement_timeout=30s -c lock_timeout=10s \
    -c idle_in_transaction_session_timeout=60s -c TimeZone=UTC \
    -c pg_trgm.word_similarity_threshold=0.45 -c random_page_cost=1.1";

/// The database, as everything above `db` holds it.
#[derive(Clone)]
pub struct Database {
    pool: Pool<AsyncPgConnection>,
    connector: Connector,
    committed: Arc<Notify>,
}

impl Database {
    /// Prepares a pool of at most `size` connections; none is made yet.
    ///
    /// # Errors
    /// A URL that can't be read.
    pub fn new(url: &str, size: usize) -> Result<Self, DbError> {
        let connector = Connector::new(url)?;
        let mut manager = ManagerConfig::default();
        manager.recycling_method = RecyclingMethod::Fast;
        let setup = connector.clone();
        manager.custom_setup = Box::new(move |_| {
            let connector = setup.clone();
            async move { connector.diesel().await }.boxed()
        });
        let pool = Pool::builder(AsyncDieselConnectionManager::new_with_config(url, manager))
            .max_size(size)
            .build()
            .map_err(|error| DbError::Setup(error.to_string()))?;
        Ok(Self { pool, connector, committed: Arc::default() })
    }

    /// A connection to read with.
    ///
    /// # Errors
    /// None within ten seconds.
    pub async fn read(&self) -> Result<PooledConnection, DbError> {
        match time::timeout(ACQUIRE_TIMEOUT, self.pool.get()).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(DbError::Unavailable(chain(&error))),
            Err(_) => Err(DbError::Unavailable("all connections are busy".into())),
        }
    }

    /// Runs a transaction (READ COMMITTED): committed where `body` succeeds,
    /// rolled back where it doesn't or where the caller goes away. After the
    /// commit the sequencer is woken.
    ///
    /// # Errors
    /// What `body` gives, or the database's.
    pub async fn write<T, E, F>(&self, body: F) -> Result<T, E>
    where
        for<'c> F: AsyncFnOnce(&'c mut Connection) -> Result<T, E>
            + TransactionBody<&'c mut Connection, Result<T, E>, Running: Send>
            + Send,
        E: From<DbError>,
    {
        let value = self.transaction(body).await?;
        self.committed.notify_one();
        Ok(value)
    }

    /// Runs a transaction that appends no events: like [`write`](Self::write), without
    /// waking the sequencer.
    ///
    /// # Errors
    /// What `body` gives, or the database's.
    pub async fn write_without_events<T, F>(&self, body: F) -> Result<T, DbError>
    where
        for<'c> F: AsyncFnOnce(&'c mut Connection) -> Result<T, DbError>
            + TransactionBody<&'c mut Connection, Result<T, DbError>, Running: Send>
            + Send,
    {
        self.transaction(body).await
    }

    /// Resolves after a commit on this node since the last call.
    pub async fn committed(&self) {
        self.committed.notified().await;
    }

    async fn transaction<T, E, F>(&self, body: F) -> Result<T, E>
    where
        for<'c> F: AsyncFnOnce(&'c mut Connection) -> Result<T, E>
            + TransactionBody<&'c mut Connection, Result<T, E>, Running: Send>
            + Send,
        E: From<DbError>,
    {
        let mut connection = self.read().await?;
        AnsiTransactionManager::begin_transaction(&mut *connection).await.map_err(DbError::from)?;
        match body(&mut connection).await {
            Ok(value) => {
                AnsiTransactionManager::commit_transaction(&mut *connection)
                    .await
                    .map_err(DbError::from)?;
                Ok(value)
            }
            Err(error) => {
                // A connection that can't roll back is broken, and the pool drops it.
                let _ = AnsiTransactionManager::rollback_transaction(&mut *connection).await;
                Err(error)
            }
        }
    }

    /// How connections outside the pool are made.
    pub(super) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Asks the database whether it is there.
    ///
    /// # Errors
    /// It is not.
    pub async fn ping(&self) -> Result<(), DbError> {
        self.read().await?.batch_execute("SELECT 1").await?;
        Ok(())
    }

    /// How many connections the pool has, by what they are: at most, made, in_use out, and
    /// waited for.
    pub fn pool_use(&self) -> [(&'static str, usize); 4] {
        let status = self.pool.status();
        let in_use = status.size.saturating_sub(status.available);
        [
            ("limit", status.max_size),
            ("open", status.size),
            ("in_use", in_use),
            ("waiting", status.waiting),
        ]
    }

    /// Closes the pool: whoever asks for a connection is refused from now on.
    pub fn close(&self) {
        self.pool.close();
    }
}

/// An async closure whose future can be told to be `Send`, which `AsyncFnOnce`
/// alone can't say yet.
pub trait TransactionBody<C, R>:
    AsyncFnOnce(C) -> R + FnOnce(C) -> <Self as TransactionBody<C, R>>::Running
{
    /// The closure's future.
    type Running: Future<Output = R>;
}

impl<F, C, R, Running> TransactionBody<C, R> for F
where
    F: AsyncFnOnce(C) -> R + FnOnce(C) -> Running,
    Running: Future<Output = R>,
{
    type Running = Running;
}

/// Makes connections by one URL, with TLS where the URL and the server want it.
#[derive(Clone)]
pub(super) struct Connector {
    config: Config,
    tls: MakeRustlsConnect,
}

impl Connector {
    fn new(url: &str) -> Result<Self, DbError> {
        // The parser's own text could repeat the URL, which holds a password.
        let mut config: Config = url.parse().map_err(|_| {
            DbError::Setup(
                "the URL can't be read; it has to be like postgres://user:password@host:5432/name \
                 (percent-encode special characters of the password)"
                    .into(),
            )
        })?;
        let options = match config.get_options() {
            Some(given) => format!("{SESSION_OPTIONS} {given}"),
            None => SESSION_OPTIONS.into(),
        };
        config.options(options).connect_timeout(CONNECT_TIMEOUT).application_name("ticketwire");
        let tls = tls_config(config.get_ssl_mode())?;
        Ok(Self { config, tls: MakeRustlsConnect::new(tls) })
    }

    /// A bare connection and the future that drives it.
    pub(super) async fn raw(
        &self,
    ) -> Result<
        (
            tokio_postgres::Client,
            tokio_postgres::Connection<
                tokio_postgres::Socket,
                <MakeRustlsConnect as tokio_postgres::tls::MakeTlsConnect<
                    tokio_postgres::Socket,
                >>::Stream,
            >,
        ),
        tokio_postgres::Error,
    > {
        self.config.connect(self.tls.clone()).await
    }

    /// A connection for diesel.
    pub(super) async fn diesel(&self) -> ConnectionResult<AsyncPgConnection> {
        let (client, connection) =
            self.raw().await.map_err(|error| ConnectionError::BadConnection(chain(&error)))?;
        AsyncPgConnection::try_from_client_and_connection(client, connection).await
    }
}

/// An error with its causes: tokio-postgres tells the reason only in those.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// As libpq does: `prefer` encrypts without verifying, since whoever could forge
/// a certificate could as well refuse TLS; `require` verifies.
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
            "sslmode=require needs this machine's root certificates; install ca-certificates"
                .into(),
        ));
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

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
