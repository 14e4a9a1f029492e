//! Websockets with small buffers, so that thousands of them fit into one client.

use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{self, client::IntoClientRequest as _, protocol::WebSocketConfig},
};

/// Opens a websocket on a connection. For the path `graphql`, it speaks graphql-transport-ws.
///
/// # Errors
/// The server refuses the upgrade, or the connection fails.
pub async fn open(
    stream: TcpStream,
    address: &str,
    path: &str,
) -> tungstenite::Result<WebSocketStream<TcpStream>> {
    let mut request = format!("ws://{address}/{path}").into_client_request()?;
    if path == "graphql" {
        let protocol = "graphql-transport-ws".parse().expect("a header");
        request.headers_mut().insert("sec-websocket-protocol", protocol);
    }
    let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
    Ok(client_async_with_config(request, stream, Some(config)).await?.0)
}
