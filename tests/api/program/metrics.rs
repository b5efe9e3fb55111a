//! The metrics on a socket of their own: without a token, also while the database is away, until the program stops.

use std::net::TcpListener;

use reqwest::blocking::{Client, get};

use crate::support::figures::Figures;
use crate::support::postgres;
use crate::support::program::Installation;

/// An address that is free now.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn read(url: &str) -> Figures {
    let answer = get(url).unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    Figures::of(&answer.text().unwrap())
}

#[test]
fn they_need_no_token_there_and_stop_with_the_rest() {
    let address = free_address();
    let installation = Installation::new().set("metrics__listen", &address);
    let running = installation.start();
    let url = format!("http://{address}/metrics");
    let figures = read(&url);
    assert_eq!((figures.get("database_up", &[]), figures.get("queue_pending", &[])), (1.0, 0.0));
    assert!(figures.get("requests_total", &[("route", "/healthz"), ("status", "2xx")]) >= 1.0);
    assert!(figures.get("process_resident_bytes", &[]) > 1e6);
    let client = Client::new();
    assert_eq!(client.head(&url).send().unwrap().status(), 200);
    for elsewhere in [format!("{}/metrics", running.url), format!("http://{address}/healthz")] {
        assert_eq!(client.get(&elsewhere).send().unwrap().status(), 404, "{elsewhere}");
    }
    assert!(running.stop().success());
    assert!(client.get(&url).send().is_err());
}

#[test]
fn an_address_that_is_taken_stops_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let installation = Installation::new().set("metrics__listen", &taken.local_addr().unwrap().to_string());
    let output = installation.run(&["serve"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("metrics.listen"));
    assert!(!installation.path("data").exists(), "nothing is made");
}

#[test]
fn they_are_told_while_the_database_is_away() {
    let (address, database) = (free_address(), postgres::empty_database());
    let installation = Installation::new().set("metrics__listen", &address).set("database__url", &database);
    let _running = installation.start();
    let url = format!("http://{address}/metrics");
    assert_eq!(read(&url).get("database_up", &[]), 1.0);
    postgres::drop_database(&database);
    let figures = read(&url);
    assert_eq!(figures.get("database_up", &[]), 0.0);
    assert!(figures.get("queue_pending", &[]).is_nan() && figures.get("outbox_oldest_seconds", &[]).is_nan());
    assert!(figures.get("requests_total", &[]) >= 1.0);
}
