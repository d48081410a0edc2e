//! Messages that are wrong in one way each, and what must be said of them.

use serde_json::{Value, json};
use sexton::deletion::{BULK_BODY_MAX_BYTES, REQUEST_BODY_MAX_BYTES};

use crate::shop::{delete, with};

#[derive(Clone)]
pub(crate) struct Bad {
    pub(crate) body: Vec<u8>,
    pub(crate) content_type: Option<&'static str>,
    pub(crate) message_id: String,
    pub(crate) reason: &'static str,
    pub(crate) field: String,
}

/// Enough of it to be recognised: some are megabytes.
impl std::fmt::Debug for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let start = &self.body[..self.body.len().min(300)];
        let Bad { reason, field, .. } = self;
        write!(
            f,
            "{reason} at {field:?}: {} bytes: {}",
            self.body.len(),
            String::from_utf8_lossy(start)
        )
    }
}

fn bad(reason: &'static str, field: impl Into<String>, body: impl Into<Vec<u8>>) -> Bad {
    Bad {
        body: body.into(),
        content_type: Some("application/json"),
        message_id: String::new(),
        reason,
        field: field.into(),
    }
}

fn wrong(field: &str, more: Value) -> Bad {
    bad("wrong_shape", field, with(delete("x"), more).to_string())
}

fn event(more: Value) -> Value {
    with(
        json!({"specversion": "1.0", "id": "e", "source": "/s", "type": "t", "data": delete("x")}),
        more,
    )
}

fn bulk(more: Value) -> String {
    let targets = json!([{"type": "shop.thing", "id": "1"}, {"type": "shop.thing", "id": "2"}]);
    with(json!({"targets": targets, "tenant": "t", "key": "b"}), more).to_string()
}

/// One of several, by turns.
fn turn<T: Clone, const N: usize>(nth: usize, of: [T; N]) -> T {
    of[nth % N].clone()
}

/// The nth of each kind.
pub(crate) const KINDS: [fn(usize) -> Bad; 40] = [
    // Not JSON.
    |nth| {
        let whole = delete("x").to_string();
        bad("not_json", "", &whole.as_bytes()[..nth % whole.len()])
    },
    |_| bad("not_json", "", ""),
    |nth| {
        let mut body = delete("XXXX").to_string().into_bytes();
        let at = body.windows(4).position(|four| four == b"XXXX").expect("its id");
        let bytes: [&[u8]; 4] = [
            &[0xff],
            &[0xc0, 0x80],
            &[0xed, 0xa0, 0x80],
            &[0xf5, 0x80, 0x80, 0x80],
        ];
        body.splice(at..at + 4, turn(nth, bytes).iter().copied());
        bad("not_json", "", body)
    },
    |nth| bad("not_json", "", "[".repeat(100 + nth * 100)),
    |nth| {
        let half = turn(nth, ["\\ud800", "\\udc00\\ud800", "\\ud83dx", "\\uZZZZ"]);
        bad("not_json", "", delete("XX").to_string().replace("XX", half))
    },
    |nth| {
        let number = turn(
            nth,
            ["1e999", "-1e999", "01", "1.", "+1", "0x1", "NaN", "Infinity"],
        );
        bad(
            "not_json",
            "",
            with(delete("x"), json!({"params": {"depth": "N"}}))
                .to_string()
                .replace("\"N\"", number),
        )
    },
    |nth| Bad {
        content_type: Some("text/xml"),
        ..bad("not_json", "", format!("<delete id=\"{nth}\"/>"))
    },
    |nth| Bad {
        content_type: None,
        ..bad(
            "not_json",
            "",
            format!("{}{{}} {nth}", turn(nth, ["\u{feff}", "{}", "null "])),
        )
    },
    |nth| {
        let noise = (0..nth).map(|byte| u8::try_from((byte * 151 + nth * 31) % 256).expect("a byte"));
        bad(
            "not_json",
            "",
            [0x80].into_iter().chain(noise).collect::<Vec<u8>>(),
        )
    },
    |_| bad("not_json", "", delete("x").to_string().replace(':', "=")),
    // No request.
    |nth| {
        bad(
            "wrong_shape",
            "",
            turn(nth, ["[]", "null", "7", "\"delete\"", "true", "[{}]"]),
        )
    },
    |nth| {
        wrong(
            "",
            json!({ turn(nth, ["tennant", "Key", "", "force", "target "]): nth }),
        )
    },
    |nth| {
        wrong(
            "/target",
            json!({"target": turn(nth, [json!("cmp_1"), json!([]), json!(7), json!(null)])}),
        )
    },
    |nth| {
        wrong(
            "/target/id",
            json!({"target": {"type": "shop.thing", "id": turn(nth, [json!(7), json!([]), json!(""), json!("x".repeat(513))])}}),
        )
    },
    |nth| {
        wrong(
            "/target/type",
            json!({"target": {"id": "x", "type": turn(nth, [json!("Shop"), json!("a..b"), json!(1), json!("x".repeat(65))])}}),
        )
    },
    |nth| {
        wrong(
            "/tenant",
            json!({"tenant": turn(nth, [json!(["t"]), json!(null), json!(""), json!("t".repeat(129)), json!("a\nb")])}),
        )
    },
    |nth| {
        wrong(
            "/key",
            json!({"key": turn(nth, [json!(7), json!("k".repeat(256)), json!(""), json!("\u{85}")])}),
        )
    },
    |nth| {
        wrong(
            "/action",
            json!({"action": turn(nth, [json!("destroy"), json!(1), json!("DELETE"), json!({})])}),
        )
    },
    |nth| {
        wrong(
            "/batch_size",
            json!({"batch_size": turn(nth, [json!("7"), json!(0), json!(-1), json!(1.5), json!(1_000_001)])}),
        )
    },
    |nth| {
        wrong(
            "/not_before",
            json!({"not_before": turn(nth, ["tomorrow", "2030-01-01", "9999-12-31T23:59:59-01:00", "1969-12-31T23:59:59Z"])}),
        )
    },
    |nth| {
        wrong(
            "/deadline",
            json!({"deadline": turn(nth, [json!(1_893_456_000), json!(""), json!("9000-01-01T00:00:00Z")])}),
        )
    },
    |nth| {
        wrong(
            "/reason",
            json!({"reason": turn(nth, [json!("r".repeat(1_001)), json!({}), json!("a\u{0}b")])}),
        )
    },
    |nth| {
        let (params, field) = turn(
            nth,
            [
                (json!([]), "/params"),
                (json!({"colour": "red"}), "/params"),
                (json!({"depth": 7}), "/params/depth"),
                (json!({"depth": "a\u{0}"}), "/params"),
                (json!({"a\u{0}": 1}), "/params"),
                (json!("p"), "/params"),
            ],
        );
        wrong(field, json!({"params": params}))
    },
    |_| {
        wrong(
            "/target/id",
            json!({"target": {"type": "shop.thing", "id": "a\u{0}b"}}),
        )
    },
    |_| wrong("/deletion", json!({"deletion": uuid::Uuid::nil()})),
    |nth| {
        let levels = 9 + nth * 20;
        let deep = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        bad(
            "wrong_shape",
            "/params",
            with(delete("x"), json!({"params": {"depth": "N"}}))
                .to_string()
                .replace("\"N\"", &deep),
        )
    },
    |nth| {
        let (name, field) = turn(
            nth,
            [("tenant", "/tenant"), ("key", "/key"), ("target", "/target")],
        );
        bad(
            "wrong_shape",
            field,
            delete("x")
                .to_string()
                .replacen('{', &format!("{{\"{name}\":1,"), 1),
        )
    },
    |nth| {
        bad(
            "unknown_version",
            "/version",
            with(
                delete("x"),
                json!({"version": turn(nth, [json!(2), json!("1"), json!([]), json!(-1)])}),
            )
            .to_string(),
        )
    },
    |nth| Bad {
        message_id: turn(nth, ["a\u{7}", "\u{0}", "\u{1b}[31m"]).to_owned(),
        ..bad(
            "wrong_shape",
            "/key",
            with(delete("x"), json!({"key": null})).to_string(),
        )
    },
    // Well formed, and against a rule.
    |nth| {
        bad(
            "unknown_type",
            "/target/type",
            with(
                delete("x"),
                json!({"target": {"type": format!("shop.t{nth}"), "id": "x"}}),
            )
            .to_string(),
        )
    },
    |_| {
        bad(
            "not_allowed",
            "/action",
            with(delete("x"), json!({"action": "purge"})).to_string(),
        )
    },
    |nth| {
        bad(
            "nothing_to_do",
            "/target",
            with(delete(&format!("none-{nth}")), json!({"action": "restore"})).to_string(),
        )
    },
    // Bulks.
    |nth| {
        let (member, field) = turn(
            nth,
            [
                (json!({"type": "shop.thing", "id": 7}), "/targets/1/id"),
                (json!({"type": "Shop", "id": "2"}), "/targets/1/type"),
                (json!("2"), "/targets/1"),
                (
                    json!({"type": "shop.thing", "id": "2", "tenant": "t"}),
                    "/targets/1",
                ),
                (json!({"type": "shop.thing", "id": "\u{0}"}), "/targets/1/id"),
            ],
        );
        bad(
            "wrong_shape",
            field,
            bulk(json!({"targets": [{"type": "shop.thing", "id": "1"}, member]})),
        )
    },
    |nth| {
        bad(
            "wrong_shape",
            "/targets",
            bulk(turn(
                nth,
                [
                    json!({"targets": []}),
                    json!({"targets": {}}),
                    json!({"target": {"type": "shop.thing", "id": "1"}}),
                ],
            )),
        )
    },
    |_| bad("key_missing", "/key", bulk(json!({"key": null}))),
    // CloudEvents.
    |nth| {
        let (more, field) = turn(
            nth,
            [
                (json!({"source": null}), "/source"),
                (json!({"id": ""}), "/id"),
                (json!({"data": null}), "/data"),
                (json!({"data": "text"}), "/data"),
                (json!({"data_base64": "e30="}), "/data_base64"),
                (json!({"datacontenttype": "text/xml"}), "/datacontenttype"),
                (json!({"time": "now"}), "/time"),
                (json!({"Extension": 1}), ""),
                (
                    json!({"data": with(delete("x"), json!({"tenant": 7}))}),
                    "/data/tenant",
                ),
                (json!({"data": null, "data_base64": "?"}), "/data_base64"),
            ],
        );
        bad("wrong_shape", field, event(more).to_string())
    },
    |nth| {
        bad(
            "unknown_version",
            "/specversion",
            event(json!({"specversion": turn(nth, [json!("0.3"), json!(1.0), json!(null)])})).to_string(),
        )
    },
    |_| {
        bad(
            "not_json",
            "/data_base64",
            event(json!({"data": null, "data_base64": "bm90IEpTT04="})).to_string(),
        )
    },
    // Too large: few of them, or they would be all that is tested.
    |nth| match nth {
        0..2 => bad("too_large", "", vec![b' '; BULK_BODY_MAX_BYTES + 1]),
        2..30 => bad(
            "too_large",
            "",
            with(delete("x"), json!({"reason": "x".repeat(REQUEST_BODY_MAX_BYTES)})).to_string(),
        ),
        _ => wrong(
            "/requested_by",
            json!({"requested_by": turn(nth, [json!(["u"]), json!("u".repeat(256)), json!("\t")])}),
        ),
    },
    |nth| {
        wrong(
            "/batch",
            json!({"batch": turn(nth, [json!(""), json!("b".repeat(256)), json!("a\nb"), json!(1)])}),
        )
    },
];
