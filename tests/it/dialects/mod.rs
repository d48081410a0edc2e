//! The five dialects over real HTTP, with the shipped plans on stores of their systems' shapes.

mod agno;
mod agno_os;
mod computers;
mod parked;
mod pave;
mod powerdrill;
mod sessions;
mod traced;
mod turned_back;

use reqwest::Method;

use crate::front::{Front, Said};

/// A delete in somebody's shape.
async fn delete(front: &Front, path: &str, headers: &[(&str, &str)]) -> Said {
    let mut request = front
        .client
        .request(Method::DELETE, format!("{}{path}", front.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Said::of(request.send().await.expect("an answer")).await
}

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}
