//! The pieces that requests are made of, each alone: rendering a text, making an answer's forms, finding a ready answer,
//! asking the rate limits, reading a page. `cargo bench --bench pieces` measures them by criterion; a name after `--`
//! chooses some. What a whole request costs is measured by `scripts/bench`.
#![expect(clippy::unwrap_used, reason = "a bench")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use afterword::cache::{Cache, Encoding, Ready};
use afterword::clock::SystemClock;
use afterword::config::Config;
use afterword::domain::ids::SiteId;
use afterword::domain::render::render;
use afterword::domain::text::Body;
use afterword::limits::address::ClientAddress;
use afterword::limits::rings::{Posting, Rings};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use uuid::Uuid;

const COMMENT: &str = "I have read this *twice* and I am still not sure about the second half. The [figures](https://example.org/a) \
                       are from 2019, are they not?\n\n> a line of the article\n\nSee also https://example.org/other, which \
                       says the opposite and gives `three` reasons:\n\n1. it is old,\n2. it is measured once,\n3. nobody repeated it.";

/// Texts of three kinds: what people write, the longest that is taken, and what somebody would send to do harm.
fn rendering(criterion: &mut Criterion) {
    let long = COMMENT.repeat(10_000 / COMMENT.len());
    let nested = "> ".repeat(4_000) + "deep";
    let mut group = criterion.benchmark_group("render");
    for (name, text) in [("usual", COMMENT), ("longest", &long), ("nested", &nested)] {
        let body = Body::parse(text, "body").unwrap();
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| render(black_box(&body))));
    }
    group.finish();
}

/// A list of 25 comments as bytes, 15 kB: its tag, its compressed forms (once per change), and how it is found again.
fn answers(criterion: &mut Criterion) {
    let rendered = render(&Body::parse(COMMENT, "body").unwrap());
    let one =
        serde_json::json!({"id": Uuid::nil(), "name": "Ada", "body_html": rendered, "votes": {"up": 1, "down": 0}});
    let list = serde_json::json!({"comments": vec![one; 25], "next_cursor": null});
    let bytes = serde_json::to_vec(&list).unwrap();
    let mut group = criterion.benchmark_group("answer");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("encode", |bencher| bencher.iter(|| serde_json::to_vec(black_box(&list)).unwrap()));
    for (name, encoding) in [("plain", Encoding::Identity), ("gzip", Encoding::Gzip), ("brotli", Encoding::Brotli)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| Ready::unkept("application/json", bytes.clone()).form(encoding).1.bytes.len());
        });
    }
    group.finish();

    let cache = Cache::new(32 << 20, Arc::new(SystemClock::default()));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let address = "/api/v1/sites/default/comments?limit=25&article=article-0";
    let now = cache.changes.now();
    let made = async { Ok::<_, afterword::error::Error>(Ready::new("application/json", bytes, now, Vec::new())) };
    runtime.block_on(cache.get_or_make(address, made)).unwrap();
    criterion.bench_function("answer/found", |bencher| bencher.iter(|| cache.get(black_box(address)).unwrap()));
}

/// All rings of a legal comment, from an address that is always another.
fn limits(criterion: &mut Criterion) {
    let environment = ["ADDRESS", "NETWORK", "ARTICLE", "SITE", "ALL"]
        .iter()
        .flat_map(|ring| [(format!("AFTERWORD__LIMITS__{ring}__BURST"), "4000000000".to_owned())])
        .collect();
    let config = Config::load(None, environment).unwrap();
    let rings = Rings::new(&config.limits, Arc::new(SystemClock::default()), None);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut number = 0_u32;
    criterion.bench_function("limits/admit", |bencher| {
        bencher.iter(|| {
            number = number.wrapping_add(1);
            let from = ClientAddress::new(IpAddr::V4(Ipv4Addr::from(number)));
            let posting = Posting { from, site: SiteId(Uuid::nil()), article: "/hello" };
            let _ = runtime.block_on(rings.admit(posting));
        });
    });
}

criterion_group!(pieces, rendering, answers, limits);
criterion_main!(pieces);
