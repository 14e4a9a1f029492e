//! A client of GraphQL over server-sent events, event by event.

use std::time::Duration;

use reqwest::header::HeaderMap;
use serde_json::Value;
use tokio::time;

/// The longest that a test waits for data.
const TIMEOUT: Duration = Duration::from_secs(20);

/// An open stream.
pub struct EventStream {
    response: reqwest::Response,
    text: String,
}

/// An event of a stream.
#[derive(Debug, Default, PartialEq)]
pub struct Event {
    pub name: String,
    pub id: Option<String>,
    pub data: String,
}

impl EventStream {
    /// Reads a response, which must be an event stream.
    pub fn new(response: reqwest::Response) -> Self {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
        Self { response, text: String::new() }
    }

    /// The headers of the response.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Waits for the next block of lines, which may be a comment; returns `None` if the body has
    /// ended.
    pub async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_owned();
                return Some(block);
            }
            let chunk = time::timeout(TIMEOUT, self.response.chunk()).await;
            let Some(chunk) = chunk.expect("a chunk in time").unwrap() else {
                assert_eq!(self.text, "", "a block was cut off");
                return None;
            };
            self.text += str::from_utf8(&chunk).unwrap();
        }
    }

    /// Waits for the next event; returns `None` if the body has ended.
    pub async fn event(&mut self) -> Option<Event> {
        loop {
            let block = self.block().await?;
            if block != ":" {
                return Some(Event::read(&block));
            }
        }
    }

    /// Waits for the next event; returns the value of its one field, and its id.
    pub async fn item(&mut self) -> (Value, String) {
        let event = self.event().await.expect("an event");
        let response = event.response();
        let value = response["data"].as_object().and_then(|data| data.values().next());
        let value = value.unwrap_or_else(|| panic!("no data: {response}"));
        (value.clone(), event.id.expect("an id"))
    }

    /// Waits for the checkpoint that ends a replay; returns its id.
    pub async fn caught_up(&mut self) -> String {
        let (item, id) = self.item().await;
        assert_eq!(item["__typename"], "Checkpoint", "{item}");
        assert_eq!(item["cursor"], id);
        id
    }

    /// Waits for an error, `complete` and the end of the body; returns the code of the error.
    pub async fn last_error(&mut self) -> String {
        let response = self.event().await.expect("an error").response();
        assert!(response.get("data").is_none(), "{response}");
        let code = response["errors"][0]["extensions"]["code"].as_str().unwrap().to_owned();
        assert_eq!(self.event().await, Some(Event { name: "complete".into(), ..Event::default() }));
        assert_eq!(self.event().await, None);
        code
    }
}

impl Event {
    fn read(block: &str) -> Self {
        let mut event = Self::default();
        for line in block.lines() {
            match line.split_once(':').expect("a field") {
                ("event", name) => name.trim_start().clone_into(&mut event.name),
                ("id", id) => event.id = Some(id.trim_start().to_owned()),
                ("data", data) if event.data.is_empty() => {
                    data.trim_start().clone_into(&mut event.data);
                }
                _ => panic!("a line too many: {line}"),
            }
        }
        event
    }

    /// The response in a `next` event.
    pub fn response(&self) -> Value {
        assert_eq!(self.name, "next", "{self:?}");
        serde_json::from_str(&self.data).unwrap()
    }
}
