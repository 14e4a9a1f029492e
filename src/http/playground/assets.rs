//! The playground's files, which `build.rs` compresses into the binary.

use std::{io::Read as _, sync::LazyLock};

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use flate2::read::GzDecoder;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

include!(concat!(env!("OUT_DIR"), "/playground.rs"));

/// A file, compressed.
pub struct File {
    name: &'static str,
    gzip: &'static [u8],
}

/// An operation of the tour: a tab of the playground.
#[derive(Serialize)]
pub struct Operation {
    name: &'static str,
    query: &'static str,
    variables: &'static str,
}

/// A file as it is served.
pub struct Asset {
    file: &'static File,
    etag: HeaderValue,
}

static ASSETS: LazyLock<Vec<Asset>> =
    LazyLock::new(|| FILES.iter().filter_map(Asset::of).collect());

impl Asset {
    /// Returns the file with a name.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        ASSETS.iter().find(|asset| asset.file.name == name)
    }

    fn of(file: &'static File) -> Option<Self> {
        // Weak, since it stands for the compressed and the plain form.
        let etag = format!("W/\"{}\"", URL_SAFE_NO_PAD.encode(Sha256::digest(file.gzip)));
        Some(Self { file, etag: HeaderValue::try_from(etag).ok()? })
    }

    /// Returns the file, or 304 if the request's `If-None-Match` has its tag.
    pub fn response(&self, request: &HeaderMap) -> Response {
        let mut response = match () {
            () if self.is_cached(request) => StatusCode::NOT_MODIFIED.into_response(),
            () if accepts_gzip(request) => {
                let encoding = [(header::CONTENT_ENCODING, "gzip")];
                (encoding, Bytes::from_static(self.file.gzip)).into_response()
            }
            () => match self.decompressed() {
                Ok(bytes) => bytes.into_response(),
                Err(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            },
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, self.content_type());
        headers.insert(header::ETAG, self.etag.clone());
        // A new server serves other content under the same names: browsers must revalidate.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        response
    }

    fn is_cached(&self, request: &HeaderMap) -> bool {
        let tags = request.get_all(header::IF_NONE_MATCH).iter();
        let mut tags = tags.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
        tags.any(|tag| tag.trim() == "*" || self.etag == tag.trim())
    }

    fn decompressed(&self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        GzDecoder::new(self.file.gzip).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn content_type(&self) -> HeaderValue {
        HeaderValue::from_static(match self.file.name.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("svg") => "image/svg+xml",
            Some("txt") => "text/plain; charset=utf-8",
            _ => "application/octet-stream",
        })
    }
}

/// Whether the request accepts gzip (RFC 9110 §12.5.3).
fn accepts_gzip(request: &HeaderMap) -> bool {
    let accepted = request.get_all(header::ACCEPT_ENCODING).iter();
    let accepted = accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|v| v.split(','))
        .collect::<Vec<_>>();
    let weight = |coding: &str| {
        accepted.iter().find_map(|entry| {
            let (name, weight) = entry.split_once(';').unwrap_or((*entry, "q=1"));
            let weight = weight.trim().strip_prefix("q=")?.parse::<f32>().ok()?;
            name.trim().eq_ignore_ascii_case(coding).then_some(weight)
        })
    };
    weight("gzip").or_else(|| weight("*")).is_some_and(|weight| weight > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn files_are_compressed_for_clients_that_accept_gzip() {
        for (accepted, expected) in [
            ("gzip, deflate, br", true),
            ("br, GZIP;q=0.5", true),
            ("*", true),
            ("gzip;q=0, *", false),
            ("identity", false),
            ("", false),
        ] {
            assert_eq!(
                accepts_gzip(&request(header::ACCEPT_ENCODING, accepted)),
                expected,
                "{accepted}"
            );
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    #[test]
    fn both_forms_have_the_same_content_and_a_cached_file_is_not_sent_again() {
        let page = Asset::by_name("index.html").unwrap();
        let plain = page.response(&HeaderMap::new());
        let compressed = page.response(&request(header::ACCEPT_ENCODING, "gzip"));
        assert_eq!(plain.headers().get(header::CONTENT_ENCODING), None);
        assert_eq!(compressed.headers()[header::CONTENT_ENCODING], "gzip");
        assert_eq!(page.decompressed().unwrap(), include_bytes!("../../../playground/index.html"));
        let etag = plain.headers()[header::ETAG].to_str().unwrap().to_owned();
        let again = page.response(&request(header::IF_NONE_MATCH, &etag));
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        let other = page.response(&request(header::IF_NONE_MATCH, "W/\"other\""));
        assert_eq!(other.status(), StatusCode::OK);
    }
}
