//! Reads the messages of the client. A message that is not valid JSON fails the operation that it
//! is about. The socket, with the other operations on it, goes down only if a message is about
//! none.

use std::borrow::Cow;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};
use serde_json::Value;

use super::{
    super::{
        body::{self, check_values},
        characters::{HALF_CHARACTER, whole_characters},
    },
    protocol::{FromClient, SubscribePayload},
};

/// A text from the client.
pub enum Received {
    /// A message of the sub-protocol.
    Message(FromClient),
    /// The request of an operation that cannot be executed.
    Unreadable {
        /// The operation's id.
        id: String,
        /// What is wrong.
        problem: String,
    },
}

/// Reads a message.
///
/// # Errors
/// The text is not a message of the sub-protocol and is about no operation. The error says why.
pub fn read(text: &str) -> Result<Received, String> {
    if let Err(problem) = check_values("The message", text.as_bytes()) {
        let id = operation_id(text).ok_or_else(|| problem.clone())?;
        return Ok(Received::Unreadable { id, problem });
    }
    let error = match serde_json::from_str(text) {
        Ok(message) => return Ok(Received::Message(message)),
        Err(error) if error.is_data() => return Err(problem(text)),
        Err(error) => error,
    };
    if let Some(Ok(message)) = whole_characters(text).map(|whole| serde_json::from_str(&whole)) {
        return Ok(match message {
            FromClient::Subscribe { id, .. } => {
                Received::Unreadable { id, problem: format!("The message {HALF_CHARACTER}") }
            }
            other => Received::Message(other),
        });
    }
    let id = operation_id(text).ok_or_else(|| format!("not valid JSON: {error}"))?;
    Ok(Received::Unreadable { id, problem: format!("The message is not valid JSON: {error}.") })
}

/// Says what is wrong with a text that is not a message. It repeats no value: there may be a token.
fn problem(text: &str) -> String {
    let message = match serde_json::from_str(text) {
        Ok(Value::Object(message)) => message,
        Ok(_) => return "it must be a JSON object".to_owned(),
        Err(error) => return format!("not valid JSON: {error}"),
    };
    let lacks_id = !message.get("id").is_some_and(Value::is_string);
    let payload = message.get("payload").unwrap_or(&Value::Null);
    match message.get("type").and_then(Value::as_str) {
        Some("subscribe" | "complete") if lacks_id => "`id` must be a string".to_owned(),
        Some("subscribe") if SubscribePayload::deserialize(payload).is_err() => {
            body::problem("The `payload`", payload.to_string().as_bytes())
        }
        Some("connection_init" | "ping" | "pong")
            if !(payload.is_null() || payload.is_object()) =>
        {
            "`payload` must be a JSON object".to_owned()
        }
        Some("connection_init" | "ping" | "pong" | "subscribe" | "complete") => {
            "a member comes twice".to_owned()
        }
        _ => "`type` must be that of a message from a client".to_owned(),
    }
}

/// Returns the id of the operation that a broken message requests, if that can be recognised.
fn operation_id(text: &str) -> Option<String> {
    let mut found = Envelope::default();
    // What was recognised before the error is in `found`.
    let _ = found.deserialize(&mut serde_json::Deserializer::from_str(text));
    let requests = found.kind.is_none_or(|kind| kind == "subscribe") && found.has_payload;
    found.id.filter(|_| requests)
}

/// The parts of a message that tell what it is about.
#[derive(Default)]
struct Envelope {
    kind: Option<String>,
    id: Option<String>,
    has_payload: bool,
}

impl<'de> DeserializeSeed<'de> for &mut Envelope {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Envelope {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Key<'de>>()? {
            match key.0.as_ref() {
                "type" => self.kind = Some(map.next_value()?),
                "id" => self.id = Some(map.next_value()?),
                other => {
                    self.has_payload |= other == "payload";
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Key<'k>(#[serde(borrow)] Cow<'k, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn unreadable(text: &str) -> Option<(String, String)> {
        match read(text) {
            Ok(Received::Unreadable { id, problem }) => Some((id, problem)),
            _ => None,
        }
    }

    #[test]
    fn a_half_character_fails_its_operation_wherever_it_is() {
        for half in ["\\ud83d", "\\uDC4D", "\\ud83d\\ud83d\\udc4d", "\\ud83dx", "a\\\\\\ud83d"] {
            let text = format!(
                r#"{{"id":"1","type":"subscribe","payload":{{"query":"{{a}}","variables":{{"b":"{half}"}}}}}}"#
            );
            let problem = format!("The message {HALF_CHARACTER}");
            assert_eq!(unreadable(&text), Some(("1".into(), problem)), "{half}");
        }
        for whole in ["\\ud83d\\udc4d", "\\\\ud83d", "\\u0041", "👍"] {
            let text = format!(
                r#"{{"id":"1","type":"subscribe","payload":{{"query":"{{a}}","variables":{{"b":"{whole}"}}}}}}"#
            );
            assert!(matches!(read(&text), Ok(Received::Message(_))), "{whole}");
        }
        let ping = read(r#"{"type":"ping","payload":{"a":"\ud83d"}}"#);
        assert!(matches!(ping, Ok(Received::Message(FromClient::Ping { .. }))));
    }

    #[test]
    fn other_broken_json_fails_its_operation_if_that_can_be_recognised() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        for (text, id) in [
            (r#"{"id":"1","type":"subscribe","payload":{"query":"{a"#.to_owned(), Some("1")),
            (r#"{"type":"subscribe","id":"1","payload":{"query":"{a}","variables":{"n":1e999}}}"#.into(), Some("1")),
            (format!(r#"{{"payload":{{"query":"{{a}}","variables":{{"n":{deep}}}}},"type":"subscribe","id":"2"}}"#), Some("2")),
            (r#"{"id":"1","payload":{"query":"tab	here"}}"#.into(), Some("1")),
            (r#"{"id":"1","type":"complete","payload":"#.into(), None),
            (r#"{"id":1,"type":"subscribe","payload":{"query":"#.into(), None),
            ("{".into(), None),
            ("[".repeat(1_000), None),
            ("{\"a\":".repeat(1_000), None),
        ] {
            let found = unreadable(&text).map(|(id, _)| id);
            assert_eq!(found.as_deref(), id, "{text:.100}");
        }
    }
}
