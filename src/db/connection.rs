//! A connection borrowed from the pool.

use std::{
    ops::{Deref, DerefMut},
    time::Duration,
};

use diesel_async::{
    AsyncPgConnection, SimpleAsyncConnection as _,
    pooled_connection::{PoolableConnection as _, deadpool::Object},
};
use tokio::{runtime::Handle, sync::OwnedSemaphorePermit, time};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::domain::budget::RequestBudget;

/// The type of connection that query functions accept.
pub type Connection = AsyncPgConnection;

/// How long cancelling a statement may take before its connection is closed instead.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection borrowed from the pool. It returns to the pool when it is dropped. If its request
/// was abandoned, a statement may be under way: the connection then returns only after the
/// statement was cancelled.
pub struct PooledConnection {
    /// `None` only while it is dropped.
    connection: Option<Object<AsyncPgConnection>>,
    tls: MakeRustlsConnect,
    budget: Option<RequestBudget>,
    cancelled: bool,
    _permit: Option<OwnedSemaphorePermit>,
}

impl PooledConnection {
    /// Wraps a connection that is used for a request, or for no request.
    pub(super) fn new(
        connection: Object<AsyncPgConnection>,
        tls: MakeRustlsConnect,
        budget: Option<RequestBudget>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self { connection: Some(connection), tls, budget, cancelled: false, _permit: permit }
    }

    /// Cancels the statement that is under way, and returns the connection to the pool after that.
    pub fn cancel(mut self) {
        self.cancelled = true;
    }
}

impl Deref for PooledConnection {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        self.connection.as_deref().expect(IN_USE)
    }
}

impl DerefMut for PooledConnection {
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        self.connection.as_deref_mut().expect(IN_USE)
    }
}

const IN_USE: &str = "a connection that is used has not been dropped";

impl Drop for PooledConnection {
    fn drop(&mut self) {
        let abandoned =
            self.cancelled || self.budget.as_ref().is_some_and(RequestBudget::is_abandoned);
        let Some(connection) = self.connection.take().filter(|_| abandoned) else { return };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(cancel_statement(connection, self.tls.clone()))),
            // The process is ending.
            Err(_) => drop(Object::take(connection)),
        }
    }
}

/// Cancels the statement of a connection and returns the connection to the pool, or closes it if
/// that fails.
async fn cancel_statement(mut connection: Object<AsyncPgConnection>, tls: MakeRustlsConnect) {
    let token = connection.cancel_token();
    let cancelled = async {
        token.cancel_query(tls).await.is_ok()
            // Answered after the statement has ended.
            && connection.batch_execute("SELECT 1").await.is_ok()
            // An open transaction would keep its locks.
            && !connection.is_broken()
    };
    if !time::timeout(CANCEL_TIMEOUT, cancelled).await.unwrap_or(false) {
        drop(Object::take(connection));
    }
}
