//! The pictures beside names. All of one is taken from its address, so nothing is stored, and browsers keep it for ever.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};

use super::error::{ApiError, Problem};
use crate::error::Error;

/// The picture beside a name: five by five squares, mirrored, in one of some colours, all taken from the address itself.
#[utoipa::path(
    get, path = "/avatars/{token}.svg", tag = "Readers and writers", params(("token" = String, Path, description = "16 hex digits")),
    responses((status = 200, description = "A picture that never changes", content_type = "image/svg+xml"), (status = 404, body = Problem, content_type = "application/problem+json")),
)]
pub async fn avatar(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let token = request.match_info().get("token").unwrap_or_default();
    let lower = token.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let bits = u64::from_str_radix(token, 16).ok().filter(|_| lower && token.len() == 16).ok_or(Error::NotFound)?;
    Ok(HttpResponse::Ok()
        .content_type("image/svg+xml")
        .insert_header((header::CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'none'"))
        // Pages that isolate themselves (`Cross-Origin-Embedder-Policy: require-corp`) show them too.
        .insert_header((header::CROSS_ORIGIN_RESOURCE_POLICY, "cross-origin"))
        .body(picture(bits)))
}

/// Squares and ground: the same hue twice, as bright as each other in all pairs (relative luminance 0.135 and 0.8, contrast
/// 4.6 by WCAG 2.2), so that no picture is louder than its neighbour and all stand out on light and dark pages.
const COLOURS: [(&str, &str); 14] = [
    ("#be3232", "#f7e3e3"),
    ("#9c5329", "#f4e4db"),
    ("#816222", "#f1e6d0"),
    ("#686b1c", "#e9ebb9"),
    ("#42731f", "#d7efc6"),
    ("#1f763c", "#cbf0d8"),
    ("#1f7362", "#c9efe7"),
    ("#237083", "#d2ecf2"),
    ("#2e68ab", "#dde8f5"),
    ("#4f5ad0", "#e5e6f7"),
    ("#7f47ce", "#ece4f7"),
    ("#a331b9", "#f3e2f7"),
    ("#b3308b", "#f6e1f0"),
    ("#bb325b", "#f7e2e8"),
];

/// The squares of the left half and the middle.
const PLACES: usize = 15;

/// So many of them are filled, or up to three more: fewer look empty, more look like a block.
const LEAST_FILLED: usize = 6;

fn picture(bits: u64) -> String {
    let mut rest = bits;
    let mut draw = |from: usize| {
        let from = u64::try_from(from).unwrap_or(1);
        let drawn = rest % from;
        rest /= from;
        usize::try_from(drawn).unwrap_or(0)
    };
    let (ink, ground) = COLOURS.get(draw(COLOURS.len())).copied().unwrap_or(("#333", "#ddd"));
    let filled = LEAST_FILLED + draw(4);
    // The first steps of a shuffle: any choice of places is as likely as any other.
    let mut places: Vec<usize> = (0..PLACES).collect();
    for place in 0..filled {
        places.swap(place, place + draw(PLACES - place));
    }
    places.truncate(filled);
    places.sort_unstable();
    let squares: String = places.into_iter().map(|place| (place / 5, place % 5)).flat_map(mirrored).collect();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"-1 -1 7 7\" width=\"36\" height=\"36\">\
         <path fill=\"{ground}\" d=\"M-1-1h7v7h-7z\"/>\
         <path fill=\"{ink}\" shape-rendering=\"crispEdges\" d=\"{squares}\"/></svg>"
    )
}

/// A square and its reflection; the middle column is its own.
fn mirrored((column, row): (usize, usize)) -> impl Iterator<Item = String> {
    let other = 4 - column;
    let both = [Some(column), (other != column).then_some(other)];
    both.into_iter().flatten().map(move |column| format!("M{column} {row}h1v1h-1z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn luminance(colour: &str) -> f64 {
        let channel = |at: usize| {
            let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.03928 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    #[test]
    fn every_colour_stands_out_from_its_ground() {
        for (ink, ground) in COLOURS {
            let contrast = (luminance(ground) + 0.05) / (luminance(ink) + 0.05);
            assert!(contrast >= 4.5, "{ink} on {ground}: {contrast}");
        }
    }

    #[test]
    fn none_is_empty_and_few_are_alike() {
        // Steps of the golden ratio: spread over all tokens.
        let tokens = (1..=2000_u64).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let pictures: std::collections::BTreeSet<String> = tokens.map(picture).collect();
        for picture in &pictures {
            let squares = picture.matches("h1v1h-1z").count();
            assert!((7..=18).contains(&squares), "{squares}: {picture}");
        }
        assert!(pictures.len() > 1990, "{}", pictures.len());
    }
}
