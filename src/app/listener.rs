//! The sockets that a server listens on.

use std::{io, net::SocketAddr};

use tokio::{
    net::{TcpListener, TcpSocket},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::error::{StartError, listen_advice, unusable_setting};
use crate::{
    config::Config,
    http::{self, Api, Rejections, Server, Tls},
};

/// How many connections the kernel accepts in advance.
const BACKLOG: u32 = 1024;

/// A socket that has its address and does not listen yet: a client cannot connect before the server
/// is ready.
pub(super) struct Listener {
    socket: TcpSocket,
    /// Its address, with the port that was picked if the configured one is 0.
    pub(super) address: SocketAddr,
}

/// The reserved addresses of a server.
pub struct Listeners {
    pub(super) api: Listener,
    pub(super) admin: Option<Listener>,
}

impl Listeners {
    /// Reserves the addresses of the API and, if it is configured, of monitoring.
    ///
    /// # Errors
    /// An address is in use, or not of this machine.
    pub fn reserve(config: &Config) -> Result<Self, StartError> {
        Ok(Self { api: Listener::for_api(config)?, admin: Listener::for_admin(config)? })
    }
}

impl Listener {
    /// Reserves the address of the API.
    fn for_api(config: &Config) -> Result<Self, StartError> {
        let address = config.listen;
        Self::bind(address).map_err(|cause| StartError::Listen { address, cause })
    }

    /// Reserves the address for monitoring, if one is configured.
    fn for_admin(config: &Config) -> Result<Option<Self>, StartError> {
        let Some(address) = config.admin.listen else { return Ok(None) };
        let failed = |cause: io::Error| {
            let advice = listen_advice(&cause);
            unusable_setting(
                "admin.listen",
                format!("is {address}: cannot listen: {cause}{advice}"),
            )
        };
        Self::bind(address).map(Some).map_err(failed)
    }

    fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // As the standard library does: a server that is started again does not wait until the
        // kernel has forgotten the connections of the former one.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// Serves the API. When `draining` is cancelled, it accepts no more requests and ends once
    /// those under way have been answered.
    ///
    /// # Errors
    /// Another program has taken the address meanwhile.
    pub(super) fn serve(
        self,
        api: Api,
        tls: Option<Tls>,
        draining: CancellationToken,
    ) -> Result<JoinHandle<()>, StartError> {
        let socket = self.listen()?;
        let server = Server {
            limits: api.budgets.limits.connections,
            tls,
            metrics: api.metrics.clone(),
            rejections: Rejections::new(api.metrics.clone()),
            leaving: api.leaving.clone(),
            draining,
            router: http::router(api),
        };
        Ok(tokio::spawn(server.serve(socket)))
    }

    fn listen(self) -> Result<TcpListener, StartError> {
        let address = self.address;
        self.socket.listen(BACKLOG).map_err(|cause| StartError::Listen { address, cause })
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
    ///
    /// # Errors
    /// Another program has taken the address meanwhile.
    pub(super) fn start(listener: Listener, api: Api) -> Result<Self, StartError> {
        let address = listener.address;
        let server = axum::serve(listener.listen()?, http::admin::router(api));
        Ok(Self { address, server: tokio::spawn(server.into_future()) })
    }

    /// Ends the server without waiting for its connections, which monitoring may keep open.
    pub(super) async fn stop(self) {
        self.server.abort();
        let _ = self.server.await;
    }
}
