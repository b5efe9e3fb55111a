//! The limit that scripts/bench measures against: a minimal actix-web server that answers the same bytes from memory, and
//! an empty 304 to whoever sends `If-None-Match`.
//!
//! `fixed_bytes PORT FILE`
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench")]

use actix_web::http::header;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};

async fn answer(request: HttpRequest, bytes: web::Data<web::Bytes>) -> HttpResponse {
    if request.headers().contains_key(header::IF_NONE_MATCH) {
        return HttpResponse::NotModified().insert_header((header::ETAG, "\"fixed\"")).finish();
    }
    HttpResponse::Ok().content_type("application/json").body(bytes.get_ref().clone())
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let bytes = web::Data::new(web::Bytes::from(std::fs::read(&arguments[2])?));
    HttpServer::new(move || App::new().app_data(bytes.clone()).default_service(web::to(answer)))
        .workers(1)
        .bind(("127.0.0.1", arguments[1].parse().unwrap()))?
        .run()
        .await
}
