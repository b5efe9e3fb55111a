//! Requests as no decent client writes them, over a raw socket: an answer or a close, never a hang, a panic, or two answers
//! to one request.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::program::Installation;
use crate::support::testdata;

/// Sends bytes, closes the sending side, and reads to the end. None when nothing ended it in time.
fn exchange(port: u16, request: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // The service may close before it has read everything.
    let _ = stream.write_all(request);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => Some(answer),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Some(answer),
        Err(_) => None,
    }
}

/// Answers in a stream. A bare 400 at the end is about what follows the request, not about the request.
fn answers(bytes: &[u8]) -> usize {
    let last = bytes.windows(9).rposition(|window| window.starts_with(b"HTTP/1.")).unwrap_or(0);
    let notice = last > 0 && bytes[last..].windows(19).any(|window| window == b"content-length: 0\r\n");
    let bytes = if notice && bytes[last..].starts_with(b"HTTP/1.") && bytes[last + 8..].starts_with(b" 400") {
        &bytes[..last]
    } else {
        bytes
    };
    bytes.windows(9).filter(|window| window.starts_with(b"HTTP/1.1 ") || window.starts_with(b"HTTP/1.0 ")).count()
}

/// The raw requests of a file of llhttp's tests: the `http` blocks, their escapes undone.
fn blocks(text: &str) -> Vec<Vec<u8>> {
    let inside = text.split("```http\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    inside
        .map(|block| {
            let lines = block
                .replace("\\\n", "")
                .replace('\n', "\r\n")
                .replace("\\r", "\r")
                .replace("\\n", "\n")
                .replace("\\t", "\t")
                .replace("\\f", "\u{c}");
            let mut bytes = Vec::new();
            let mut pieces = lines.split("\\x");
            bytes.extend_from_slice(pieces.next().unwrap().as_bytes());
            for piece in pieces {
                let code = piece.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
                bytes.push(code.unwrap_or(b'?'));
                bytes.extend_from_slice(piece.get(2..).unwrap_or_default().as_bytes());
            }
            bytes
        })
        .collect()
}

#[test]
fn strange_requests_end() {
    let installation = Installation::new().set("log__level", "off");
    let running = installation.start();
    let mut tried = 0;
    for file in ["sample", "method", "uri", "connection", "finish", "pausing"] {
        let Some(text) = testdata::read(&format!("http/llhttp-request-{file}.md")) else { break };
        for block in blocks(&text) {
            let answer = exchange(installation.port, &block)
                .unwrap_or_else(|| panic!("hangs: {}", String::from_utf8_lossy(&block)));
            let requests = String::from_utf8_lossy(&block).matches(" HTTP/").count().max(1);
            assert!(
                answers(&answer) <= requests,
                "{}\n{}",
                String::from_utf8_lossy(&block),
                String::from_utf8_lossy(&answer)
            );
            assert!(!answer.starts_with(b"HTTP/1.1 5"), "{}", String::from_utf8_lossy(&block));
            tried += 1;
        }
    }
    eprintln!("{tried} requests of llhttp's tests");
    let own: [(&[u8], &str); 9] = [
        (b"POST /api/v1/sites/default/comments HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1073741824\r\n\r\n{", " 413 "),
        (b"POST /api/v1/sites/default/comments HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n", " 400 "),
        (b"POST /api/v1/sites/default/comments HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}", " 400 "),
        (b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", " 404 "),
        (b"GET /api/v1/sites/default/comments?article=x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", " 200 "),
        (b"POST /api/v1/sites/default/comments HTTP/1.1\r\nHost: x\r\nX-HTTP-Method-Override: DELETE\r\nContent-Length: 0\r\n\r\n", " 415 "),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", " 404 "),
        (b"GET http://evil.example/healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n", " 200 "),
        (b"\x16\x03\x01\x02\x00\x01", " 400 "),
    ];
    for (request, status) in own {
        let answer = exchange(installation.port, request).expect("it ends");
        let head = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
        assert!(head.contains(status) || head.is_empty(), "{}: {head}", String::from_utf8_lossy(request));
        assert!(answers(&answer) <= 1);
    }
    for (length, status) in [(9_000, "414"), (65_000, "414"), (70_000, "400"), (140_000, "431")] {
        // The last two are answered by actix itself; `MAX_URI` says why.
        let request = format!("GET /healthz?{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "x".repeat(length));
        let answer = exchange(installation.port, request.as_bytes()).expect("it ends");
        let head = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
        assert!(head.contains(&format!(" {status} ")) || head.is_empty(), "{length}: {head}");
    }
    assert!(installation.run(&["health"]).status.success());
    drop(running);
}

/// A body that is announced and never ends is cut off at 256 KiB, whatever it holds.
#[test]
fn endless_bodies_are_cut_off() {
    let installation = Installation::new();
    let running = installation.start();
    let mut stream = TcpStream::connect(("127.0.0.1", installation.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
        .write_all(b"POST /api/v1/sites/default/comments HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    let chunk = [b"1000\r\n".as_slice(), &[b'x'; 4096], b"\r\n"].concat();
    let mut sent = 0;
    while sent < 4096 && stream.write_all(&chunk).is_ok() {
        sent += 1;
    }
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    drop(running);
}
