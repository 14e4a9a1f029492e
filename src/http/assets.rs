//! The files of the web app and of the playground, which `build.rs` compresses into the binary.

use std::{io::Read as _, sync::OnceLock};

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use flate2::read::GzDecoder;
use sha2::{Digest as _, Sha256};

/// A file, compressed.
pub struct File {
    /// Its path.
    pub name: &'static str,
    /// Its content, compressed by gzip.
    pub gzip: &'static [u8],
    /// Its content, compressed by brotli (RFC 7932). Empty if it was not.
    pub brotli: &'static [u8],
}

/// A file as it is served.
pub struct Asset {
    file: &'static File,
    etag: HeaderValue,
    /// Its content, once a client has asked for it that accepts no compression. `None` if it cannot be
    /// decompressed.
    plain: OnceLock<Option<Bytes>>,
}

/// How long a browser may use a file without asking again.
#[derive(Clone, Copy)]
pub enum Caching {
    /// It asks each time: a new server has other content under the same name.
    Revalidate,
    /// For a year: the name changes with the content.
    Forever,
}

/// The files that are served from one place.
pub struct Assets(Vec<Asset>);

impl Assets {
    /// Prepares the files.
    pub fn new(files: &'static [File]) -> Self {
        Self(files.iter().filter_map(Asset::of).collect())
    }

    /// Returns the file with a name.
    pub fn by_name(&self, name: &str) -> Option<&Asset> {
        self.0.iter().find(|asset| asset.file.name == name)
    }
}

impl Asset {
    fn of(file: &'static File) -> Option<Self> {
        // Weak, since it stands for the compressed and the plain form.
        let etag = format!("W/\"{}\"", URL_SAFE_NO_PAD.encode(Sha256::digest(file.gzip)));
        Some(Self { file, etag: HeaderValue::try_from(etag).ok()?, plain: OnceLock::new() })
    }

    /// Returns the file, or 304 if the request's `If-None-Match` has its tag.
    pub fn response(&self, request: &HeaderMap, caching: Caching) -> Response {
        let File { gzip, brotli, .. } = self.file;
        let encoded = |coding: &'static str, bytes: &'static [u8]| {
            ([(header::CONTENT_ENCODING, coding)], Bytes::from_static(bytes)).into_response()
        };
        let mut response = match () {
            () if self.is_cached(request) => StatusCode::NOT_MODIFIED.into_response(),
            () if !brotli.is_empty() && accepts(request, "br") => encoded("br", brotli),
            () if accepts(request, "gzip") => encoded("gzip", gzip),
            () => match self.plain.get_or_init(|| self.decompressed().ok()) {
                Some(bytes) => bytes.clone().into_response(),
                None => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            },
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, self.content_type());
        headers.insert(header::ETAG, self.etag.clone());
        let caching = match caching {
            Caching::Revalidate => "no-cache",
            Caching::Forever => "public, max-age=31536000, immutable",
        };
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        response
    }

    fn is_cached(&self, request: &HeaderMap) -> bool {
        let tags = request.get_all(header::IF_NONE_MATCH).iter();
        let mut tags = tags.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
        tags.any(|tag| tag.trim() == "*" || self.etag == tag.trim())
    }

    fn decompressed(&self) -> std::io::Result<Bytes> {
        let mut bytes = Vec::new();
        GzDecoder::new(self.file.gzip).read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }

    fn content_type(&self) -> HeaderValue {
        HeaderValue::from_static(match self.file.name.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("svg") => "image/svg+xml",
            Some("json" | "webmanifest") => "application/json",
            Some("png") => "image/png",
            Some("woff2") => "font/woff2",
            Some("txt") => "text/plain; charset=utf-8",
            _ => "application/octet-stream",
        })
    }
}

/// Adds security headers.
pub fn secured(
    mut response: Response,
    headers: impl IntoIterator<Item = (HeaderName, &'static str)>,
) -> Response {
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The text in place of a part that the build has left out because npm failed: the API works all the
/// same.
pub fn not_built(part: &str, reason: Option<&str>) -> String {
    let reason = reason.unwrap_or("its page is missing");
    format!(
        "This is Ticketwire. The GraphQL API is at /graphql.\n\n\
         This binary was built without the {part}: {reason}.\n\
         To include it, install Node.js and npm (on Debian: apt-get install nodejs npm), make sure \
         that npm can reach its registry, and build again.\n"
    )
}

/// Whether the request accepts a coding (RFC 9110 §12.5.3).
fn accepts(request: &HeaderMap, coding: &str) -> bool {
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
    weight(coding).or_else(|| weight("*")).is_some_and(|weight| weight > 0.0)
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, sync::LazyLock};

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn request(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn files_are_compressed_for_clients_that_accept_it() {
        for (accepted, expected) in [
            ("gzip, deflate, br", true),
            ("br, GZIP;q=0.5", true),
            ("*", true),
            ("gzip;q=0, *", false),
            ("identity", false),
            ("", false),
        ] {
            assert_eq!(
                accepts(&request(header::ACCEPT_ENCODING, accepted), "gzip"),
                expected,
                "{accepted}"
            );
        }
        assert!(!accepts(&HeaderMap::new(), "gzip"));
        assert!(accepts(&request(header::ACCEPT_ENCODING, "gzip, br"), "br"));
        assert!(!accepts(&request(header::ACCEPT_ENCODING, "gzip"), "br"));
    }

    #[test]
    fn both_forms_have_the_same_content_and_a_cached_file_is_not_sent_again() {
        static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(b"a page").unwrap();
            let gzip = gzip.finish().unwrap().leak();
            vec![File { name: "index.html", gzip, brotli: b"in brotli" }]
        });
        let assets = Assets::new(&FILES);
        let page = assets.by_name("index.html").unwrap();
        let get = |headers: &HeaderMap| page.response(headers, Caching::Revalidate);
        let plain = get(&HeaderMap::new());
        let compressed = get(&request(header::ACCEPT_ENCODING, "gzip"));
        let smaller = get(&request(header::ACCEPT_ENCODING, "gzip, br"));
        assert_eq!(plain.headers().get(header::CONTENT_ENCODING), None);
        assert_eq!(compressed.headers()[header::CONTENT_ENCODING], "gzip");
        assert_eq!(smaller.headers()[header::CONTENT_ENCODING], "br");
        assert_eq!(page.decompressed().unwrap(), "a page");
        let etag = plain.headers()[header::ETAG].to_str().unwrap().to_owned();
        let again = get(&request(header::IF_NONE_MATCH, &etag));
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        let other = get(&request(header::IF_NONE_MATCH, "W/\"other\""));
        assert_eq!(other.status(), StatusCode::OK);
    }
}
