//! Attachments, by the links that the API returns.

use std::ops::Range;

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use futures_util::StreamExt as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    api::Api,
    budgets::{Follower, LimitReached, delay_refusal},
    link::{self, NotFollowed},
};
use crate::{
    domain::{
        attachment::{Attachment, FileName},
        hex::hex,
    },
    graphql::RETRY_AFTER_SECONDS,
    service::{ServiceError, attachment},
};

/// The characters that are percent-encoded in a file name (RFC 8187).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Sends the attachment of a link, or a range of it. Answers HEAD too, which has no ranges (RFC 9110,
/// §14.2).
pub async fn fetch(
    State(api): State<Api>,
    method: Method,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Response {
    let link = match attachment::read_link(&api.services, &token) {
        Ok(link) => link,
        Err(error) => return failure(&error),
    };
    let follower = Follower::Account(link.account);
    let followed = Box::pin(attachment::follow(&api.services, &link));
    let found = match link::follow(&api, follower, followed).await {
        Ok(found) => found,
        Err(NotFollowed::Refused(reached)) => return too_many(&reached),
        Err(NotFollowed::Failed(error)) => return failure(&error),
    };
    let size = found.content.size;
    let tag = format!("\"{}\"", hex(&found.content.sha256));
    if text(&headers, header::IF_NONE_MATCH).is_some_and(|tags| matches(tags, &tag)) {
        return with_file_headers(StatusCode::NOT_MODIFIED.into_response(), &found, &tag);
    }
    if method == Method::HEAD {
        let response = with_content_headers(StatusCode::OK.into_response(), &found, size);
        return with_file_headers(response, &found, &tag);
    }
    let same = text(&headers, header::IF_RANGE).is_none_or(|known| known.trim() == tag);
    let range =
        text(&headers, header::RANGE).filter(|_| same).and_then(|text| parse_range(text, size));
    let (status, range) = match range {
        None => (StatusCode::OK, 0..size),
        Some(Some(range)) => (StatusCode::PARTIAL_CONTENT, range),
        Some(None) => {
            let mut response = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
            set(&mut response, header::CONTENT_RANGE, &format!("bytes */{size}"));
            return with_file_headers(response, &found, &tag);
        }
    };
    let length = range.end - range.start;
    let content_range = format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1));
    let slot = match delay_refusal(api.budgets.download(link.account)).await {
        Ok(slot) => slot,
        Err(reached) => return too_many(&reached),
    };
    let bytes = match attachment::read(&api.services, &found, range).await {
        Ok(bytes) => bytes,
        Err(error) => return failure(&error),
    };
    // In use until the last byte was sent.
    let bytes = bytes.inspect(move |_| {
        let _ = &slot;
    });
    let response = (status, Body::from_stream(bytes)).into_response();
    let mut response = with_content_headers(response, &found, length);
    if status == StatusCode::PARTIAL_CONTENT {
        set(&mut response, header::CONTENT_RANGE, &content_range);
    }
    with_file_headers(response, &found, &tag)
}

/// Adds the headers of a response with `length` bytes of the file.
fn with_content_headers(mut response: Response, found: &Attachment, length: u64) -> Response {
    set(&mut response, header::CONTENT_LENGTH, &length.to_string());
    set(&mut response, header::CONTENT_TYPE, &found.content.media_type);
    response
}

/// Adds the headers that describe the file and keep browsers from displaying, executing or
/// caching it.
fn with_file_headers(mut response: Response, found: &Attachment, tag: &str) -> Response {
    let disposition = disposition(&found.name);
    for (name, value) in [
        (header::ETAG, tag),
        (header::ACCEPT_RANGES, "bytes"),
        (header::CONTENT_DISPOSITION, &disposition),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
        (header::CACHE_CONTROL, "private, no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-site"),
    ] {
        set(&mut response, name, value);
    }
    response
}

fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn matches(tags: &str, tag: &str) -> bool {
    let mut tags = tags.split(',').map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// Parses a `Range` header of one range. Returns `None` if the header is to be ignored (RFC
/// 9110), and `Some(None)` if the file has no such bytes.
fn parse_range(text: &str, size: u64) -> Option<Option<Range<u64>>> {
    let (first, last) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    let range = if first.is_empty() {
        let length = parse_position(last)?;
        size.saturating_sub(length)..size
    } else {
        let first = parse_position(first)?;
        let end = match last {
            "" => size,
            last => parse_position(last).filter(|&last| last >= first)?.saturating_add(1),
        };
        first..end.min(size)
    };
    Some((range.start < range.end).then_some(range))
}

/// Parses a position of a range. One that no file can have is as good as the last.
fn parse_position(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Returns the `Content-Disposition` with the name in two forms (RFC 6266): in ASCII for old
/// clients, and complete.
fn disposition(name: &FileName) -> String {
    let plain =
        |c: char| if c.is_ascii_graphic() && !"\"\\%".contains(c) || c == ' ' { c } else { '_' };
    let ascii = name.as_str().chars().map(plain).collect::<String>();
    let complete = utf8_percent_encode(name.as_str(), ENCODED);
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{complete}")
}

fn too_many(reached: &LimitReached) -> Response {
    let text = format!("{}\n", reached.message);
    let mut response = (StatusCode::TOO_MANY_REQUESTS, text).into_response();
    set(&mut response, header::RETRY_AFTER, &reached.retry_after_seconds.to_string());
    response
}

fn failure(error: &ServiceError) -> Response {
    let (status, text) = match error {
        ServiceError::Unauthenticated => (
            StatusCode::FORBIDDEN,
            "This link has expired, or the session that it was created for has ended. Sign in and \
             open the ticket again to get a new link.\n",
        ),
        ServiceError::NotFound | ServiceError::Forbidden | ServiceError::SecondFactorMissing => (
            StatusCode::NOT_FOUND,
            "The file does not exist, or you may not see it. Copy the whole link from the ticket.\n",
        ),
        error => {
            tracing::error!(%error, "reading an attachment failed");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "The file cannot be read at the moment. Try again later.\n",
            )
        }
    };
    let mut response = (status, text).into_response();
    set(&mut response, header::CACHE_CONTROL, "no-store");
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_single_range_is_supported() {
        for (text, range) in [
            ("bytes=0-0", Some(Some(0..1))),
            ("bytes=5-", Some(Some(5..10))),
            ("bytes=-3", Some(Some(7..10))),
            ("bytes=-30", Some(Some(0..10))),
            ("bytes=2-99", Some(Some(2..10))),
            ("bytes=10-", Some(None)),
            ("bytes=-0", Some(None)),
            ("bytes=0-1,3-4", None),
            ("bytes=5-2", None),
            ("bytes=18446744073709551616-", Some(None)),
            ("bytes=4-18446744073709551616", Some(Some(4..10))),
            ("bytes=-18446744073709551616", Some(Some(0..10))),
            ("bytes=+1-2", None),
            ("items=0-1", None),
        ] {
            assert_eq!(parse_range(text, 10), range, "{text}");
        }
    }

    #[test]
    fn a_name_is_given_whole_and_as_ascii() {
        let name = FileName::sanitize("a\"б.txt");
        let expected = "attachment; filename=\"a__.txt\"; filename*=UTF-8''a%22%D0%B1.txt";
        assert_eq!(disposition(&name), expected);
    }
}
