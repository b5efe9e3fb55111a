//! `health`: one request to the service on this machine, for container health checks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Failure, say};
use crate::config::Config;

/// A healthy service answers at once.
const LIMIT: Duration = Duration::from_secs(3);

pub async fn run(config: &Config) -> Result<(), Failure> {
    let mut address = config.server.listen;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        } else {
            IpAddr::V6(Ipv6Addr::LOCALHOST)
        });
    }
    match tokio::time::timeout(LIMIT, ask(address)).await {
        Ok(Ok(true)) => say("ok"),
        Ok(Ok(false)) => Err(Failure::Failed(format!("the service at {address} answers, but not that it is well"))),
        Ok(Err(cause)) => Err(Failure::Failed(format!("no service answers at {address}: {cause}"))),
        Err(_) => Err(Failure::Failed(format!("the service at {address} does not answer within three seconds"))),
    }
}

async fn ask(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200 "))
}
