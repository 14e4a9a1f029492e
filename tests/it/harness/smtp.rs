//! A mail server that tests can make misbehave.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use mail_parser::MessageParser;
use rcgen::generate_simple_self_signed;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Notify,
    task::{JoinHandle, JoinSet},
    time,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

const TIMEOUT: Duration = Duration::from_secs(30);

/// A step of an SMTP session, as the server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The client has connected; the server has not greeted it.
    Greeting,
    /// EHLO was received and not answered.
    Ehlo,
    /// MAIL was received and not answered.
    Mail,
    /// RCPT was received and not answered.
    Rcpt,
    /// DATA was received and not answered.
    Data,
    /// The first line of the mail was received.
    MidData,
    /// The mail was accepted; the client has not been told.
    Accepted,
}

/// What the server does with a mail.
#[derive(Clone, Copy, Debug)]
pub enum Behaviour {
    /// Accepts it. The default when no other behaviour is left.
    Accept,
    /// Answers RCPT with this line.
    Rcpt(&'static str),
    /// Answers the end of the data with this line.
    Data(&'static str),
    /// Pauses at this step until it is released.
    Pause(Step),
    /// Closes the connection in the middle of the data.
    DropMidData,
    /// Sends this line instead of its greeting and closes the connection.
    Greet(&'static str),
}

/// What the server supports.
#[derive(Clone, Copy, Default)]
pub struct SmtpOptions {
    /// Offers STARTTLS.
    pub starttls: bool,
    /// Speaks TLS from the start.
    pub implicit_tls: bool,
    /// Offers SMTPUTF8.
    pub smtputf8: bool,
    /// The command at which the connection ends that has accepted a mail already.
    pub one_per_connection: Option<&'static str>,
    /// Offers AUTH PLAIN and accepts only these credentials, in base64.
    pub auth: Option<&'static str>,
}

/// A received mail.
#[derive(Clone, Debug)]
pub struct Received {
    /// The sender of the envelope.
    pub from: String,
    /// The recipient of the envelope.
    pub to: String,
    /// The headers and body as received.
    pub raw: String,
    pub id: String,
    pub in_reply_to: Option<String>,
    pub references: Vec<String>,
    /// The decoded subject.
    pub subject: String,
    /// The decoded text part.
    pub text: String,
    /// The decoded HTML part.
    pub html: String,
    /// Whether it was received over TLS.
    pub tls: bool,
}

struct State {
    behaviours: Mutex<VecDeque<Behaviour>>,
    refusal: Mutex<Option<&'static str>>,
    mails: Mutex<Vec<Received>>,
    changed: Notify,
    attempts: AtomicUsize,
    paused: AtomicUsize,
    released: Notify,
    connections: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
    options: SmtpOptions,
    acceptor: TlsAcceptor,
}

/// A running mail server.
pub struct Smtp {
    state: Arc<State>,
    task: JoinHandle<()>,
    /// `127.0.0.1:port`.
    pub address: String,
    /// Its certificate, in PEM.
    pub certificate: String,
}

impl Drop for Smtp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An address that refuses connections. As long as this exists, no other socket gets it.
pub struct Reserved(TcpSocket);

impl fmt::Display for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.local_addr().map_err(|_| fmt::Error)?)
    }
}

impl Smtp {
    /// Starts a server that accepts everything.
    pub async fn start() -> Self {
        Self::start_with(SmtpOptions::default()).await
    }

    /// Starts a server with these options.
    pub async fn start_with(options: SmtpOptions) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::serve_on(listener, options)
    }

    /// Reserves an address on which nobody listens yet.
    pub fn reserve() -> Reserved {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Reserved(socket)
    }

    /// Starts a server on a reserved address.
    pub fn start_at(Reserved(socket): Reserved) -> Self {
        Self::serve_on(socket.listen(128).unwrap(), SmtpOptions::default())
    }

    fn serve_on(listener: TcpListener, options: SmtpOptions) -> Self {
        let certified = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key =
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
        let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        let state = Arc::new(State {
            behaviours: Mutex::default(),
            refusal: Mutex::default(),
            mails: Mutex::default(),
            changed: Notify::new(),
            attempts: AtomicUsize::new(0),
            paused: AtomicUsize::new(0),
            released: Notify::new(),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
            options,
            acceptor: TlsAcceptor::from(Arc::new(tls)),
        });
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            // Its sessions end with this task.
            let mut sessions = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let state = Arc::clone(&shared);
                sessions.spawn(async move {
                    state.connections.fetch_add(1, Ordering::SeqCst);
                    let open = state.open.fetch_add(1, Ordering::SeqCst) + 1;
                    state.most_open.fetch_max(open, Ordering::SeqCst);
                    state.serve(stream).await;
                    state.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { state, task, address, certificate: certified.cert.pem() }
    }

    /// Its URL, without TLS.
    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// Its URL with the host name of its certificate.
    pub fn named_url(&self, scheme: &str, user: &str, query: &str) -> String {
        let port = self.address.rsplit_once(':').unwrap().1;
        format!("{scheme}://{user}localhost:{port}{query}")
    }

    /// Adds behaviours for the next mails or connections, in order.
    pub fn script(&self, behaviours: impl IntoIterator<Item = Behaviour>) {
        self.state.behaviours.lock().unwrap().extend(behaviours);
    }

    /// From now on answers each MAIL with this line, like a server that accepts no more of a
    /// sender's mails today. With `None` it accepts them again.
    pub fn refuse_sender(&self, line: Option<&'static str>) {
        *self.state.refusal.lock().unwrap() = line;
    }

    /// Returns the mails accepted so far.
    pub fn mails(&self) -> Vec<Received> {
        self.state.mails.lock().unwrap().clone()
    }

    /// How many times a client has tried to send a mail.
    pub fn attempts(&self) -> usize {
        self.state.attempts.load(Ordering::SeqCst)
    }

    /// Waits until this many mails are accepted; returns all accepted mails.
    pub async fn received(&self, count: usize) -> Vec<Received> {
        self.wait_until(&format!("{count} mails"), || self.mails().len() >= count).await;
        self.mails()
    }

    /// Waits for the nth mail whose text contains these words. A mail that is repeated counts once.
    pub async fn nth(&self, nth: usize, words: &str) -> Received {
        let matching = || {
            let mut matching = self.mails();
            let mut seen = HashSet::new();
            matching.retain(|mail| mail.text.contains(words) && seen.insert(mail.id.clone()));
            matching
        };
        self.wait_until(&format!("mail {nth} with `{words}`"), || matching().len() >= nth).await;
        matching().swap_remove(nth - 1)
    }

    /// Waits for this many attempts.
    pub async fn attempted(&self, count: usize) {
        self.wait_until(&format!("{count} attempts"), || self.attempts() >= count).await;
    }

    /// How many times it has paused.
    pub fn pauses(&self) -> usize {
        self.state.paused.load(Ordering::SeqCst)
    }

    /// Waits until it has paused this many times.
    pub async fn paused(&self, count: usize) {
        self.wait_until(&format!("{count} pauses"), || self.pauses() >= count).await;
    }

    /// Continues all paused sessions.
    pub fn release(&self) {
        self.state.released.notify_waiters();
    }

    /// How many connections it has accepted so far.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// The highest number of connections that were open at once.
    pub fn most_connections(&self) -> usize {
        self.state.most_open.load(Ordering::SeqCst)
    }

    async fn wait_until(&self, what: &str, reached: impl Fn() -> bool) {
        let wait = async {
            loop {
                let changed = self.state.changed.notified();
                if reached() {
                    return;
                }
                changed.await;
            }
        };
        let waited = time::timeout(TIMEOUT, wait).await;
        assert!(waited.is_ok(), "no {what} in time: {:?}", self.mails());
    }
}

impl State {
    async fn serve(&self, stream: TcpStream) {
        if self.options.implicit_tls {
            if let Ok(stream) = self.acceptor.accept(stream).await {
                self.run_session(&mut BufReader::new(stream), true, true).await;
            }
            return;
        }
        let mut stream = BufReader::new(stream);
        if self.run_session(&mut stream, true, false).await
            && let Ok(stream) = self.acceptor.accept(stream.into_inner()).await
        {
            self.run_session(&mut BufReader::new(stream), false, true).await;
        }
    }

    fn next_behaviour(&self) -> Behaviour {
        self.behaviours.lock().unwrap().pop_front().unwrap_or(Behaviour::Accept)
    }

    /// Takes the next behaviour if it applies before the first mail of a session.
    fn behaviour_before_mail(&self) -> Behaviour {
        let mut behaviours = self.behaviours.lock().unwrap();
        let next = behaviours.pop_front_if(|behaviour| match behaviour {
            Behaviour::Greet(_) => true,
            Behaviour::Pause(step) => matches!(step, Step::Greeting | Step::Ehlo),
            _ => false,
        });
        next.unwrap_or(Behaviour::Accept)
    }

    /// Pauses if the behaviour asks for it at this step.
    async fn pause_at(&self, step: Step, behaviour: Behaviour) {
        if matches!(behaviour, Behaviour::Pause(at) if at == step) {
            let released = self.released.notified();
            self.paused.fetch_add(1, Ordering::SeqCst);
            self.changed.notify_waiters();
            released.await;
        }
    }

    /// Serves a session until the client hangs up; returns `true` if it continues over TLS.
    async fn run_session<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut BufReader<S>,
        greets: bool,
        tls: bool,
    ) -> bool {
        let (mut behaviour, mut from, mut to) = (Behaviour::Accept, String::new(), String::new());
        let mut has_accepted = false;
        if greets {
            behaviour = self.behaviour_before_mail();
            if let Behaviour::Greet(line) = behaviour {
                self.count_attempt();
                send(stream, line).await;
                return false;
            }
            self.pause_at(Step::Greeting, behaviour).await;
            send(stream, "220 sink ESMTP").await;
        }
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return false;
            }
            let line = line.trim_end();
            let verb = line.split(' ').next().unwrap().to_ascii_uppercase();
            if has_accepted && self.options.one_per_connection == Some(&verb) {
                send(stream, "421 4.7.0 too many mails on this connection").await;
                return false;
            }
            match verb.as_str() {
                "EHLO" => {
                    self.pause_at(Step::Ehlo, behaviour).await;
                    let mut answer = String::from("250-sink\r\n");
                    if self.options.starttls && !tls {
                        answer += "250-STARTTLS\r\n";
                    }
                    if self.options.auth.is_some() {
                        answer += "250-AUTH PLAIN\r\n";
                    }
                    if self.options.smtputf8 {
                        answer += "250-SMTPUTF8\r\n";
                    }
                    send(stream, &(answer + "250 8BITMIME")).await;
                }
                "STARTTLS" => {
                    send(stream, "220 ready for TLS").await;
                    return true;
                }
                "AUTH" => {
                    let right = self.options.auth.is_some_and(|expected| line.ends_with(expected));
                    send(stream, if right { "235 welcome" } else { "535 5.7.8 wrong password" })
                        .await;
                }
                "MAIL" => {
                    let refusal = *self.refusal.lock().unwrap();
                    if let Some(line) = refusal {
                        self.count_attempt();
                        send(stream, line).await;
                        continue;
                    }
                    from = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                    behaviour = self.next_behaviour();
                    self.count_attempt();
                    self.pause_at(Step::Mail, behaviour).await;
                    send(stream, "250 ok").await;
                }
                "RCPT" => {
                    to = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                    self.pause_at(Step::Rcpt, behaviour).await;
                    let answer =
                        if let Behaviour::Rcpt(line) = behaviour { line } else { "250 ok" };
                    send(stream, answer).await;
                }
                "DATA" => {
                    self.pause_at(Step::Data, behaviour).await;
                    send(stream, "354 send the mail").await;
                    let Some(raw) = self.read_data(stream, behaviour).await else { return false };
                    if let Behaviour::Data(line) = behaviour {
                        send(stream, line).await;
                        continue;
                    }
                    self.accept((&from, &to), raw, tls);
                    has_accepted = true;
                    self.pause_at(Step::Accepted, behaviour).await;
                    send(stream, "250 accepted").await;
                }
                "QUIT" => {
                    send(stream, "221 bye").await;
                    return false;
                }
                _ => send(stream, "250 ok").await,
            }
        }
    }

    async fn read_data<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut BufReader<S>,
        behaviour: Behaviour,
    ) -> Option<String> {
        let mut raw = String::new();
        loop {
            let start = raw.len();
            if stream.read_line(&mut raw).await.unwrap_or(0) == 0 {
                return None;
            }
            if matches!(behaviour, Behaviour::DropMidData) {
                return None;
            }
            if start == 0 {
                self.pause_at(Step::MidData, behaviour).await;
            }
            if &raw[start..] == ".\r\n" {
                raw.truncate(start);
                return Some(raw.replace("\r\n..", "\r\n."));
            }
        }
    }

    fn count_attempt(&self) {
        self.attempts.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    fn accept(&self, (from, to): (&str, &str), raw: String, tls: bool) {
        let mail = MessageParser::default().parse(raw.as_bytes()).expect("a mail");
        let ids = |header: &mail_parser::HeaderValue<'_>| -> Vec<String> {
            match header {
                mail_parser::HeaderValue::Text(id) => vec![id.to_string()],
                mail_parser::HeaderValue::TextList(ids) => {
                    ids.iter().map(ToString::to_string).collect()
                }
                _ => vec![],
            }
        };
        let received = Received {
            from: from.to_owned(),
            to: to.to_owned(),
            id: mail.message_id().unwrap_or_default().to_owned(),
            in_reply_to: ids(mail.in_reply_to()).pop(),
            references: ids(mail.references()),
            subject: mail.subject().unwrap_or_default().to_owned(),
            text: mail.body_text(0).unwrap_or_default().replace("\r\n", "\n"),
            html: mail.body_html(0).unwrap_or_default().into_owned(),
            raw: raw.clone(),
            tls,
        };
        self.mails.lock().unwrap().push(received);
        self.changed.notify_waiters();
    }
}

async fn send<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufReader<S>, line: &str) {
    let _ = stream.write_all(format!("{line}\r\n").as_bytes()).await;
    let _ = stream.flush().await;
}
