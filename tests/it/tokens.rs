//! Tokens (JWT) of a configured issuer: every way to be wrong, and what a good one opens.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::Method;
use serde_json::{Value, json};
use sexton::decide::access::{Dialect, Role};
use sexton::gateway::access::{Access, Denied, Settings};
use sexton::store::{self, Store};

use crate::front::Said;
use crate::house::House;
use crate::worlds::agno::{Release, fill, from_seed};

const ISSUER: &str = "https://issuer.example";

/// An Ed25519 key (PKCS #8) of so many equal bytes.
fn key(seed: u8) -> EncodingKey {
    const HEAD: [u8; 16] = [
        0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
    ];
    EncodingKey::from_ed_der(&[&HEAD[..], &[seed; 32]].concat())
}

fn jwk(key: &EncodingKey, kid: &str) -> Value {
    let mut jwk = Jwk::from_encoding_key(key, Algorithm::EdDSA).expect("a public key");
    jwk.common.key_id = Some(kid.to_owned());
    serde_json::to_value(jwk).expect("JSON")
}

fn set(folder: &Path, keys: &[Value]) -> PathBuf {
    let file = folder.join("jwks.json");
    std::fs::write(&file, json!({"keys": keys}).to_string()).expect("a key set");
    file
}

fn now() -> i64 {
    sexton::clock::now().unix_timestamp()
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "sexton", "sub": "u_ann", "tenant": "t", "exp": now() + 600, "nbf": now() - 10})
}

fn signed(key: &EncodingKey, algorithm: Algorithm, kid: Option<&str>, claims: &Value) -> String {
    let mut header = Header::new(algorithm);
    header.kid = kid.map(str::to_owned);
    encode(&header, claims, key).expect("a token")
}

fn access(file: &Path) -> Access {
    let settings = Settings {
        jwt_keys: Some(file.to_owned()),
        jwt_issuer: ISSUER.to_owned(),
        jwt_leeway: Duration::from_secs(5),
        ..Settings::default()
    };
    settings.check_keys().expect("a usable key set");
    let nowhere = store::Settings {
        url: "postgres://nobody@127.0.0.1:1/nothing".to_owned().into(),
        ..store::Settings::default()
    };
    Access::new(Store::new(&nowhere).expect("a URL"), settings).expect("access")
}

#[tokio::test]
async fn a_good_token_says_who_it_is_and_every_other_is_a_stranger() {
    let folder = tempfile::tempdir().expect("a folder");
    let (good, other) = (key(1), key(2));
    let access = access(&set(folder.path(), &[jwk(&good, "one")]));
    let token = |claims: &Value| signed(&good, Algorithm::EdDSA, Some("one"), claims);
    let who = access.by_bearer(&token(&claims())).await.expect("a principal");
    assert_eq!(
        (who.name.as_str(), who.tenant.as_str(), who.subject.as_deref()),
        ("jwt:u_ann", "t", Some("u_ann"))
    );
    assert_eq!(who.roles.into_iter().collect::<Vec<_>>(), [Role::Requester]);
    assert_eq!(
        who.dialects.into_iter().collect::<Vec<_>>(),
        [Dialect::Factory, Dialect::Agno]
    );

    let with = |name: &str, value: Value| {
        let mut claims = claims();
        match value {
            Value::Null => claims.as_object_mut().expect("claims").remove(name),
            value => claims.as_object_mut().expect("claims").insert(name.into(), value),
        };
        token(&claims)
    };
    let mut forged = token(&claims());
    let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT","kid":"one"}"#);
    let unsigned = format!("{head}.{}.", forged.split('.').nth(1).expect("claims"));
    // The public key as a shared secret: whoever can read the key set could have made it.
    let public = jwk(&good, "one")["x"].as_str().expect("a key").to_owned();
    let confused = signed(
        &EncodingKey::from_secret(public.as_bytes()),
        Algorithm::HS256,
        Some("one"),
        &claims(),
    );
    forged.replace_range(forged.len() - 4.., "AAAA");
    let wrong: BTreeMap<&str, String> = BTreeMap::from([
        ("expired", with("exp", json!(now() - 60))),
        ("not yet", with("nbf", json!(now() + 60))),
        ("no end", with("exp", Value::Null)),
        ("another issuer", with("iss", json!("https://evil.example"))),
        ("no issuer", with("iss", Value::Null)),
        ("another audience", with("aud", json!("other"))),
        ("no audience", with("aud", Value::Null)),
        ("no subject", with("sub", Value::Null)),
        ("a subject that is a number", with("sub", json!(7))),
        ("no tenant", with("tenant", Value::Null)),
        ("a tenant that is a number", with("tenant", json!(7))),
        ("a tenant that can be none", with("tenant", json!(""))),
        (
            "another key",
            signed(&other, Algorithm::EdDSA, Some("one"), &claims()),
        ),
        (
            "an unknown key",
            signed(&good, Algorithm::EdDSA, Some("two"), &claims()),
        ),
        ("no key named", signed(&good, Algorithm::EdDSA, None, &claims())),
        ("no signature", unsigned),
        ("a shared secret", confused),
        ("a broken signature", forged),
        ("no token", "a.b.c".to_owned()),
        ("too long", with("more", json!("x".repeat(9_000)))),
        ("dots", ".".repeat(100)),
    ]);
    for (what, token) in wrong {
        assert!(
            matches!(access.by_bearer(&token).await, Err(Denied::Unknown)),
            "{what}"
        );
    }
}

/// A key that is taken out of the file is believed for a second at most; a file that cannot be read changes nothing.
#[tokio::test]
async fn a_key_set_is_read_again_when_it_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (first, second) = (key(1), key(2));
    let access = access(&set(folder.path(), &[jwk(&first, "one")]));
    let by = |key: &EncodingKey, kid: &str| signed(key, Algorithm::EdDSA, Some(kid), &claims());
    assert!(access.by_bearer(&by(&first, "one")).await.is_ok());
    set(folder.path(), &[jwk(&second, "two")]);
    let mut every = tokio::time::interval(Duration::from_millis(50));
    let turned = async {
        while access.by_bearer(&by(&first, "one")).await.is_ok() {
            every.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), turned)
        .await
        .expect("it is read again");
    assert!(access.by_bearer(&by(&second, "two")).await.is_ok());
}

#[test]
fn a_key_set_that_could_be_made_by_anybody_is_refused_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let shared = json!({"kty": "oct", "k": "c2VjcmV0", "kid": "one"});
    let nameless = {
        let mut key = jwk(&key(1), "one");
        key.as_object_mut().expect("a key").remove("kid");
        key
    };
    for (keys, why) in [
        (vec![shared], "it holds a shared secret"),
        (vec![nameless], "a key in it has no `kid`"),
        (vec![], "it holds no key"),
    ] {
        let settings = Settings {
            jwt_keys: Some(set(folder.path(), &keys)),
            jwt_issuer: ISSUER.to_owned(),
            ..Settings::default()
        };
        let said = settings.check_keys().expect_err(why);
        assert!(
            said.starts_with("access.jwt_keys: found ") && said.contains(why),
            "{said}"
        );
    }
    let nobody = Settings {
        jwt_keys: Some(folder.path().join("jwks.json")),
        ..Settings::default()
    };
    assert!(
        nobody
            .check_keys()
            .expect_err("no issuer")
            .starts_with("access.jwt_issuer: found nothing")
    );
}

/// Over HTTP: a token opens Factory's and Agno's doors, and its subject wins over the query's user.
#[tokio::test(flavor = "multi_thread")]
async fn a_tokens_subject_is_whose_sessions_they_are() {
    let mut house = House::new().await;
    let store = house.store("agno-main").await;
    let sessions = from_seed(3, 12);
    fill(&store, Release::Three, &sessions)
        .await
        .expect("the store's rows");
    house.shipped("agno.session", &[]);
    let signer = key(1);
    let file = set(house.folder(), &[jwk(&signer, "one")]);
    let front = house.front(&format!("[access]\njwt_keys = {file:?}\njwt_issuer = {ISSUER:?}"));
    let worker = house.worker();
    front.is_open().await;
    let token = signed(&signer, Algorithm::EdDSA, Some("one"), &claims());
    let (anns, bobs): (Vec<String>, Vec<String>) =
        (owned(&store, "u_ann").await, owned(&store, "u_bob").await);
    let all: Vec<&String> = anns.iter().chain(&bobs).collect();
    let body = json!({"session_ids": all, "session_types": vec!["agent"; all.len()]});
    let request = front
        .ask(Method::DELETE, "/sessions?user_id=u_bob", &token)
        .json(&body);
    let said = Said::of(request.send().await.expect("an answer")).await;
    assert_eq!(said.status, 204, "{}", said.text);
    assert_eq!(
        (owned(&store, "u_ann").await.len(), owned(&store, "u_bob").await),
        (0, bobs)
    );
    // The native API is none of its doors.
    assert_eq!(front.get("/v1/deletions", &token).await.status, 403);
    let factory = front
        .ask(Method::DELETE, "/api/v0/sessions/x", "a.b.c")
        .send()
        .await
        .expect("an answer");
    assert_eq!(factory.status(), 401);
    worker.stop().await;
}

async fn owned(store: &sqlx::PgPool, user: &str) -> Vec<String> {
    sqlx::query_scalar("select session_id from ai.agno_sessions where user_id = $1 order by 1")
        .bind(user)
        .fetch_all(store)
        .await
        .expect("ids")
}
