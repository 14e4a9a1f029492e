//! nginx, HAProxy and Caddy with the configurations that we publish (`ops/proxies`).

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
};

use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use super::{
    port,
    tls::{Authority, HOST, Secure, VALID},
};

/// A reverse proxy of Debian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    HaProxy,
    Caddy,
}

/// A running reverse proxy in front of two nodes.
pub struct ReverseProxy {
    child: Child,
    /// How clients reach it.
    pub secure: Secure,
    _folder: TempDir,
}

impl Drop for ReverseProxy {
    fn drop(&mut self) {
        // nginx and HAProxy stop their workers then.
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }
}

impl ReverseProxy {
    /// Starts a proxy in front of two nodes and waits until it answers.
    pub async fn start(kind: Kind, nodes: [&str; 2]) -> Self {
        super::client::install_tls_provider();
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let files = authority.issue(folder.path(), HOST, VALID);
        let pem = folder.path().join("both.pem");
        let both = [&files.certificate, &files.key].map(|file| fs::read_to_string(file).unwrap());
        fs::write(&pem, both.concat()).unwrap();
        let [http, https] = [port::choose(), port::choose()];
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let own = [
            ("10.0.0.11:8080", nodes[0].to_owned()),
            ("10.0.0.12:8080", nodes[1].to_owned()),
            ("/etc/haproxy/support.example.com.pem", text(&pem)),
            ("/etc/ssl/support.example.com/fullchain.pem", text(&files.certificate)),
            ("/etc/ssl/support.example.com/privkey.pem", text(&files.key)),
        ];
        let config =
            own.iter().fold(published(kind), |config, (from, to)| config.replace(from, to));
        let mut command = kind.command(folder.path(), &config, http, https);
        let log = fs::File::create(folder.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let program = command.as_std().get_program().to_owned();
        let mut child = command.kill_on_drop(true).spawn().unwrap_or_else(|error| {
            panic!("{} cannot be run ({error}): run `scripts/setup test`", program.display())
        });
        let address = SocketAddr::from(([127, 0, 0, 1], https));
        while TcpStream::connect(address).await.is_err() {
            if let Some(status) = child.try_wait().unwrap() {
                let log = fs::read_to_string(folder.path().join("log")).unwrap();
                panic!("{} ended with {status}: {log}", program.display());
            }
            tokio::task::yield_now().await;
        }
        Self { child, secure: authority.secure(address), _folder: folder }
    }
}

impl Kind {
    /// Prepares the program with its configuration on these ports.
    fn command(self, folder: &Path, config: &str, http: u16, https: u16) -> Command {
        let file = folder.join(self.file());
        let local = |port: u16| format!("127.0.0.1:{port}");
        match self {
            Self::Nginx => {
                let config = config
                    .replace("listen 80;", &format!("listen {};", local(http)))
                    .replace("listen 443 ", &format!("listen {} ", local(https)));
                let folder = folder.display();
                let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                    .map(|name| format!("{name}_temp_path {folder}/{name};"))
                    .concat();
                let main = format!(
                    "daemon off; error_log stderr; pid {folder}/pid; events {{}}
                    http {{ access_log off; {paths} {config} }}"
                );
                fs::write(&file, main).unwrap();
                let mut command = Command::new(sbin("nginx"));
                command.arg("-p").arg(folder.to_string()).arg("-c").arg(file);
                // Its workers must read files of this user only.
                if rustix::process::geteuid().is_root() {
                    command.args(["-g", "user root;"]);
                }
                command
            }
            Self::HaProxy => {
                let config = config
                    .replace("bind :80", &format!("bind {}", local(http)))
                    .replace("bind :443 ", &format!("bind {} ", local(https)));
                fs::write(&file, config).unwrap();
                let mut command = Command::new(sbin("haproxy"));
                command.arg("-db").arg("-f").arg(file);
                command
            }
            Self::Caddy => {
                let site = format!("https://{HOST}:{https}");
                let options = format!(
                    "{{\n admin off\n auto_https disable_redirects\n http_port {http}\n default_bind 127.0.0.1\n}}\n"
                );
                fs::write(
                    &file,
                    options + &config.replace("support.example.com {", &format!("{site} {{")),
                )
                .unwrap();
                let mut command = Command::new("caddy");
                command.arg("run").arg("--adapter").arg("caddyfile").arg("--config").arg(file);
                command.env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
                command
            }
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Nginx => "nginx.conf",
            Self::HaProxy => "haproxy.cfg",
            Self::Caddy => "Caddyfile",
        }
    }
}

/// The configuration of a proxy as we publish it.
pub fn published(kind: Kind) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("ops/proxies");
    fs::read_to_string(folder.join(kind.file())).unwrap()
}

/// The path of a program that Debian installs where only root looks.
fn sbin(name: &str) -> PathBuf {
    let path = Path::new("/usr/sbin").join(name);
    if path.exists() { path } else { name.into() }
}
