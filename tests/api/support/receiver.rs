//! A receiver of webhooks that behaves as a test wants it: a socket of its own, a thread for each connection, and a list of
//! what came. It keeps what it has read before it answers.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use super::program::wait_until;

/// What it does with a request that it has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Answers with this status.
    Answer(u16),
    /// Answers with this status and these further headers.
    With(u16, &'static str),
    /// Never answers.
    Hang,
    /// Closes the connection in the middle of the answer's head.
    Cut,
    /// Answers 200, and never ends what it says.
    Endless,
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Received {
    pub head: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

pub struct Receiver {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    mode: Mutex<Mode>,
    received: Mutex<Vec<Received>>,
}

impl Receiver {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared { mode: Mutex::new(Mode::Answer(200)), received: Mutex::default() });
        let of_thread = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = of_thread.clone();
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Self { port, shared }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook?key=x", self.port)
    }

    /// How it behaves from now on.
    pub fn mode(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
    }

    /// What came since it was asked last.
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(&mut self.shared.received.lock().unwrap())
    }

    /// The same, when it is as much as this.
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        wait_until("the receiver has got it", || self.shared.received.lock().unwrap().len() >= count);
        self.take()
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) {
        let Some(received) = read(&mut stream) else { return };
        self.received.lock().unwrap().push(received);
        let mode = *self.mode.lock().unwrap();
        // The other side may be gone.
        let _ = match mode {
            Mode::Answer(status) => write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nOK"),
            Mode::With(status, more) => write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\n{more}\r\n\r\n"),
            Mode::Cut => write!(stream, "HTTP/1.1 200 OK\r\nContent-"),
            Mode::Hang => until_closed(&mut stream),
            Mode::Endless => {
                let mut sent = write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                while sent.is_ok() {
                    sent = stream.write_all(&[b"1000\r\n".as_slice(), &[b'x'; 4096], b"\r\n"].concat());
                }
                sent
            }
        };
    }
}

fn until_closed(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    let mut rest = [0; 16];
    while stream.read(&mut rest)? > 0 {}
    Ok(())
}

fn read(stream: &mut TcpStream) -> Option<Received> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&chunk[..count]);
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let pairs = head.lines().skip(1).map(|line| line.split_once(": ").unwrap());
    let headers: BTreeMap<String, String> =
        pairs.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let mut body = bytes.split_off(head_end + 4);
    let length: usize = headers["content-length"].parse().unwrap();
    while body.len() < length {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).ok().filter(|count| *count > 0)?;
        body.extend_from_slice(&chunk[..count]);
    }
    Some(Received { head, headers, body })
}

impl Received {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    /// The event, without `comment.`.
    pub fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap().trim_start_matches("comment.").to_owned()
    }

    /// The id of the comment.
    pub fn comment(&self) -> String {
        self.json()["data"]["comment"]["id"].as_str().unwrap().to_owned()
    }

    /// Whether one of the signatures is by this secret, computed here anew.
    pub fn is_signed_by(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update([self.id(), ".", &self.headers["webhook-timestamp"], "."].concat().as_bytes());
        mac.update(&self.body);
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        self.headers["webhook-signature"].split(' ').any(|signature| signature == expected)
    }
}
