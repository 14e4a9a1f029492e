//! The sockets that a server listens on.

use std::{io, net::SocketAddr};

use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::error::{StartError, invalid_setting};
use crate::{
    config::Config,
    http::{self, Api},
};

/// A bound socket.
pub(super) struct Listener {
    socket: TcpListener,
    /// Its address, with the port that was picked if the configured one is 0.
    pub(super) address: SocketAddr,
}

impl Listener {
    /// Binds the socket of the API.
    pub(super) async fn for_api(config: &Config) -> Result<Self, StartError> {
        let address = config.listen;
        Self::bind(address).await.map_err(|cause| StartError::Listen { address, cause })
    }

    /// Binds the socket for monitoring, if one is configured.
    pub(super) async fn for_admin(config: &Config) -> Result<Option<Self>, StartError> {
        let Some(address) = config.admin.listen else { return Ok(None) };
        let failed = |cause| {
            invalid_setting("admin.listen", format!("is {address}: cannot listen: {cause}"))
        };
        Self::bind(address).await.map(Some).map_err(failed)
    }

    async fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// Serves the API. When `draining` is cancelled, it accepts no more requests and ends once
    /// those under way have been answered.
    pub(super) fn serve(self, api: Api, draining: CancellationToken) -> JoinHandle<()> {
        let (limits, metrics) = (api.budgets.limits.connections, api.metrics.clone());
        tokio::spawn(http::serve(self.socket, http::router(api), limits, metrics, draining))
    }
}

/// The server for monitoring.
pub(super) struct Admin {
    /// Where it listens.
    pub(super) address: SocketAddr,
    server: JoinHandle<io::Result<()>>,
}

impl Admin {
    /// Serves metrics and health checks.
    pub(super) fn start(listener: Listener, api: Api) -> Self {
        let server = axum::serve(listener.socket, http::admin::router(api));
        Self { address: listener.address, server: tokio::spawn(server.into_future()) }
    }

    /// Ends the server without waiting for its connections, which monitoring may keep open.
    pub(super) async fn stop(self) {
        self.server.abort();
        let _ = self.server.await;
    }
}
