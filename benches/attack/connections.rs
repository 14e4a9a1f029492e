//! Attacks by connections that send or read slowly.

use std::{future, time::Duration};

use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time,
};

use super::{
    attacker::{Attacker, code},
    common::server::CATEGORY,
    requests::big_answer,
};

const HALF_HEADERS: usize = 1_100;
const UPLOADS: usize = 150;
const UNREAD: usize = 100;
/// A small buffer, in bytes, so that an answer that is not read stays at the server.
const SMALL_BUFFER: u32 = 4_096;
const BOUNDARY: &str = "a-boundary-of-the-benchmark";
/// How much of a file is sent at once. The server stores files in parts of 5 MiB.
const FIRST_BYTES: usize = 4 << 20;
/// How long a file claims to be.
const FILE_BYTES: usize = 10 << 20;
/// How much of a slow file follows in an interval: more than the lowest rate.
const SLOW_BYTES: usize = 2_048;
const INTERVAL: Duration = Duration::from_secs(1);
/// How long the attacker waits for the rest of a refusal.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);
/// How much of an answer is read at most.
const MAX_ANSWER: u64 = 8_192;

/// Sends half a header on many connections.
pub async fn half_headers(attacker: &Attacker) {
    let attempt = async |_| {
        let Some(mut stream) = attacker.connect(None).await else { return };
        let _ = stream.write_all(b"POST /graphql HTTP/1.1\r\nHost: a\r\nX-Slow:").await;
        attacker.count(&answer(&mut stream).await);
    };
    attacker.repeat(HALF_HEADERS, attempt).await;
}

/// Requests the largest possible answers, and reads a byte a second.
pub async fn unread_answers(attacker: &Attacker) {
    let body = big_answer(&attacker.ticket, 39, 1);
    let request = head(attacker, "application/json", body.len()) + &body;
    let attempt = async |_| {
        let Some(mut stream) = attacker.connect(Some(SMALL_BUFFER)).await else { return };
        let _ = stream.write_all(request.as_bytes()).await;
        let mut status = [0; 12];
        if stream.read_exact(&mut status).await.is_err() {
            attacker.count("closed");
            return;
        }
        if &status != b"HTTP/1.1 200" {
            attacker.count(&refusal(&status, &mut stream).await);
            return;
        }
        attacker.count("answered");
        read_slowly(&mut stream).await;
        attacker.count("closed");
    };
    attacker.repeat(UNREAD, attempt).await;
}

/// Sends most of a part of a file, and then nothing or a little every second.
pub async fn uploads(attacker: &Attacker) {
    let beginning = beginning_of_upload();
    let attempt = async |number: usize| {
        let Some(mut stream) = attacker.connect(None).await else { return };
        let (mut read, mut write) = stream.split();
        let media = format!("multipart/form-data; boundary={BOUNDARY}");
        let head = head(attacker, &media, beginning.len() + FILE_BYTES);
        let writing = async {
            write.write_all(head.as_bytes()).await?;
            write.write_all(&beginning).await?;
            loop {
                time::sleep(INTERVAL).await;
                if number.is_multiple_of(2) {
                    write.write_all(&[b'x'; SLOW_BYTES]).await?;
                }
            }
        };
        let writing = async {
            let _: std::io::Result<()> = writing.await;
            // The server has stopped reading. Its answer says why.
            future::pending::<()>().await;
        };
        tokio::select! {
            () = writing => {}
            outcome = answer(&mut read) => attacker.count(&outcome),
        }
    };
    attacker.repeat(UPLOADS, attempt).await;
}

/// Returns a request with a file, up to the first bytes of the file.
fn beginning_of_upload() -> Vec<u8> {
    let query = "mutation($input: CreateTicketInput!) { createTicket(input: $input) {
        ticket { id } userErrors { code } } }";
    let input = json!({ "categoryId": CATEGORY, "summary": "A file", "description": "See there.",
        "attachments": [null] });
    let operations = json!({ "query": query, "variables": { "input": input } });
    let map = json!({ "0": ["variables.input.attachments.0"] });
    let part =
        |name: &str| format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"");
    let text = format!(
        "{}\r\n\r\n{operations}\r\n{}\r\n\r\n{map}\r\n{}; filename=\"slow.bin\"\r\n\r\n",
        part("operations"),
        part("map"),
        part("0")
    );
    let mut bytes = text.into_bytes();
    bytes.resize(bytes.len() + FIRST_BYTES, b'x');
    bytes
}

/// Returns the head of a request with the attacker's token.
fn head(attacker: &Attacker, media: &str, length: usize) -> String {
    format!(
        "POST /graphql HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: {media}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n",
        attacker.address, attacker.token
    )
}

/// Waits for an answer, and returns its outcome.
async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut beginning = [0; 512];
    match stream.read(&mut beginning).await {
        Ok(length) if length > 0 => refusal(&beginning[..length], stream).await,
        _ => "closed".into(),
    }
}

/// Reads the rest of a short answer, and returns its error code, or else its status.
async fn refusal(beginning: &[u8], stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut all = beginning.to_vec();
    let mut rest = stream.take(MAX_ANSWER);
    let _ = time::timeout(REFUSAL_TIMEOUT, rest.read_to_end(&mut all)).await;
    code(&all).unwrap_or_else(|| {
        let text = String::from_utf8_lossy(&all);
        format!("HTTP {}", text.split(' ').nth(1).unwrap_or("without status"))
    })
}

/// Reads a byte in each interval, until the server closes the connection.
async fn read_slowly(stream: &mut TcpStream) {
    while let Ok(1..) = stream.read(&mut [0; 1]).await {
        time::sleep(INTERVAL).await;
    }
}
