//! Random input. `TEST_CASES` is the number of cases, and `TEST_SEED` chooses
//! them: the same seed repeats them.

use std::{env, fmt::Write as _, time::Duration};

use serde_json::json;
use ticketwire::domain::{
    cursor::Cursor, email::EmailAddress, search::SearchQuery, ticket_number::NumberPrefix,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time,
};

use crate::harness::{Client, TestServer};

/// The longest that a server may take to answer or to close a connection.
const TIMEOUT: Duration = Duration::from_mins(1);

/// How many cases are tried, by default this many.
fn cases(default: u64) -> u64 {
    env::var("TEST_CASES").map_or(default, |count| count.parse().unwrap())
}

/// Random numbers (xorshift64*).
struct Random(u64);

impl Random {
    /// The numbers of a case.
    fn of(case: u64) -> Self {
        let seed = env::var("TEST_SEED").map_or(1, |seed| seed.parse::<u64>().unwrap());
        let mut random = Self(((seed << 32) | case).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn choose<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.below(texts.len())]
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let count = self.below(most + 1);
        (0..count).map(|_| self.next() as u8).collect()
    }

    /// A text that was changed in a few places.
    fn changed(&mut self, text: &str) -> String {
        let parts =
            ["", "\0", "\u{202e}", "@", ".", "é", "\u{1f600}", "-", "=", "\n", "9", " ", "\""];
        let mut characters = text.chars().collect::<Vec<_>>();
        for _ in 0..=self.below(4) {
            let place = self.below(characters.len() + 1);
            let end = (place + self.below(3)).min(characters.len());
            let part = self.choose(&parts).repeat(1 + self.below(3));
            characters.splice(place..end, part.chars());
        }
        characters.into_iter().collect()
    }
}

#[test]
fn a_parser_accepts_or_refuses_any_text() {
    let prefix = NumberPrefix::parse("CS").unwrap();
    for case in 0..cases(20_000) {
        let mut random = Random::of(case);
        let pos = (random.next() >> 1).cast_signed();
        let cursor = Cursor { epoch: random.next() as i32, pos };
        assert_eq!(Cursor::decode(&cursor.encode()), Ok(cursor), "case {case}");
        let text = random.changed(&cursor.encode());
        if let Ok(found) = Cursor::decode(&text) {
            assert_eq!(Cursor::decode(&found.encode()), Ok(found), "case {case}: {text:?}");
        }
        let text = random.changed("Anna.Müller+support@xn--mller-kva.example");
        if let Ok(address) = EmailAddress::parse(&text) {
            let again = EmailAddress::parse(address.as_str());
            assert_eq!(again.as_ref(), Ok(&address), "case {case}: {text:?}");
        }
        let text = random.changed("Re: [CS-234567] the server of müller.example \"is down\"");
        if let Ok(query) = SearchQuery::parse(&text, &prefix) {
            assert!(query.text().len() <= text.len() * 4, "case {case}: {text:?}");
        }
        let noise = String::from_utf8_lossy(&random.bytes(64)).into_owned();
        let _ = (Cursor::decode(&noise), EmailAddress::parse(&noise), prefix.find(&noise));
    }
}

/// Sends bytes on a connection of its own, and returns all that comes back.
async fn exchange(address: &str, bytes: &[u8], case: u64) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut received = Vec::new();
    let exchanged = async {
        // The server may have closed the connection.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut received).await;
    };
    assert!(time::timeout(TIMEOUT, exchanged).await.is_ok(), "case {case} got no answer");
    received
}

/// A request with odd headers and an odd body.
fn request(random: &mut Random) -> Vec<u8> {
    let method = random.choose(&["GET", "POST", "OPTIONS", "HEAD", "BREW", ""]);
    let path = random.choose(&["/graphql", "/readyz", "/attachments/", "/unsubscribe", "*", "//"]);
    let mut head = format!("{method} {} HTTP/1.1\r\nHost: a\r\n", random.changed(path).trim());
    for _ in 0..random.below(6) {
        let header = random.choose(&[
            "Authorization: Bearer tw_0123456789",
            "Accept: text/event-stream;q=0.5, application/json",
            "Content-Type: multipart/form-data; boundary=b",
            "Content-Type: application/json; charset=utf-8",
            "Range: bytes=0-5",
            "If-None-Match: \"abc\"",
            "X-Forwarded-For: 203.0.113.9, 10.0.0.1",
            "Cookie: __Host-ticketwire=tw_0; a=b",
            "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "Origin: https://support.example.com",
            "Last-Event-ID: AQ",
        ]);
        let header = if random.below(2) == 0 { header.to_owned() } else { random.changed(header) };
        write!(head, "{header}\r\n").unwrap();
    }
    let body = match random.below(4) {
        0 => random.bytes(300),
        1 => random.changed("{\"query\":\"{ viewer { id } }\",\"variables\":{\"a\":[1]}}").into(),
        2 => random
            .changed(
                "--b\r\nContent-Disposition: form-data; name=\"operations\"\r\n\r\n{}\r\n--b--",
            )
            .into(),
        _ => vec![],
    };
    write!(head, "Content-Length: {}\r\nConnection: close\r\n\r\n", body.len()).unwrap();
    [head.into_bytes(), body].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_makes_the_server_fail() {
    let server = TestServer::start().await;
    for case in 0..cases(300) {
        let received = exchange(&server.address(), &request(&mut Random::of(case)), case).await;
        let text = String::from_utf8_lossy(&received);
        assert!(!text.starts_with("HTTP/1.1 5"), "case {case}: {text}");
    }
    answers(&server).await;
    server.stop().await;
}

/// A frame from a client, with a random header, mask and content.
fn frame(random: &mut Random) -> Vec<u8> {
    let content = match random.below(5) {
        0 => random.bytes(200),
        1 => random.changed("{\"type\":\"connection_init\",\"payload\":{}}").into(),
        2 => random.changed("{\"type\":\"ping\"}").into(),
        3 => b"{\"type\":\"connection_init\"}".to_vec(),
        _ => random
            .changed("{\"type\":\"subscribe\",\"id\":\"1\",\"payload\":{\"query\":\"{ viewer { id } }\"}}")
            .into(),
    };
    let first = if random.below(3) == 0 { random.next() as u8 } else { 0x81 };
    let mut frame = vec![first];
    match (random.below(12), content.len()) {
        (0, _) => frame.extend([0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        (1, count) => frame.push(count as u8 & 0x7f),
        (_, count @ 0..126) => frame.push(0x80 | count as u8),
        (_, count) => frame.extend([0xfe, (count >> 8) as u8, count as u8]),
    }
    let mask = random.next().to_be_bytes();
    frame.extend(&mask[..4]);
    frame.extend(content.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]));
    frame
}

#[tokio::test(flavor = "multi_thread")]
async fn no_websocket_frame_makes_the_server_fail() {
    let server = TestServer::start().await;
    let head = "GET /graphql HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n";
    for case in 0..cases(300) {
        let mut random = Random::of(case);
        let mut bytes = head.as_bytes().to_vec();
        for _ in 0..=random.below(6) {
            bytes.extend(frame(&mut random));
        }
        let received = exchange(&server.address(), &bytes, case).await;
        let text = String::from_utf8_lossy(&received);
        assert!(text.starts_with("HTTP/1.1 101"), "case {case}: {text}");
        assert!(!text.contains("INTERNAL"), "case {case}: {text}");
    }
    answers(&server).await;
    server.stop().await;
}

/// Checks that a server still answers and has no connections left.
async fn answers(server: &TestServer) {
    let reply = Client::new(&server.address(), None).send("{ __typename }", json!({})).await;
    assert_eq!(reply.at("/data/__typename"), "Query");
}
