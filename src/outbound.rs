//! The one client that dials out to addresses that people type. A name is resolved once, every address that comes back is
//! checked, and one of these very addresses is dialled. It follows no redirect, keeps no connection, asks no proxy of the
//! environment, and of an answer it keeps the status.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls_platform_verifier::ConfigVerifierExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;
use url::{Host, Position, Url};

use crate::domain::reach::{Reach, Refusal};

/// From the look-up of the name to the head of the answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(8);

/// The rest of the answer has this long, so that the whole takes ten seconds at most.
const REST_LIMIT: Duration = Duration::from_secs(2);

/// So much of an answer is read, so that the receiver may end what it says, and not kept. Unit: bytes.
const REST_MAX: usize = 64 * 1024;

/// Who we say that we are.
const USER_AGENT: &str = concat!("Afterword/", env!("CARGO_PKG_VERSION"));

/// Longer words about a failure are cut. Unit: characters.
const WORDS_MAX: usize = 200;

/// Finds the addresses of a name and port.
pub type Lookup = Arc<dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// Dials out.
pub struct Outbound {
    reach: Arc<Reach>,
    lookup: Lookup,
    tls: OnceLock<TlsConnector>,
}

/// JSON to be sent by `POST`.
#[derive(Debug, Clone)]
pub struct Post {
    /// Where to.
    pub url: String,
    /// Headers beside those of every request.
    pub headers: Vec<(&'static str, String)>,
    /// The JSON.
    pub body: Vec<u8>,
}

/// What is kept of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// The header `Retry-After`, if it is text.
    pub retry_after: Option<String>,
}

/// Why there was no answer. The sentences hold nothing that the receiver said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// It was not dialled.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The name has no address, or nobody knows it.
    #[error("The name could not be resolved.")]
    NoAddress,
    /// It took too long.
    #[error("There was no answer within 8 seconds.")]
    TimedOut,
    /// The connection failed, or what came was no HTTP.
    #[error("{0}")]
    Failed(String),
}

impl Outbound {
    /// A client with the system's names.
    pub fn new(reach: Arc<Reach>) -> Self {
        let lookup = |name: String, port: u16| -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
            Box::pin(async move { Ok(tokio::net::lookup_host((name, port)).await?.collect()) })
        };
        Self::with_lookup(reach, Arc::new(lookup))
    }

    /// A client with names of one's own.
    pub fn with_lookup(reach: Arc<Reach>, lookup: Lookup) -> Self {
        Self { reach, lookup, tls: OnceLock::new() }
    }

    /// Sends a request and waits for the answer, ten seconds at most.
    pub async fn post(&self, post: Post) -> Result<Answer, Unanswered> {
        let answered = tokio::time::timeout(ANSWER_LIMIT, self.exchange(post)).await;
        let (response, _connection) = answered.map_err(|_| Unanswered::TimedOut)??;
        let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let answer = Answer { status: response.status().as_u16(), retry_after: retry_after.map(str::to_owned) };
        // The receiver has said what it thinks; how it ends changes nothing.
        let _ = tokio::time::timeout(REST_LIMIT, read_rest(response.into_body())).await;
        Ok(answer)
    }

    async fn exchange(&self, post: Post) -> Result<(Response<Incoming>, AbortOnDropHandle<()>), Unanswered> {
        let url = self.reach.target(&post.url)?;
        let stream =
            TcpStream::connect(self.addresses(&url).await?.as_slice()).await.map_err(|error| failed(&error))?;
        let request = request(&url, post)?;
        if url.scheme() == "http" {
            return talk(stream, request).await;
        }
        let name = server_name(&url).ok_or(Unanswered::NoAddress)?;
        let stream = self.tls()?.connect(name, stream).await.map_err(|error| failed(&error))?;
        talk(stream, request).await
    }

    /// The addresses of a host, all of which may be dialled: a name that also leads elsewhere is refused as a whole.
    async fn addresses(&self, url: &Url) -> Result<Vec<SocketAddr>, Unanswered> {
        let port = url.port_or_known_default().unwrap_or_default();
        let found = match url.host() {
            Some(Host::Ipv4(address)) => vec![SocketAddr::new(IpAddr::V4(address), port)],
            Some(Host::Ipv6(address)) => vec![SocketAddr::new(IpAddr::V6(address), port)],
            Some(Host::Domain(name)) => {
                (self.lookup)(name.to_owned(), port).await.map_err(|_| Unanswered::NoAddress)?
            }
            None => Vec::new(),
        };
        let is_secure = url.scheme() == "https";
        found.iter().try_for_each(|address| self.reach.check(address.ip(), is_secure))?;
        if found.is_empty() { Err(Unanswered::NoAddress) } else { Ok(found) }
    }

    /// Made when it is needed first: it reads the system's certificates.
    fn tls(&self) -> Result<&TlsConnector, Unanswered> {
        if let Some(tls) = self.tls.get() {
            return Ok(tls);
        }
        let config = ClientConfig::with_platform_verifier().map_err(|error| failed(&error))?;
        Ok(self.tls.get_or_init(|| TlsConnector::from(Arc::new(config))))
    }
}

fn request(url: &Url, post: Post) -> Result<Request<Full<Bytes>>, Unanswered> {
    let host = &url[Position::BeforeHost..Position::AfterPort];
    let mut request = Request::post(&url[Position::BeforePath..Position::AfterQuery])
        .header(header::HOST, host)
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONNECTION, "close");
    for (name, value) in post.headers {
        request = request.header(name, HeaderValue::try_from(value).map_err(|error| failed(&error))?);
    }
    request.body(Full::new(post.body.into())).map_err(|error| failed(&error))
}

fn server_name(url: &Url) -> Option<ServerName<'static>> {
    match url.host()? {
        Host::Domain(name) => ServerName::try_from(name.to_owned()).ok(),
        Host::Ipv4(address) => Some(ServerName::from(IpAddr::V4(address))),
        Host::Ipv6(address) => Some(ServerName::from(IpAddr::V6(address))),
    }
}

/// Sends the request; the connection ends with the handle.
async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<(Response<Incoming>, AbortOnDropHandle<()>), Unanswered> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    let connection = AbortOnDropHandle::new(tokio::spawn(async move {
        // What goes wrong is told to whoever waits for the answer.
        let _ = connection.await;
    }));
    let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
    Ok((response, connection))
}

async fn read_rest(mut body: Incoming) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read >= REST_MAX {
            return;
        }
    }
}

/// A failure in the words of its deepest cause, which is the one that helps.
fn failed(error: &(dyn std::error::Error + 'static)) -> Unanswered {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    Unanswered::Failed(cause.to_string().chars().take(WORDS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::net::TcpListener;

    async fn sent(outbound: &Outbound, url: &str) -> Result<Answer, Unanswered> {
        outbound.post(Post { url: url.to_owned(), headers: Vec::new(), body: b"{}".to_vec() }).await
    }

    /// A name that leads to a public address when it is asked first and to this machine ever after; counts the questions.
    fn rebinding(asked: Arc<AtomicUsize>, addresses: &'static [&'static [&'static str]]) -> Lookup {
        Arc::new(move |_, port| {
            let nth = asked.fetch_add(1, Ordering::Relaxed).min(addresses.len() - 1);
            let found = addresses[nth].iter().map(|address| SocketAddr::new(address.parse().unwrap(), port)).collect();
            Box::pin(async move { Ok(found) })
        })
    }

    #[tokio::test]
    async fn no_spelling_of_this_machine_is_dialled() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let outbound = Outbound::new(Arc::new(Reach::default()));
        for host in [
            "127.0.0.1",
            "2130706433",
            "0177.0.0.1",
            "0x7f.0.0.1",
            "0x7f000001",
            "127.1",
            "localhost",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b:1::7f00:1]",
            "[2002:7f00:1::]",
            "[2001:0:7f00:1::]",
            "[::127.0.0.1]",
            "0.0.0.0",
            "[::]",
        ] {
            for scheme in ["https", "http"] {
                let refused = sent(&outbound, &format!("{scheme}://{host}:{port}/")).await;
                assert!(matches!(refused, Err(Unanswered::Refused(_))), "{scheme} {host}: {refused:?}");
            }
        }
        let nobody = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(nobody.is_err(), "somebody dialled");
    }

    const HERE: [&[&[&str]]; 3] = [&[&["127.0.0.1"]], &[&["8.8.8.8", "127.0.0.1"]], &[&["8.8.8.8", "::1"]]];

    #[tokio::test]
    async fn a_name_that_changes_its_mind_is_asked_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for addresses in HERE {
            let asked = Arc::new(AtomicUsize::new(0));
            let outbound = Outbound::with_lookup(Arc::default(), rebinding(asked.clone(), addresses));
            let refused = sent(&outbound, &format!("https://rebind.example:{port}/")).await;
            assert_eq!(refused, Err(Unanswered::Refused(Refusal::NotPublic)), "{addresses:?}");
            assert_eq!(asked.load(Ordering::Relaxed), 1);
        }
        // The first answer may be dialled (and is: it is a network that the operator names); the second is never asked for.
        let reach = Arc::new(Reach::new(vec!["127.0.0.2/32".parse().unwrap()]));
        let asked = Arc::new(AtomicUsize::new(0));
        let outbound = Outbound::with_lookup(reach, rebinding(asked.clone(), &[&["127.0.0.2"], &["127.0.0.1"]]));
        let url = format!("http://rebind.example:{port}/");
        assert!(matches!(sent(&outbound, &url).await, Err(Unanswered::Failed(_))), "nobody listens there");
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert_eq!(sent(&outbound, &url).await, Err(Unanswered::Refused(Refusal::NotPublic)));
        let nobody = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(nobody.is_err(), "somebody dialled");
    }
}
