//! A plan's text: taken in whole with a form that means the same for life, or every fault with its line.

use std::time::Duration;

use sexton::plan::{
    ATTEMPTS_MAX, CHUNK_MAX_ROWS, Call, STEPS_MAX, TIMEOUT_MAX, canonical, check, from_canonical, parse_plan,
    show,
};

use super::Judged;

const FILE: &str = "plans/some.toml";

pub fn plan(text: &str) -> Judged {
    match parse_plan(text, FILE) {
        Ok(plan) => {
            assert!(text.len() <= 1_048_576);
            check(&plan, None).expect("what is taken in keeps every rule");
            for (_, course) in plan.courses() {
                assert!((1..=STEPS_MAX).contains(&course.steps.len()));
                for step in &course.steps {
                    assert!((1..=ATTEMPTS_MAX).contains(&step.retry.attempts));
                    assert!((Duration::from_nanos(1)..=TIMEOUT_MAX).contains(&step.timeout));
                    if let Call::Chunks { size, .. } = &step.call {
                        assert!((1..=CHUNK_MAX_ROWS).contains(size));
                    }
                }
            }
            let (form, hash) = canonical(&plan);
            let again = from_canonical(&form).expect("what was written is read");
            assert_eq!(again, plan);
            assert_eq!(canonical(&again), (form, hash.clone()));
            assert!(!show(&plan, &hash).is_empty());
            assert!(!plan.all_choices().is_empty());
            Judged::TakenIn
        }
        Err(errors) => {
            assert!(!errors.0.is_empty());
            let lines = text.split('\n').count();
            let mut last = 0;
            for error in &errors.0 {
                assert!((1..=lines).contains(&error.line), "of {lines} lines: {error}");
                assert!(last <= error.line, "in the order of the lines: {errors}");
                last = error.line;
                let said = error.to_string();
                assert!(said.starts_with(&format!("{FILE}:{}: ", error.line)), "{said}");
                assert!(!said.contains('\n'), "{said:?}");
                // What stands in a plan is its author's own, and may be said again.
                assert!(said.len() > FILE.len() + 8, "{said}");
            }
            let not_toml = errors
                .0
                .iter()
                .any(|error| error.to_string().contains("not TOML"));
            Judged::TurnedAway(if not_toml { "not TOML" } else { "a rule" })
        }
    }
}
