//! Tests of loading a configuration.

use std::{ffi::OsString, fs, os::unix::ffi::OsStringExt as _};

use super::{
    load::{Loaded, texts},
    settings::Config,
};

fn load(environment: &[(&str, &str)], flags: &[(&str, String)]) -> Result<Config, String> {
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect::<Vec<_>>();
    Loaded::from_sources(None, &environment, flags)
        .map(|loaded| loaded.config)
        .map_err(|error| error.to_string())
}

#[test]
fn flags_override_the_environment_and_that_overrides_the_defaults() {
    assert_eq!(load(&[], &[]).unwrap().listen.port(), 8080);
    let environment = [("TICKETWIRE_LISTEN", "127.0.0.1:1"), ("UNRELATED", "x")];
    assert_eq!(load(&environment, &[]).unwrap().listen.port(), 1);
    let flags = [("listen", "127.0.0.1:2".to_owned())];
    assert_eq!(load(&environment, &flags).unwrap().listen.port(), 2);
}

#[test]
fn errors_name_the_key() {
    for (variable, value, expected) in [
        ("TICKETWIRE_LISTEN", "nonsense", "`listen`"),
        ("TICKETWIRE_ADMIN_LISTEN", "9100", "`admin.listen`"),
        ("TICKETWIRE_ADMIN_LISTEN", "127.0.0.1:8080", "`admin.listen` must have another port"),
        ("TICKETWIRE_ADMIN_LISTEN", "0.0.0.0:8080", "`admin.listen` must have another port"),
        ("TICKETWIRE_LISTNE", "127.0.0.1:1", "`TICKETWIRE_LISTNE`"),
        ("TICKETWIRE_DATABASE_POOL_SIZE", "many", "`database.pool_size`"),
        ("TICKETWIRE_DATABASE_POOL_SIZE", "1", "`database.pool_size` must be between 2 and 1000"),
        ("TICKETWIRE_GRAPHQL_INTROSPECTION", "perhaps", "`graphql.introspection`"),
        ("TICKETWIRE_PLAYGROUND", "perhaps", "`playground`"),
        ("TICKETWIRE_LOG_FORMAT", "xml", "`log.format`"),
        ("TICKETWIRE_ATTACHMENTS_MAX_TOTAL_BYTES", "1", "`attachments.max_total_bytes`"),
        ("TICKETWIRE_TLS_KEY_FILE", "/k.pem", "`tls.certificate_file` is required"),
        ("TICKETWIRE_TLS_CERTIFICATE_FILE", "/c.pem", "`tls.key_file` is required"),
        ("TICKETWIRE_STORAGE_S3_BUCKET", "files", "`storage.s3.region`"),
        ("TICKETWIRE_LINKS_TICKET", "https://example.com/", "`links.ticket` must contain {number}"),
        ("TICKETWIRE_LINKS_BASE_URL", "example.com", "`links.base_url`"),
        ("TICKETWIRE_BRANDING_NAME", " ", "`branding.name` must be 1 to 60"),
        ("TICKETWIRE_BRANDING_COLOR", "red", "`branding.color` must be a color"),
        ("TICKETWIRE_BRANDING_COLOR", "#12345g", "`branding.color` must be a color"),
        ("TICKETWIRE_BRANDING_LOGO", "javascript:alert(1)", "`branding.logo` must be an ASCII"),
        ("TICKETWIRE_LINKS_BASE_URL", "https://", "`links.base_url` must be an ASCII URL"),
        ("TICKETWIRE_LINKS_BASE_URL", "https://a.example/?q", "`links.base_url` must not contain"),
        (
            "TICKETWIRE_LINKS_BASE_URL",
            "https://a:b@c.example",
            "`links.base_url` must name no user",
        ),
        ("TICKETWIRE_BRANDING_LOGO", "https://a@c.example/x", "`branding.logo` must name no user"),
        ("TICKETWIRE_STORAGE_S3_ENDPOINT", "minio", "`storage.s3.endpoint` must be"),
        ("TICKETWIRE_STORAGE_S3_BUCKET", "", "`storage.s3.bucket` must not be empty"),
        ("TICKETWIRE_STORAGE_S3_REGION", " ", "`storage.s3.region` must not be empty"),
        ("TICKETWIRE_STORAGE_S3_ENDPOINT", "", "`storage.s3.endpoint` must not be empty"),
        ("TICKETWIRE_STORAGE_S3_ACCESS_KEY", "\n", "`storage.s3.access_key` must not be empty"),
        ("TICKETWIRE_STORAGE_S3_SECRET_KEY", "", "`storage.s3.secret_key` must not be empty"),
        ("TICKETWIRE_STORAGE_S3_BUCKET", "a b", "`storage.s3.bucket` must be visible ASCII"),
        ("TICKETWIRE_STORAGE_S3_REGION", "eu\n", "`storage.s3.region` must be visible ASCII"),
        (
            "TICKETWIRE_STORAGE_S3_ACCESS_KEY",
            "\u{feff}id",
            "`storage.s3.access_key` must be visible",
        ),
        ("TICKETWIRE_STORAGE_S3_SECRET_KEY", "é", "`storage.s3.secret_key` must be visible ASCII"),
        ("TICKETWIRE_PORTAL", "yes", "`portal` must be `true` or `false`"),
        ("TICKETWIRE_PORTAL", "", "`portal` must be `true` or `false`"),
        ("TICKETWIRE_DRAIN_SECONDS", "5.0", "`drain_seconds` must be a whole number"),
        ("TICKETWIRE_DRAIN_SECONDS", "", "`drain_seconds` must be a whole number"),
        ("TICKETWIRE_TRACING_SAMPLE_RATIO", "NaN", "`tracing.sample_ratio` must be a number"),
        ("TICKETWIRE_LISTEN", "localhost:80", "`listen` must be an IP address and a port"),
        ("TICKETWIRE_SECOND_FACTOR_STAFF", "must", "must be offered or required"),
        ("TICKETWIRE_MAIL_STAFF_LOCALE", "de", "`mail.staff_locale` must be en or ru"),
        ("TICKETWIRE_LOG_FORMAT", "xml", "`log.format` must be text or json"),
        ("DATABASE_URL_FILE", "/nowhere/at/all", "/nowhere/at/all"),
        ("DATABASE_URL_FILE", "", "`DATABASE_URL_FILE`"),
        ("TICKETWIRE_STORAGE_ERASURE_LEDGER", "", "`storage.erasure_ledger` must not be empty"),
        ("TICKETWIRE_DATA_DIR", "", "`data_dir` must not be empty"),
    ] {
        let error = load(&[(variable, value)], &[]).unwrap_err();
        assert!(error.contains(expected), "{variable}={value}: {error}");
    }
}

#[test]
fn a_secret_and_its_file_are_not_both_set() {
    let mut environment = [("DATABASE_URL", "postgres:///a"), ("DATABASE_URL_FILE", "/nowhere")];
    for _ in 0..2 {
        let error = load(&environment, &[]).unwrap_err();
        assert!(error.contains("`DATABASE_URL` and `DATABASE_URL_FILE` are both set"), "{error}");
        environment.reverse();
    }
}

#[test]
fn a_folder_for_attachments_goes_with_a_bucket_for_backups() {
    let backups = [
        ("TICKETWIRE_STORAGE_FOLDER", "/var/lib/ticketwire/attachments"),
        ("TICKETWIRE_STORAGE_S3_REGION", "eu"),
        ("TICKETWIRE_STORAGE_S3_ENDPOINT", "https://s3.example.com"),
        ("TICKETWIRE_STORAGE_S3_ACCESS_KEY", "id"),
        ("TICKETWIRE_STORAGE_S3_SECRET_KEY", "secret"),
    ];
    assert!(load(&backups, &[]).is_ok());
}

#[test]
fn a_file_of_a_secret_may_begin_with_a_byte_order_mark_and_is_not_empty() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let load = |content: &str| {
        fs::write(&file, content).unwrap();
        load(&[("TICKETWIRE_STORAGE_S3_SECRET_KEY_FILE", file.to_str().unwrap())], &[])
    };
    let config = load("\u{feff}hunter2\r\n").unwrap();
    assert_eq!(config.storage.s3.secret_key.unwrap().expose(), "hunter2");
    let empty = load("\u{feff}\n").unwrap_err();
    assert!(empty.contains("`storage.s3.secret_key` must not be empty"), "{empty}");
    let broken = load("hunter\n2").unwrap_err();
    assert!(broken.contains("visible ASCII") && !broken.contains("hunter"), "{broken}");
}

#[test]
fn secrets_are_not_printed() {
    let config = load(&[("DATABASE_URL", "postgres://u:hunter2@h/d")], &[]).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    assert_eq!(config.database.url.unwrap().expose(), "postgres://u:hunter2@h/d");
}

#[test]
fn the_variables_that_kubernetes_sets_for_a_service_are_ignored() {
    for (variable, value) in [
        ("TICKETWIRE_SERVICE_HOST", "10.96.0.7"),
        ("TICKETWIRE_SERVICE_PORT", "80"),
        ("TICKETWIRE_WEB_SERVICE_PORT_HTTP", "80"),
        ("TICKETWIRE_PORT", "tcp://10.96.0.7:80"),
        ("TICKETWIRE_PORT_80_TCP", "tcp://10.96.0.7:80"),
        ("TICKETWIRE_WEB_PORT_80_TCP_PROTO", "tcp"),
        ("TICKETWIRE_PORT_80_TCP_ADDR", "10.96.0.7"),
    ] {
        assert!(load(&[(variable, value)], &[]).is_ok(), "{variable}");
    }
    assert!(load(&[("TICKETWIRE_PORT", "80")], &[]).is_err());
}

#[test]
fn an_error_in_a_file_says_the_line_and_shows_nothing_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ticketwire.toml");
    for (line, text) in [
        (2, "sealing_keys = hunter2"),
        (2, "url = \"postgres://u:hunter2\"hunter2@h/d\""),
        (2, "smtp_url = 'smtp://u:hunter2@h"),
        (2, "secret_key = 2hunter2"),
        (2, "secret_key = \"\\hunter2\""),
        (2, "hunter2"),
        (3, "a = 1\na = \"hunter2\""),
    ] {
        fs::write(&file, format!("[security]\n{text}\n")).unwrap();
        let error = Loaded::from_sources(Some(&file), &[], &[]).err().unwrap().to_string();
        assert!(error.contains(&format!("line {line}: ")), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_setting_that_is_not_valid_utf_8_is_refused_and_other_variables_are_ignored() {
    let load = |name: &[u8], value: &[u8]| {
        let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        texts([(text(name), text(value))]).map_err(|error| error.to_string())
    };
    for name in ["DATABASE_URL", "DATABASE_URL_FILE", "TICKETWIRE_LISTEN"] {
        let error = load(name.as_bytes(), b"postgres://u:\xe9@h/d").unwrap_err();
        assert!(error.contains(&format!("{name} is not valid UTF-8")), "{error}");
    }
    assert!(load(b"TICKETWIRE_\xe9", b"x").is_err());
    assert_eq!(load(b"LS_COLORS", b"\xe9").unwrap(), []);
    assert_eq!(load(b"LS_COLORS", b"x").unwrap(), [("LS_COLORS".into(), "x".into())]);
}

#[test]
fn a_file_has_values_of_the_types_of_their_keys() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ticketwire.toml");
    for (text, expected) in [
        ("drain_seconds = 5.7", "`drain_seconds` must be a whole number"),
        ("drain_seconds = true", "`drain_seconds` must be a whole number"),
        ("drain_seconds = \"5\"", "`drain_seconds` must be a whole number"),
        ("portal = \"yes\"", "`portal` must be `true` or `false`"),
        ("portal = 1", "`portal` must be `true` or `false`"),
        ("listen = 8080", "`listen` must be an IP address"),
        ("mail = 3", "`mail` in "),
        ("[security]\nsealing_keys = 12345", "`security.sealing_keys` must be a text in quotes"),
        ("[log]\nformat = [\"json\"]", "`log.format` must be text or json"),
    ] {
        fs::write(&file, text).unwrap();
        let error = Loaded::from_sources(Some(&file), &[], &[]).err().unwrap().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    // Each choice of a key is known to the check of its form.
    let text = "drain_seconds = 5\nportal = false\n[log]\nformat = \"json\"\n[tracing]\n\
        sample_ratio = 1\n[second_factor]\nstaff = \"required\"\ncustomers = \"offered\"\n\
        [mail]\nstaff_locale = \"ru\"";
    fs::write(&file, text).unwrap();
    assert!(Loaded::from_sources(Some(&file), &[], &[]).is_ok());
}
