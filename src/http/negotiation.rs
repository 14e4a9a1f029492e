//! The media types of GraphQL over HTTP.

use axum::http::{HeaderMap, HeaderValue, header};

/// The media type of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    /// `application/graphql-response+json`: the status tells whether the request was executed.
    GraphqlResponse,
    /// `application/json`: a well-formed request is always answered with 200.
    Json,
    /// `text/event-stream`: one event for each result.
    EventStream,
}

impl MediaType {
    /// Returns the `Content-Type` of a response.
    pub fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
            Self::EventStream => "text/event-stream; charset=utf-8",
        })
    }

    /// Returns the type that the caller prefers, or `None` if it accepts none of them. A caller
    /// that names no type receives `application/json`.
    pub fn accepted(headers: &HeaderMap) -> Option<Self> {
        if headers.get_all(header::ACCEPT).iter().all(HeaderValue::is_empty) {
            return Some(Self::Json);
        }
        let ranges = ranges(headers);
        let quality = |from_specific: [&str; 3]| {
            // The most specific range that matches decides (RFC 9110 §12.5.1).
            from_specific
                .iter()
                .find_map(|fits| ranges.iter().find(|(range, _)| range == fits))
                .map_or(0.0, |(_, q)| *q)
        };
        let names_new = ranges.iter().any(|(range, _)| range == GRAPHQL_RESPONSE);
        let (new, old, events) = (
            quality([GRAPHQL_RESPONSE, "application/*", "*/*"]),
            quality(["application/json", "application/*", "*/*"]),
            quality([EVENT_STREAM, "text/*", "*/*"]),
        );
        match () {
            () if new.max(old).max(events) <= 0.0 => None,
            () if events > new.max(old) => Some(Self::EventStream),
            () if new > old || new >= old && names_new => Some(Self::GraphqlResponse),
            () => Some(Self::Json),
        }
    }

    /// Whether the caller names `text/event-stream`, whatever its weight. That is enough for a
    /// subscription: clients send the same `Accept` header with all their requests.
    pub fn names_event_stream(headers: &HeaderMap) -> bool {
        ranges(headers).iter().any(|(range, q)| range == EVENT_STREAM && *q > 0.0)
    }
}

const GRAPHQL_RESPONSE: &str = "application/graphql-response+json";
const EVENT_STREAM: &str = "text/event-stream";

/// Returns the media ranges that the caller accepts, with their weights.
fn ranges(headers: &HeaderMap) -> Vec<(String, f32)> {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(range).collect()
}

/// Parses a media range and its weight.
fn range(text: &str) -> Option<(String, f32)> {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next()?.to_ascii_lowercase();
    let weight =
        parts.find_map(|parameter| parameter.strip_prefix("q=").or(parameter.strip_prefix("Q=")));
    Some((range, weight.map_or(Some(1.0), |q| q.parse().ok())?))
}

/// Whether a body is JSON in UTF-8. A page of another origin can send other types without a
/// CORS preflight.
pub fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let mut parts = value.split(';').map(str::trim);
    let json = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    json && parts.all(|parameter| match parameter.split_once('=') {
        Some((name, charset)) if name.eq_ignore_ascii_case("charset") => {
            matches!(charset.trim_matches('"').to_ascii_lowercase().as_str(), "utf-8" | "utf8")
        }
        _ => true,
    })
}

/// Whether the headers name no encoding of a body, or none but `identity`.
pub fn is_uncompressed(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_ENCODING).iter().all(|value| {
        let identity = |coding: &[u8]| {
            let coding = coding.trim_ascii();
            coding.is_empty() || coding.eq_ignore_ascii_case(b"identity")
        };
        value.as_bytes().split(|byte| *byte == b',').all(identity)
    })
}

/// Whether there are no two headers that name different types of a body.
pub fn has_one_content_type(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let first = types.next();
    types.all(|value| Some(value) == first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(accept: &str) -> Option<MediaType> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        MediaType::accepted(&headers)
    }

    #[test]
    fn the_preferred_type_wins() {
        use MediaType::{EventStream, GraphqlResponse, Json};
        assert_eq!(MediaType::accepted(&HeaderMap::new()), Some(Json));
        for (accept, expected) in [
            ("application/json", Some(Json)),
            ("application/graphql-response+json", Some(GraphqlResponse)),
            ("", Some(Json)),
            ("*/*", Some(Json)),
            ("application/*", Some(Json)),
            ("*/*, application/graphql-response+json", Some(GraphqlResponse)),
            ("application/*, application/json;q=0.5", Some(GraphqlResponse)),
            ("application/json, application/graphql-response+json", Some(GraphqlResponse)),
            ("application/json, application/graphql-response+json;q=0.9", Some(Json)),
            ("application/graphql-response+json, application/json;q=0.9", Some(GraphqlResponse)),
            ("Application/JSON; charset=utf-8", Some(Json)),
            ("*/*;q=0.1, application/graphql-response+json;q=0", Some(Json)),
            ("text/event-stream", Some(EventStream)),
            ("Text/Event-Stream; charset=utf-8, application/json;q=0.9", Some(EventStream)),
            ("text/*", Some(EventStream)),
            ("text/event-stream, */*", Some(Json)),
            ("text/event-stream, */*;q=0.1", Some(EventStream)),
            ("application/json, text/event-stream", Some(Json)),
            ("text/event-stream;q=0.5, application/json;q=0.4", Some(EventStream)),
            ("text/event-stream;q=0, */*", Some(Json)),
            ("text/event-stream;q=0", None),
            ("text/html", None),
            ("application/json;q=nonsense", None),
        ] {
            assert_eq!(accepted(accept), expected, "{accept}");
        }
    }

    #[test]
    fn an_event_stream_must_be_named() {
        for (accept, expected) in [
            ("application/json, text/event-stream;q=0.1", true),
            ("text/event-stream;q=0", false),
            ("text/*", false),
            ("*/*", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            assert_eq!(MediaType::names_event_stream(&headers), expected, "{accept}");
        }
    }
}
