//! A bulk: many targets in one message, which become as many requests of one batch.
//!
//! Each has a key of its own, made from the bulk's and its place, so that a bulk that comes twice is the same requests.

use serde_json::{Map, Value};

use super::request_fields::{Fields, mismatch, wrong};
use super::strict_json::pointer_to;
use super::{Envelope, Key, Rejection, RejectionReason, Request};

/// Ten thousand ids are what one call may reasonably mean; more are several bulks.
pub const BULK_TARGETS_MAX: usize = 10_000;
/// As many ids of usual length, with what stands around them. One of 512 bytes each is two bulks.
pub const BULK_BODY_MAX_BYTES: usize = 4 * 1024 * 1024;
/// Of the params, which each of its requests has: ten thousand times this is what a bulk may take in memory and in tables.
const BULK_PARAMS_MAX_BYTES: usize = 4 * 1024;

impl Fields {
    pub(super) fn is_bulk(&self) -> bool {
        self.all().contains_key("targets")
    }

    pub(super) fn bulk(&mut self, envelope: &Envelope) -> Result<Vec<Request>, Rejection> {
        let at = self.pointer("targets");
        if self.all().contains_key("target") {
            return Err(wrong(at, "found both target and targets; wanted one of them"));
        }
        let targets = match self.take("targets") {
            Some(Value::Array(targets)) => targets,
            other => {
                return Err(mismatch(
                    at,
                    other.as_ref(),
                    "an array of objects with type and id",
                ));
            }
        };
        if !(1..=BULK_TARGETS_MAX).contains(&targets.len()) {
            let found = targets.len();
            return Err(wrong(
                at,
                format!("found {found} targets; wanted 1 to {BULK_TARGETS_MAX}"),
            ));
        }
        // All but the target is read once, with the first of them.
        let mut all = Vec::with_capacity(targets.len());
        let mut common: Option<Request> = None;
        let size = u32::try_from(targets.len()).unwrap_or(u32::MAX);
        for (nth, target) in targets.into_iter().enumerate() {
            let here = pointer_to(&at, &nth.to_string());
            let target = match target {
                Value::Object(target) => target,
                other => return Err(mismatch(here, Some(&other), "an object with type and id")),
            };
            let common = match &common {
                Some(common) => common,
                None => common.insert(self.common(&target, &here, size, envelope)?),
            };
            let key = common.key.as_ref().map_or("", Key::as_str);
            all.push(Request {
                target: self.target_in(&here, &target)?,
                key: Some(Key::parse(format!("{key}#{nth}")).map_err(|_| {
                    wrong(
                        self.pointer("key"),
                        "found a key too long for a bulk; wanted room for `#` and the place of each target in 255 bytes",
                    )
                })?),
                ..common.clone()
            });
        }
        Ok(all)
    }

    fn common(
        &mut self,
        target: &Map<String, Value>,
        at: &str,
        size: u32,
        envelope: &Envelope,
    ) -> Result<Request, Rejection> {
        let target = self.target_in(at, target)?;
        let mut request = self.about(target, envelope)?;
        let Some(key) = &request.key else {
            return Err(Rejection::new(
                RejectionReason::KeyMissing,
                self.pointer("key"),
                "found none, and no message_id; wanted one, since a bulk is admitted in parts and may come again",
            ));
        };
        let params = Value::Object(request.params.clone()).to_string().len();
        if params > BULK_PARAMS_MAX_BYTES {
            return Err(wrong(
                self.pointer("params"),
                format!(
                    "found {params} bytes in a bulk, where each target has them; wanted at most {BULK_PARAMS_MAX_BYTES}"
                ),
            ));
        }
        request.batch.get_or_insert_with(|| key.as_str().to_owned());
        request.batch_size = Some(request.batch_size.unwrap_or(0).max(size));
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::deletion::read_requests;

    fn read(body: &Value) -> Result<Vec<Request>, Rejection> {
        read_requests(body.to_string().as_bytes(), &Envelope::default())
    }

    fn of(targets: usize) -> Value {
        let targets: Vec<Value> = (0..targets)
            .map(|n| json!({"type": "a.b", "id": n.to_string()}))
            .collect();
        json!({"targets": targets, "tenant": "t", "key": "k", "params": {"p": 1}})
    }

    #[test]
    fn a_bulk_is_as_many_requests_of_one_batch() {
        let all = read(&of(3)).expect("a bulk");
        for (nth, one) in all.iter().enumerate() {
            let key = one.key.as_ref().map(|key| key.as_str().to_owned());
            assert_eq!(
                (one.target.id.as_str(), key),
                (nth.to_string().as_str(), Some(format!("k#{nth}")))
            );
            assert_eq!((one.batch.as_deref(), one.batch_size), (Some("k"), Some(3)));
        }
        assert_eq!(all.len(), 3);
        assert!(all.iter().all(|one| one.params["p"] == 1));
        let mut part = of(2);
        part["batch"] = json!("night");
        part["batch_size"] = json!(7);
        let all = read(&part).expect("a part of a batch");
        assert_eq!(
            (all[1].batch.as_deref(), all[1].batch_size),
            (Some("night"), Some(7))
        );
        assert_eq!(
            read(&of(BULK_TARGETS_MAX)).map(|all| all.len()),
            Ok(BULK_TARGETS_MAX)
        );
    }

    #[test]
    fn what_is_wrong_with_a_bulk_is_told_of_the_whole() {
        let changed = |change: &dyn Fn(&mut Value)| {
            let mut body = of(2);
            change(&mut body);
            let wrong = read(&body).expect_err("it is wrong");
            (wrong.reason.word(), wrong.field)
        };
        let shape = |field: &str| ("wrong_shape", field.to_owned());
        assert_eq!(changed(&|body| body["targets"] = json!([])), shape("/targets"));
        assert_eq!(changed(&|body| body["targets"] = json!("all")), shape("/targets"));
        assert_eq!(
            changed(&|body| body["targets"][1] = json!(1)),
            shape("/targets/1")
        );
        assert_eq!(
            changed(&|body| body["targets"][1]["id"] = json!("")),
            shape("/targets/1/id")
        );
        assert_eq!(
            changed(&|body| body["target"] = json!({"type": "a.b", "id": "1"})),
            shape("/targets")
        );
        assert_eq!(
            changed(&|body| body["key"] = json!("k".repeat(255))),
            shape("/key")
        );
        assert_eq!(
            changed(&|body| body["batch_size"] = json!(0)),
            shape("/batch_size")
        );
        assert_eq!(
            changed(&|body| body["params"]["p"] = json!("x".repeat(4_096))),
            shape("/params")
        );
        assert_eq!(
            changed(&|body| body["key"] = Value::Null),
            ("key_missing", "/key".to_owned())
        );
        assert_eq!(
            read(&of(BULK_TARGETS_MAX + 1)).expect_err("too many").detail,
            "found 10001 targets; wanted 1 to 10000"
        );
    }
}
